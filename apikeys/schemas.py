"""What the JSON endpoints of keys take and answer. A key's secret is in one answer only, `IssuedKey`."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from django.utils import timezone
from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict, StringConstraints

from apikeys.actions import MAX_EXPIRES_IN_DAYS
from apikeys.models import ApiKey
from keyportal import names

PAGE_SIZE = 50


def _plain(name: str) -> str:
    if not names.is_plain(name):
        raise ValueError(names.RULE)
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=names.MAX_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_plain),
]


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
    environment: Literal["live", "test"] = "live"
    permissions: list[str] = Field(
        ["projects:read"],
        min_length=1,
        max_length=100,
        description="Names from the catalogue; `*` is whatever the issuer's role allows.",
    )
    expires_in_days: int | None = Field(
        None, ge=1, le=MAX_EXPIRES_IN_DAYS, strict=True, description="Without it the key never expires."
    )


class PageQuery(Schema):
    """Which page."""

    limit: int = Field(PAGE_SIZE, ge=1, le=100, description="How many keys a page holds.")
    cursor: str = Field("", max_length=64, description="`next_cursor` of the page before.")


class IssuerItem(Schema):
    id: UUID
    email: str


class KeyItem(Schema):
    """A key, without its secret."""

    id: UUID
    name: str
    label: str = Field(description="The public start of the key: brand, kind, environment and prefix.")
    prefix: str
    kind: str
    scope: str
    environment: str
    permissions: list[str]
    organization_id: UUID
    team_id: UUID | None
    project_id: UUID | None
    issuer: IssuerItem
    state: str = Field(description="`active`, `disabled`, `expired` or `revoked`.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None

    @staticmethod
    def resolve_state(api_key: ApiKey) -> str:
        return api_key.state_at(timezone.now())


class IssuedKey(KeyItem):
    """A new key, whole: this is the only time that `key` is shown."""

    model_config = ConfigDict(hide_input_in_errors=True)

    key: str

    @staticmethod
    def resolve_state(_issued: object) -> str:
        """A key is active when it is issued, and what is shown here is no row that could be asked."""
        return "active"


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
    issuer: IssuerItem = Field(description="The person: who issued the key, or who is signed in.")
    role: str | None = Field(description="The issuer's role where the key acts, now.")
    key: WhoamiKey | None
