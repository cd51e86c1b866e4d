"""Where a project goes."""

from typing import Any, cast

from django import forms

from accounts.models import Team, TeamQuerySet


class MoveForm(forms.Form):
    """The team that a project goes to; what becomes of its keys is shown once that is chosen."""

    team = forms.ModelChoiceField(Team.objects.none(), empty_label="Choose a team", label="Move to")

    def __init__(self, *args: Any, teams: TeamQuerySet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast("forms.ModelChoiceField[Team]", self.fields["team"]).queryset = teams
