"""Projects as JSON."""

from datetime import datetime
from uuid import UUID

from ninja import Field, Router, Schema

from accounts.models import Project
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["projects"])


class TeamItem(Schema):
    id: UUID
    name: str


class ProjectItem(Schema):
    id: UUID
    name: str
    team: TeamItem
    environments: str = Field(description="Keys of which environments it accepts: `any`, `live` or `test`.")
    created_at: datetime
    archived_at: datetime | None = Field(description="Since when its keys are refused; null unless it is archived.")


class ProjectPage(Schema):
    """All projects that the caller may see, by team and name."""

    items: list[ProjectItem]


@router.get(
    "/projects",
    response=answers(200, ProjectPage, 404),
    operation_id="list_projects",
    summary="List projects",
)
def list_projects(request: ApiRequest) -> dict[str, object]:
    """Return the projects inside the key's scope: the organization's, the team's, or the one. Needs `projects:read`."""
    request.principal.require("projects:read")
    return {"items": Project.objects.visible_to(request.principal).select_related("team").by_name()}


@router.get(
    "/projects/{uuid:project_id}",
    response=answers(200, ProjectItem, 404),
    operation_id="get_project",
    summary="Get a project",
)
def get_project(request: ApiRequest, project_id: UUID) -> Project:
    """Return one project inside the key's scope; any other is 404. Needs `projects:read`."""
    request.principal.require("projects:read")
    project = Project.objects.visible_to(request.principal).select_related("team").filter(pk=project_id).first()
    if project is None:
        raise Problem("not_found", "There is no such project in the scope of this key.")
    return project
