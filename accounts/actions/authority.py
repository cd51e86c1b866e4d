"""Who may write to what."""

from accounts.actions.refusals import NotAllowed
from accounts.models import Team
from accounts.principals import Principal
from accounts.rights import Right, holds


def require(principal: Principal, right: Right, team: Team) -> None:
    """:raises NotAllowed: unless the caller has this right in the team."""
    # A super admin's role reaches no further than their organization.
    if team.organization_id != principal.organization_id or not holds(principal, right, team.pk):
        raise NotAllowed
