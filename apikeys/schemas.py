"""What the JSON endpoints of keys take and answer. A key's secret is in one answer only, `IssuedKey`."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from django.utils import timezone
from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict, StringConstraints, model_validator

from accounts.principals import Principal
from apikeys import limits as limiting
from apikeys import networks, origins
from apikeys.actions import MAX_EXPIRES_IN_DAYS, KeyChange
from apikeys.filters import STATES
from apikeys.limits import Limits
from apikeys.models import ApiKey
from apikeys.networks import MAX_NETWORKS
from apikeys.origins import MAX_ORIGINS
from apikeys.permissions import Catalogue
from apikeys.presented import PresentedKey
from apikeys.rules import role_of
from apikeys.use_rows import route_of
from audit.api import Time
from audit.models import KeyUse
from keyportal import names
from keyportal.http import Problem

PAGE_SIZE = 50


def _plain(name: str) -> str:
    if broken := names.broken_rule(name):
        raise ValueError(broken)
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=names.MAX_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_plain),
]


def _network(text: str) -> str:
    return networks.parse(text)


def _origin(text: str) -> str:
    return origins.parse(text)


Limit = Annotated[int, Field(ge=1, le=limiting.MAX_LIMIT, strict=True)]
Network = Annotated[str, StringConstraints(max_length=50), AfterValidator(_network)]
Origin = Annotated[str, StringConstraints(max_length=200), AfterValidator(_origin)]


def limits_of(per_second: int | None, per_minute: int | None, per_day: int | None) -> Limits | None:
    """Return limits as they were asked for.

    :raises Problem: if a longer time allows fewer than a shorter one.
    """
    try:
        return limiting.checked(per_second, per_minute, per_day)
    except limiting.InvalidLimits as error:
        raise Problem("invalid_field", errors=[{"field": error.field, "message": error.message}]) from error


class KeyRequest(Schema):
    """What a new key shall be. A member that is not listed here is refused."""

    # What is sent may hold a pasted key, and an error's text would repeat it.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Name = Field(description="Say what uses the key: one key per integration.")
    scope: Literal["org", "team", "project"]
    team_id: UUID | None = Field(None, description="Wanted with scope `team`.")
    project_id: UUID | None = Field(
        None, description="Wanted with scope `project`, unless the calling key or `X-Project-Id` names it."
    )
    kind: Literal["secret", "publishable"] = Field(
        "secret", description="`publishable` is for web pages, and only with scope `project`."
    )
    environment: Literal["live", "test"] = "live"
    permissions: list[str] = Field(
        ["projects:read"],
        min_length=1,
        max_length=100,
        description="Names from the catalogue; `*` is whatever the issuer's role allows. A publishable key "
        "gets the organization's locked set, and needs none here.",
    )
    service_account_id: UUID | None = Field(
        None, description="The service account for which the key acts instead of for its issuer."
    )
    allowed_origins: list[Origin] = Field(
        [],
        max_length=MAX_ORIGINS,
        description="The web pages that may use a publishable key: `https://app.example.com`.",
    )
    networks: list[Network] = Field(
        [],
        max_length=MAX_NETWORKS,
        description="Where it may come from: `203.0.113.0/24`. Without, from anywhere.",
    )
    per_second: Limit | None = Field(None, description="Requests that it may make in a second. Without, any number.")
    per_minute: Limit | None = Field(None, description="Requests that it may make in a minute. Without, any number.")
    per_day: Limit | None = Field(None, description="Its daily quota (UTC). Without, any number.")
    expires_in_days: int | None = Field(
        None, ge=1, le=MAX_EXPIRES_IN_DAYS, strict=True, description="Without this and `expires_at` it never expires."
    )
    expires_at: Time | None = Field(None, description="The end itself, ISO 8601 with its zone, at most 1825 days away.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.expires_in_days is not None and self.expires_at is not None:
            raise ValueError("Send expires_in_days or expires_at, and not both.")
        if self.allowed_origins and self.kind != "publishable":
            raise ValueError("Only a publishable key has allowed_origins.")
        return self

    def limits(self) -> Limits | None:
        """Return how many requests the key shall be able to make.

        :raises Problem: if a longer time allows fewer than a shorter one.
        """
        return limits_of(self.per_second, self.per_minute, self.per_day)

    def ends_at(self, at: datetime) -> datetime | None:
        """Return when the key shall end.

        :raises Problem: if that is over already, or too far away.
        """
        if self.expires_in_days is not None:
            return at + timedelta(days=self.expires_in_days)
        if self.expires_at and not at < self.expires_at <= at + timedelta(days=MAX_EXPIRES_IN_DAYS):
            message = f"Choose a time from now to {MAX_EXPIRES_IN_DAYS} days from now."
            raise Problem("invalid_field", errors=[{"field": "expires_at", "message": message}])
        return self.expires_at


class KeyChangeRequest(Schema):
    """What a key shall be from now on. What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Name | None = None
    permissions: list[str] | None = Field(None, min_length=1, max_length=100, description="Some of those it has.")
    expires_at: Time | None = Field(None, description="Sooner than it ends now, ISO 8601 with its zone; null is never.")
    networks: list[Network] | None = Field(None, max_length=MAX_NETWORKS, description="Within those it has.")
    allowed_origins: list[Origin] | None = Field(None, max_length=MAX_ORIGINS, description="Some of those it has.")
    per_second: Limit | None = Field(None, description="No more than it has; null keeps it without one.")
    per_minute: Limit | None = Field(None, description="No more than it has; null keeps it without one.")
    per_day: Limit | None = Field(None, description="No more than it has; null keeps it without one.")

    def change(self, api_key: ApiKey) -> KeyChange:
        """Return it as the action takes it; of the limits, those that are left out stay too."""
        sent = self.model_fields_set & set(Limits._fields)
        limits = Limits(*(getattr(self if name in sent else api_key, name) for name in Limits._fields))
        if sent:
            limits_of(*limits)
        return KeyChange(
            name=self.name,
            permissions=self.permissions,
            expires_at=self.expires_at,
            never_expires="expires_at" in self.model_fields_set and self.expires_at is None,
            networks=self.networks,
            allowed_origins=self.allowed_origins,
            limits=limits if sent else None,
        )


