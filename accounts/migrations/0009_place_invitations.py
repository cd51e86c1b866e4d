from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def place_invitations(apps: Any, _schema_editor: Any) -> None:
    """Every invitation so far is to a team, and so to its organization."""
    teams = apps.get_model("accounts", "Team").objects.filter(pk=OuterRef("team_id"))
    apps.get_model("accounts", "Invitation").objects.update(
        organization_id=Subquery(teams.values("organization_id")[:1])
    )


def withdraw_those_without_a_team(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("accounts", "Invitation").objects.filter(team=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_invitations_to_organizations"),
    ]

    operations = [
        migrations.RunPython(place_invitations, withdraw_those_without_a_team),
    ]
