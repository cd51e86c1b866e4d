"""Making teams and projects, renaming them, and putting them away."""

from datetime import datetime
from typing import TypeVar

from django.db import IntegrityError, transaction

from accounts.actions.refusals import NameTaken, NotAllowed, TeamArchived
from accounts.models import Project, Team
from accounts.principals import Principal
from accounts.rights import Right, holds


@transaction.atomic
def create_team(*, principal: Principal, name: str, at: datetime) -> Team:
    """Make a team in the caller's organization.

    :raises NotAllowed: unless the caller is its super admin.
    :raises NameTaken: if there is one of this name.
    """
    if not holds(principal, Right.TEAMS_CREATE):
        raise NotAllowed
    try:
        with transaction.atomic():
            return Team.objects.create(organization_id=principal.organization_id, name=name.strip(), created_at=at)
    except IntegrityError as error:
        raise NameTaken from error


@transaction.atomic
def create_project(
    *, principal: Principal, team: Team, name: str, at: datetime, environments: str = Project.Environments.ANY
) -> Project:
    """Make a project in a team.

    :param environments: keys of which environments it accepts.

    :raises NotAllowed: unless the caller administers the team.
    :raises TeamArchived: if the team is.
    :raises NameTaken: if the team has one of this name.
    """
    _require(principal, Right.PROJECTS_MANAGE, team)
    # Locked, so that a team which is put away at this moment takes the project along, or is seen to be.
    if Team.objects.select_for_update(no_key=True).get(pk=team.pk).archived_at:
        raise TeamArchived
    try:
        with transaction.atomic():
            return Project.objects.create(team=team, name=name.strip(), environments=environments, created_at=at)
    except IntegrityError as error:
        raise NameTaken from error


@transaction.atomic
def change_project_environments(*, principal: Principal, project: Project, environments: str) -> Project:
    """Say keys of which environments a project accepts; others are refused from their next request on.

    :raises NotAllowed: unless the caller administers its team.
    """
    current = _managed(principal, project)
    if current.environments != environments:
        current.environments = environments
        current.save(update_fields=["environments"])
    return current


@transaction.atomic
def rename_team(*, principal: Principal, team: Team, name: str) -> Team:
    """Call a team something else.

    :raises NotAllowed: unless the caller is a person who administers it.
    :raises NameTaken: if the organization has one of this name.
    """
    _require(principal, Right.TEAM_CHANGE, team)
    return _renamed(Team.objects.select_for_update().get(pk=team.pk), name)


@transaction.atomic
def rename_project(*, principal: Principal, project: Project, name: str) -> Project:
    """Call a project something else.

    :raises NotAllowed: unless the caller administers its team.
    :raises NameTaken: if the team has one of this name.
    """
    return _renamed(_managed(principal, project), name)


@transaction.atomic
def archive_team(*, principal: Principal, team: Team, at: datetime) -> Team:
    """Put a team away with its projects: their keys are refused from their next request on, until it is restored.

    :raises NotAllowed: unless the caller is a super admin in person.
    """
    _require(principal, Right.TEAMS_ARCHIVE, team)
    current = Team.objects.select_for_update().get(pk=team.pk)
    for project in Project.objects.select_for_update(of=("self",)).select_related("team").filter(team=team):
        _put_away(project, project.archived_at or at)
    return _put_away(current, current.archived_at or at)


@transaction.atomic
def restore_team(*, principal: Principal, team: Team) -> Team:
    """Bring a team back, and its own keys with it; its projects stay archived until each is restored.

    :raises NotAllowed: unless the caller is a super admin in person.
    """
    _require(principal, Right.TEAMS_ARCHIVE, team)
    return _put_away(Team.objects.select_for_update().get(pk=team.pk), None)


@transaction.atomic
def archive_project(*, principal: Principal, project: Project, at: datetime) -> Project:
    """Put a project away: its keys are refused from their next request on, until it is restored.

    :raises NotAllowed: unless the caller administers its team.
    """
    current = _managed(principal, project)
    return _put_away(current, current.archived_at or at)


@transaction.atomic
def restore_project(*, principal: Principal, project: Project) -> Project:
    """Bring a project back, and its keys with it.

    :raises NotAllowed: unless the caller administers its team.
    :raises TeamArchived: if its team is still archived.
    """
    current = _managed(principal, project)
    # Who archives the team locks its projects too, so either that is seen here, or it takes this project along.
    if current.team.archived_at:
        raise TeamArchived
    return _put_away(current, None)


def _require(principal: Principal, right: Right, team: Team) -> None:
    if team.organization_id != principal.organization_id or not holds(principal, right, team.pk):
        raise NotAllowed


def locked_project(project: Project) -> Project:
    """Return a project with its team as they are stored now; neither changes until the running transaction ends."""
    # A statement of its own: one that waits for a lock still joins the team that the project had before.
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
    return Project.objects.select_related("team").get(pk=project.pk)


def _managed(principal: Principal, project: Project) -> Project:
    """Return a project, locked, if the caller manages the projects of the team that it has by now."""
    current = locked_project(project)
    _require(principal, Right.PROJECTS_MANAGE, current.team)
    return current


P = TypeVar("P", Team, Project)


def _renamed(place: P, name: str) -> P:
    if place.name != name.strip():
        place.name = name.strip()
        try:
            with transaction.atomic():
                place.save(update_fields=["name"])
        except IntegrityError as error:
            raise NameTaken from error
    return place


def _put_away(place: P, archived_at: datetime | None) -> P:
    if place.archived_at != archived_at:
        place.archived_at = archived_at
        place.save(update_fields=["archived_at"])
    return place
