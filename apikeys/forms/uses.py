"""Which uses of a key a page shows."""

from django import forms


class UsesForm(forms.Form):
    """Which uses of a key a page shows: all or those with one outcome, from a place on."""

    outcome = forms.ChoiceField(required=False, choices=[("accepted", "Accepted"), ("refused", "Refused")])
    before = forms.UUIDField(required=False)

    @property
    def is_refused(self) -> bool | None:
        outcome = self.cleaned_data["outcome"]
        return outcome == "refused" if outcome else None
