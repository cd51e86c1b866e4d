"""What a person may do here at all."""

from accounts.models import Project, Role
from keyportal.http import MemberRequest


def may_issue(request: MemberRequest) -> bool:
    """Say whether there is anything that this person could issue a key for."""
    principal = request.principal
    return (
        principal.is_super_admin
        or Project.objects.visible_to(principal).exists()
        or bool(principal.team_ids_as(Role.TEAM_ADMIN))
    )
