"""`X-Project-Id`: an organization or team key names the project that a call is about (S3)."""

from dataclasses import replace
from uuid import UUID

from accounts.models import Project, ProjectQuerySet
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
    project = _in_scope(principal).filter(pk=parsed).first()
    if project is None:
        raise Problem("not_found", f"The project of {HEADER} is not one that this key reaches.")
    if project.archived_at:
        raise Problem("project_archived")
    if not project.accepts(principal.environment):
        raise Problem("environment_not_accepted")
    return replace(principal, scope="project", team_id=project.team_id, project_id=project.pk)


def _in_scope(principal: Principal) -> ProjectQuerySet:
    """Return the projects inside a key's scope, whatever its issuer's role allows there: that is asked later."""
    projects = Project.objects.filter(team__organization_id=principal.organization_id)
    if principal.project_id:
        return projects.filter(pk=principal.project_id)
    return projects.filter(team_id=principal.team_id) if principal.team_id else projects
