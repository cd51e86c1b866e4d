"""Service accounts (T21): made, renamed, handed from steward to steward, and stopped.

Nothing here makes a `User`, so there is nothing that could sign in, be invited or reset a password.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.actions.authority import require
from accounts.actions.refusals import (
    NameTaken,
    NotAllowed,
    ServiceAccountAlreadyStopped,
    StewardNotInTeam,
    TeamArchived,
)
from accounts.models import Role, ServiceAccount, Team, User
from accounts.principals import Principal
from accounts.rights import Right


@transaction.atomic
def create_service_account(
    *, principal: Principal, team: Team, name: str, role: Role, steward: User, at: datetime
) -> ServiceAccount:
    """Make a service account of a team.

    Its role is at most a team admin's, so that nobody who may make one gives it more than they are.

    :raises NotAllowed: unless the caller administers the team, and is no key of one project.
    :raises TeamArchived: if the team is.
    :raises StewardNotInTeam: if the steward is not in the team.
    :raises NameTaken: if the team has one of this name, running or stopped: rows of the audit log name it.
    """
    _require_manager(principal, team)
    if Team.objects.select_for_update(no_key=True).get(pk=team.pk).archived_at:
        raise TeamArchived
    account = ServiceAccount(team=team, name=name.strip(), role=role, steward=steward, created_at=at)
    _require_steward(account)
    _save_named(account, is_new=True)
    return account


@transaction.atomic
def rename_service_account(*, principal: Principal, service_account: ServiceAccount, name: str) -> ServiceAccount:
    """Give a service account another name.

    :raises NotAllowed: as `create_service_account` does.
    :raises ServiceAccountAlreadyStopped: if it was stopped.
    :raises NameTaken: if the team has another of this name.
    """
    current = _running(principal, service_account)
    current.name = name.strip()
    _save_named(current)
    return current


@transaction.atomic
def change_steward(*, principal: Principal, service_account: ServiceAccount, steward: User) -> ServiceAccount:
    """Name another member of the team who answers for a service account.

    :raises NotAllowed: as `create_service_account` does.
    :raises ServiceAccountAlreadyStopped: if it was stopped.
    :raises StewardNotInTeam: if they are not in the team.
    """
    current = _running(principal, service_account)
    current.steward = steward
    _require_steward(current)
    current.save(update_fields=["steward"])
    return current


@transaction.atomic
def stop_service_account(*, principal: Principal, service_account: ServiceAccount, at: datetime) -> ServiceAccount:
    """End a service account for good: the next request with any of its keys is refused.

    :raises NotAllowed: as `create_service_account` does.
    :raises ServiceAccountAlreadyStopped: if someone stopped it first.
    """
    current = _running(principal, service_account)
    current.stopped_at = at
    current.save(update_fields=["stopped_at"])
    return current


def _running(principal: Principal, service_account: ServiceAccount) -> ServiceAccount:
    """Return the account as it is stored now, locked, if the caller may change it."""
    accounts = ServiceAccount.objects.select_for_update(of=("self",)).select_related("team")
    current = accounts.get(pk=service_account.pk)
    _require_manager(principal, current.team)
    if current.stopped_at:
        raise ServiceAccountAlreadyStopped
    return current


def _require_manager(principal: Principal, team: Team) -> None:
    require(principal, Right.SERVICE_ACCOUNTS_MANAGE, team)
    if principal.project_id:
        raise NotAllowed("A service account is of a whole team. Use a key of the team or of the organization.")


def _require_steward(account: ServiceAccount) -> None:
    if not account.has_steward:
        raise StewardNotInTeam


def _save_named(account: ServiceAccount, *, is_new: bool = False) -> None:
    try:
        with transaction.atomic():
            account.save(force_insert=is_new, update_fields=None if is_new else ["name"])
    except IntegrityError as error:
        raise NameTaken("The team has a service account of this name already. Choose another name.") from error
