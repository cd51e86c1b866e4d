"""Making teams and projects."""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.actions.authority import require_admin
from accounts.actions.refusals import NameTaken, NotAllowed
from accounts.models import Project, Team
from accounts.principals import Principal


@transaction.atomic
def create_team(*, principal: Principal, name: str, at: datetime) -> Team:
    """Make a team in the caller's organization.

    :raises NotAllowed: unless the caller is its super admin.
    :raises NameTaken: if there is one of this name.
    """
    if not principal.is_super_admin:
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
    :raises NameTaken: if the team has one of this name.
    """
    require_admin(principal, team)
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
    require_admin(principal, project.team)
    current = Project.objects.select_for_update(of=("self",)).select_related("team").get(pk=project.pk)
    if current.environments != environments:
        current.environments = environments
        current.save(update_fields=["environments"])
    return current