class PageQuery(Schema):
    """Which page."""

    limit: int = Field(PAGE_SIZE, ge=1, le=100, description="How many keys a page holds.")
    cursor: str = Field("", max_length=64, description="`next_cursor` of the page before.")


# A bound, with which pydantic also refuses half a surrogate pair.
FilterText = Annotated[str, StringConstraints(max_length=320)]


class KeyFilterFields(Schema):
    """Filters, all of which have to hold. Days are in UTC, and the last of them counts whole."""

    q: FilterText = Field(
        "", description="Words of the name, the start of the label, or part of an issuer, team or project."
    )
    state: FilterText = Field("", description=f"One of {', '.join(f'`{state}`' for state in STATES)}.")
    scope: FilterText = Field("", description="`org`, `team` or `project`.")
    team: FilterText = Field("", description="A team's id: its keys, and those of its projects.")
    project: FilterText = Field("", description="A project's id.")
    issuer: FilterText = Field(
        "", description="A person's email address or id; finds what they handed to a service account too."
    )
    service_account: FilterText = Field("", description="A service account's id, or `none`.")
    permission: FilterText = Field("", description="Keys that were granted it, by its name or by `*`.")
    label: FilterText = Field("", description="The whole label.")
    created_from: FilterText = Field("", description="A day, or a time in ISO 8601 with its zone.")
    created_to: FilterText = Field("", description="The same.")
    used: FilterText = Field("", description="`never`.")
    used_from: FilterText = Field("", description="When it was last used.")
    used_to: FilterText = Field("", description="The same.")
    unused_days: FilterText = Field("", description="Keys that were last used longer ago, or are older and never were.")
    expires: FilterText = Field("", description="`never`.")
    expires_from: FilterText = Field("", description="When it expires.")
    expires_to: FilterText = Field("", description="The same.")
    seen_from: FilterText = Field(
        "", description="An address or a network, as `203.0.113.0/24`, where the key came from."
    )


