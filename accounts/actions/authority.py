"""Who may write to what."""

from accounts.actions.refusals import NotAllowed
from accounts.models import Team
from accounts.principals import Principal


def require_admin(principal: Principal, team: Team) -> None:
    """:raises NotAllowed: unless the caller administers the team."""
    # A super admin's role reaches no further than their organization.
    if team.organization_id != principal.organization_id or not principal.administers(team.pk):
        raise NotAllowed
