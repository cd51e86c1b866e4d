"""What a person may do here at all."""

from accounts.models import Project
from accounts.rights import Right, holds, reach
from keyportal.http import MemberRequest


def may_issue(request: MemberRequest) -> bool:
    """Say whether there is anything that this person could issue a key for."""
    principal = request.principal
    return (
        holds(principal, Right.ORGANIZATION_KEYS_MANAGE)
        or bool(reach(principal, Right.TEAM_KEYS_MANAGE))
        or may_issue_for_projects(request)
    )


def may_issue_for_projects(request: MemberRequest) -> bool:
    """Say whether there is a project that this person could issue a key for."""
    return Project.objects.where(request.principal, Right.PROJECT_KEYS_ISSUE).unarchived().exists()


def may_end_any(request: MemberRequest) -> bool:
    """Say whether there can be keys that this person may end: their own, if no others."""
    return bool(reach(request.principal, Right.PROJECT_KEYS_ISSUE))