class KeysQuery(KeyFilterFields, PageQuery):
    """Filters, all of which have to hold, and the page. Days are in UTC, and the last of them counts whole."""


class BulkFilter(KeyFilterFields):
    """What the list of keys can be filtered by, as members; at least one besides `state`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    # A number here, and in an address a text as everything is.
    unused_days: int | None = Field(None, description="Keys last used longer ago, or older and never used.")  # type: ignore[assignment] # the form takes both


class BulkRequest(Schema):
    """Which keys to end, how and why."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    action: Literal["disable", "revoke"]
    filter: BulkFilter
    reason: str = Field("", max_length=200, description="For the record. Wanted where something is done.")
    dry_run: bool = Field(True, strict=True, description="Only say what would be done. `false` does it.")
    expected: str = Field("", max_length=64, description="`digest` of the dry run. Wanted where something is done.")


class BulkResult(Schema):
    """What would be done, or was."""

    action: str
    dry_run: bool
    count: int = Field(description="How many live keys pass the filter and are the caller's to end.")
    used_today: int = Field(description="How many of them were used in the last day.")
    of_service_accounts: int = Field(description="How many of them act for a service account, whoever issued them.")
    disabled: int = Field(description="How many of them were disabled before.")
    not_allowed: int = Field(description="How many more live keys pass it that are not the caller's to end; left out.")
    ended: int = Field(description="How many more pass it that had ended before; left out.")
    changed: int = Field(description="How many keys were changed; 0 in a dry run.")
    digest: str = Field(description="Names exactly these keys in their states; send it as `expected`.")


class UsesQuery(PageQuery):
    """Filters, all of which have to hold, and the page."""

    limit: int = Field(PAGE_SIZE, ge=1, le=100, description="How many uses a page holds.")
    outcome: Literal["", "accepted", "refused"] = Field(
        "",
        description="`accepted` is where the key was let in, whatever the answer was then; `refused` where it was not.",
    )
    since: Time | None = Field(None, description="Uses at or after this time, ISO 8601 with its zone.")
    until: Time | None = Field(None, description="Uses before this time, ISO 8601 with its zone.")


class UseItem(Schema):
    """One request with the key, or with its prefix and another secret; if `count` is more than 1, so many of them."""

    id: UUID
    at: datetime = Field(description="When it came; for several refusals, the minute in which they did.")
    event: str = Field(description="`api_key.use`, or `api_key.auth_failed` if the key was refused.")
    actor_kind: str = Field(description="`api_key`: whoever sends a key acts as one.")
    key_id: UUID | None = Field(description="Null if the request did not get as far as the key.")
    label: str = Field(description="The key's label; empty likewise.")
    prefix: str
    outcome: str = Field(description="`accepted`, or the code of the problem that was the answer.")
    method: str = Field(description="Empty for several refusals.")
    route: str = Field(description="The address without its ids; empty for several refusals, or if there is no such.")
    status: int
    address: str | None = Field(description="Where it came from; null if that was a unix socket.")
    user_agent: str = Field(description="What the client calls itself. It may be any text: escape it.")
    request_id: UUID | None = Field(description="Null for several refusals.")
    count: int = Field(description="More than 1 for refusals of one kind, which are counted together by the minute.")

    @staticmethod
    def resolve_route(use: KeyUse) -> str:
        return route_of(use)


class UsePage(Schema):
    """A page of uses, newest first; `next_cursor` is null on the last one."""

    items: list[UseItem]
    next_cursor: str | None


class IssuerItem(Schema):
    id: UUID
    email: str


class ServiceAccountRef(Schema):
    id: UUID
    name: str


