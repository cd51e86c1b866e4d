"""Moving a project to another team, whose roles rule over its keys from then on."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.crypto import constant_time_compare

from accounts.actions import NameTaken, NotAllowed, TeamArchived, locked_project
from accounts.models import Project, Team
from accounts.principals import Principal
from accounts.rights import Right, holds
from apikeys import leaving
from apikeys.actions.refusals import MoveHasChanged, ProjectHasAccountKeys
from apikeys.models import ApiKey


@transaction.atomic
def move_project(
    *, principal: Principal, project: Project, team: Team, at: datetime, expected: str | None = None
) -> Project:
    """Give a project to another team; its keys do what their issuers may do there, from their next request on.

    :param expected: the digest of what the caller saw of the keys; None from who saw nothing.
    :raises NotAllowed: unless the caller administers both teams.
    :raises TeamArchived: if the other team is.
    :raises NameTaken: if the other team has a project of this name.
    :raises ProjectHasAccountKeys: if keys act there for service accounts, which belong to the team it leaves.
    :raises MoveHasChanged: if something else would become of the keys by now than the caller saw.
    """
    current = locked_project(project)
    for each in (current.team, team):
        if each.organization_id != principal.organization_id or not holds(principal, Right.PROJECTS_MANAGE, each.pk):
            raise NotAllowed("Whoever moves a project administers both its team and the one that it goes to.")
    if Team.objects.select_for_update(no_key=True).get(pk=team.pk).archived_at:
        raise TeamArchived
    if current.team_id == team.pk:
        return current
    if ApiKey.objects.active(at=at).filter(project=current).exclude(service_account=None).exists():
        raise ProjectHasAccountKeys
    if expected is not None:
        found = leaving.preview_move(current, team, principal, at=at)
        if not constant_time_compare(expected, found.digest):
            raise MoveHasChanged
    current.team = team
    try:
        with transaction.atomic():
            current.save(update_fields=["team"])
    except IntegrityError as error:
        raise NameTaken("That team has a project of this name already. Rename one of them first.") from error
    return current
