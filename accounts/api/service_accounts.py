"""Service accounts as JSON. Their keys are those of `/v1/api-keys`, with `service_account_id`."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict, StringConstraints, model_validator

from accounts import actions
from accounts.models import Role, ServiceAccount, Team, User
from accounts.principals import Principal
from keyportal import names
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["service accounts"])


def _plain(name: str) -> str:
    if broken := names.broken_rule(name):
        raise ValueError(broken)
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=names.MAX_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_plain),
]


class TeamRef(Schema):
    id: UUID
    name: str


class StewardItem(Schema):
    id: UUID
    email: str


class ServiceAccountItem(Schema):
    """A part of a team that is no person. It cannot sign in; keys act for it."""

    id: UUID
    name: str
    team: TeamRef
    role: str = Field(description="What its keys may do at most: as a `developer` or `team_admin` of the team.")
    steward: StewardItem = Field(description="Who answers for it.")
    has_steward: bool = Field(description="Whether the steward is in the team now; if not, it gets no new keys.")
    state: str = Field(description="`running` or `stopped`.")
    created_at: datetime
    stopped_at: datetime | None

    @staticmethod
    def resolve_has_steward(account: ServiceAccount) -> bool:
        is_there: bool = account.is_steward_there  # type: ignore[attr-defined] # annotated by `with_stewards`
        return is_there

    @staticmethod
    def resolve_state(account: ServiceAccount) -> str:
        return "stopped" if account.stopped_at else "running"


class ServiceAccountPage(Schema):
    """All service accounts that the caller may see, by team and name, stopped ones included."""

    items: list[ServiceAccountItem]


class ServiceAccountRequest(Schema):
    """What a new service account shall be. A member that is not listed here is refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Name = Field(description="What it is for, such as the pipeline that has its keys.")
    team_id: UUID | None = Field(None, description="Wanted, unless the calling key is of one team.")
    role: Literal["developer", "team_admin"] = "developer"
    steward_id: UUID | None = Field(
        None, description="A member of the team. Without it, the caller: a person, or who issued the calling key."
    )


class ServiceAccountChange(Schema):
    """What shall be different. A member that is not listed here is refused, as is a body that changes nothing."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Name | None = None
    steward_id: UUID | None = Field(None, description="Another member of the team.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.name is None and self.steward_id is None:
            raise ValueError("Send name, steward_id, or both.")
        return self


@router.get(
    "/service-accounts",
    response=answers(200, ServiceAccountPage, 404),
    operation_id="list_service_accounts",
    summary="List service accounts",
)
def list_service_accounts(request: ApiRequest) -> dict[str, object]:
    """Return the accounts of the caller's teams; none for a key of one project. Needs `service_accounts:read`."""
    request.principal.require("service_accounts:read")
    return {"items": ServiceAccount.objects.visible_to(request.principal).with_stewards().by_name()}


@router.post(
    "/service-accounts",
    response=answers(201, ServiceAccountItem, 404, 409),
    operation_id="create_service_account",
    summary="Create a service account",
)
def create_service_account(
    request: ApiRequest, body: ServiceAccountRequest, response: HttpResponse
) -> Status[ServiceAccount]:
    """Create an account of a team that the caller administers. Needs `service_accounts:write`."""
    request.principal.require("service_accounts:write")
    account = actions.create_service_account(
        principal=request.principal,
        team=_team(request.principal, body.team_id),
        name=body.name,
        role=Role(body.role),
        steward=_person(body.steward_id or request.principal.user_id),
        at=timezone.now(),
    )
    response["Location"] = f"/v1/service-accounts/{account.pk}"
    return Status(201, _visible(request, account.pk))


@router.get(
    "/service-accounts/{uuid:account_id}",
    response=answers(200, ServiceAccountItem, 404),
    operation_id="get_service_account",
    summary="Get a service account",
)
def get_service_account(request: ApiRequest, account_id: UUID) -> ServiceAccount:
    """Return one account of the caller's teams; any other is 404. Needs `service_accounts:read`."""
    request.principal.require("service_accounts:read")
    return _visible(request, account_id)


@router.patch(
    "/service-accounts/{uuid:account_id}",
    response=answers(200, ServiceAccountItem, 404, 409),
    operation_id="change_service_account",
    summary="Change a service account",
)
def change_service_account(request: ApiRequest, account_id: UUID, body: ServiceAccountChange) -> ServiceAccount:
    """Give it another name or another steward. Needs `service_accounts:write`."""
    request.principal.require("service_accounts:write")
    account, who = _visible(request, account_id), request.principal
    with transaction.atomic():
        if body.name is not None:
            actions.rename_service_account(principal=who, service_account=account, name=body.name)
        if body.steward_id is not None:
            actions.change_steward(principal=who, service_account=account, steward=_person(body.steward_id))
    return _visible(request, account_id)


@router.post(
    "/service-accounts/{uuid:account_id}/stop",
    response=answers(200, ServiceAccountItem, 404, 409),
    operation_id="stop_service_account",
    summary="Stop a service account",
)
def stop_service_account(request: ApiRequest, account_id: UUID) -> ServiceAccount:
    """End it for good: the next request with any of its keys is refused. Doing it again changes nothing.

    Needs `service_accounts:write`.
    """
    request.principal.require("service_accounts:write")
    account = _visible(request, account_id)
    with suppress(actions.ServiceAccountAlreadyStopped):
        # The caller wants it stopped, and it has stopped.
        actions.stop_service_account(principal=request.principal, service_account=account, at=timezone.now())
    return _visible(request, account_id)


def _visible(request: ApiRequest, account_id: UUID) -> ServiceAccount:
    accounts = ServiceAccount.objects.visible_to(request.principal).with_stewards()
    account = accounts.filter(pk=account_id).first()
    if account is None:
        raise Problem("not_found", "There is no such service account in the scope of the caller.")
    return account


def _team(principal: Principal, named: UUID | None) -> Team:
    team_id = named or principal.team_id
    if team_id is None:
        raise Problem("invalid_field", errors=[{"field": "team_id", "message": "Name the team of the account."}])
    team = Team.objects.visible_to(principal).filter(pk=team_id).first()
    if team is None:
        raise Problem("not_found", "There is no such team in the scope of the caller.")
    return team


def _person(user_id: UUID) -> User:
    """Return a person by their id; one whom nobody has is refused as one who is not in the team."""
    person = User.objects.filter(pk=user_id).first()
    if person is None:
        raise actions.StewardNotInTeam
    return person