class KeyItem(Schema):
    """A key, without its secret."""

    id: UUID
    name: str
    label: str = Field(description="The public start of the key: brand, kind, environment and prefix.")
    prefix: str
    kind: str
    scope: str
    environment: str
    permissions: list[str] = Field(description="What it was granted.")
    effective: list[str] = Field(description="What it may do now: as far as its issuer's role allows.")
    organization_id: UUID
    team_id: UUID | None
    project_id: UUID | None
    issuer: IssuerItem
    service_account: ServiceAccountRef | None = Field(description="For whom it acts instead of for its issuer.")
    allowed_origins: list[str] = Field(description="The web pages that may use it; only of a publishable key.")
    networks: list[str] = Field(description="The networks that it may come from; if there are none, from everywhere.")
    per_second: int | None = Field(description="Requests that it may make in a second; null if there is no limit.")
    per_minute: int | None = Field(description="Requests that it may make in a minute; null if there is no limit.")
    per_day: int | None = Field(description="Its daily quota (UTC); null if there is none.")
    state: str = Field(description="`active`, `disabled`, `expired`, `retired` or `revoked`.")
    predecessor_id: UUID | None = Field(description="The key whose place it takes.")
    created_at: datetime
    expires_at: datetime | None
    retires_at: datetime | None = Field(description="When it is refused because its successor has taken its place.")
    disabled_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None

    @staticmethod
    def resolve_effective(api_key: ApiKey) -> list[str]:
        catalogue = Catalogue.of(api_key.organization.permission_catalogue)
        is_publishable = api_key.kind == ApiKey.Kind.PUBLISHABLE
        return sorted(catalogue.effective(api_key.permissions, role_of(api_key), is_publishable=is_publishable))

    @staticmethod
    def resolve_state(api_key: ApiKey) -> str:
        return api_key.state_at(timezone.now())


class IssuedKey(KeyItem):
    """A new key, whole: this is the only time that `key` is shown."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: str


class KeyPage(Schema):
    """A page of keys, newest first; `next_cursor` is null on the last one."""

    items: list[KeyItem]
    next_cursor: str | None


class WhoamiKey(Schema):
    id: UUID
    name: str
    label: str
    kind: str
    scope: str
    environment: str
    granted: list[str] = Field(description="What the key was given.")
    permissions: list[str] = Field(description="What it may do now: `granted`, as far as its issuer's role allows.")
    created_at: datetime
    expires_at: datetime | None


class Whoami(Schema):
    """Who the caller is: a key, or a person in a browser's session, whose `key` is then null."""

    kind: Literal["api_key", "user"]
    organization_id: UUID
    team_id: UUID | None
    project_id: UUID | None
    issuer: IssuerItem | None = Field(
        description="The person: who issued the key, or who is signed in. Null for a publishable key."
    )
    service_account: ServiceAccountRef | None = Field(description="For whom the key acts instead of for its issuer.")
    role: str | None = Field(description="The issuer's role where the key acts, now.")
    key: WhoamiKey | None


def whoami(principal: Principal, api_key: PresentedKey | None) -> bytes:
    """Return the answer of `GET /v1/whoami`, as JSON."""
    is_public = api_key is not None and api_key.is_publishable
    return (
        Whoami(
            kind="api_key" if api_key else "user",
            organization_id=principal.organization_id,
            team_id=principal.team_id,
            project_id=principal.project_id,
            issuer=None if is_public else IssuerItem(id=principal.user_id, email=principal.user_label),
            service_account=None if is_public else _service_account(principal),
            role=principal.role_in(principal.team_id),
            key=_whoami_key(api_key) if api_key else None,
        )
        .model_dump_json()
        .encode()
    )


def _service_account(principal: Principal) -> ServiceAccountRef | None:
    if principal.service_account_id is None:
        return None
    return ServiceAccountRef(id=principal.service_account_id, name=principal.service_account_name)


def _whoami_key(api_key: PresentedKey) -> WhoamiKey:
    return WhoamiKey(
        id=api_key.id,
        name=api_key.name,
        label=api_key.label,
        kind=api_key.kind,
        scope=api_key.scope,
        environment=api_key.environment,
        granted=sorted(api_key.granted),
        permissions=sorted(api_key.permissions),
        created_at=api_key.created_at,
        expires_at=api_key.expires_at,
    )
