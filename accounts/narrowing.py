"""`X-Project-Id`: an organization or team key names the project that a call is about (S3)."""

from dataclasses import replace
from uuid import UUID

from accounts.models import Project
from accounts.principals import Principal
from keyportal.http import Problem

HEADER = "X-Project-Id"
# The same in a request's META, where a look is cheap.
META_NAME = "HTTP_X_PROJECT_ID"


def narrowed(principal: Principal, project_id: str) -> Principal:
    """Return the principal as if its key were one of that project alone.

    :raises Problem: `invalid_field` if it is no id, `not_found` if the key does not reach such a project.
    """
    try:
        parsed = UUID(project_id)
    except ValueError as error:
        message = "Send the id of a project, as `GET /v1/projects` lists it."
        raise Problem("invalid_field", errors=[{"field": HEADER, "message": message}]) from error
    project = Project.objects.visible_to(principal).filter(pk=parsed).first()
    if project is None:
        raise Problem("not_found", f"The project of {HEADER} is not one that this key reaches.")
    if project.archived_at:
        raise Problem("project_archived")
    if not project.accepts(principal.environment):
        raise Problem("environment_not_accepted")
    return replace(principal, scope="project", team_id=project.team_id, project_id=project.pk)
