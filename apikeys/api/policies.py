"""The organization's policy as JSON: what it demands of its keys, and what a change would touch."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast
from uuid import UUID

from django.utils import timezone
from ninja import Field, Router, Schema
from pydantic import ConfigDict, StringConstraints, model_validator

from accounts.recent import is_sign_in_recent
from accounts.rights import Right
from apikeys import actions
from apikeys.actions import PolicyChange
from apikeys.api.fields import refuse_unknown_sets
from apikeys.models import ApiKey
from apikeys.networks import MAX_NETWORKS
from apikeys.permissions import ALL
from apikeys.policing import GRACE, MAX_IN_SET, MAX_LIFETIME, MAX_SETS, MAX_UNUSED, Effect, Preview
from apikeys.rules import Rules, rules_of
from apikeys.schemas import Network
from audit.api import Time
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["policy"])
Lifetime = Annotated[int, Field(ge=1, le=MAX_LIFETIME, strict=True)]
Days = Annotated[int, Field(ge=1, le=MAX_UNUSED, strict=True)]
# Of one that is in no catalogue, nothing is repeated: it may be anything.
PermissionName = Annotated[str, StringConstraints(max_length=100)]
Together = Annotated[list[PermissionName], Field(min_length=2, max_length=MAX_IN_SET)]


class PolicyRequest(Schema):
    """What the policy shall say; what is left out stays as it is. A member that is not listed here is refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    max_lifetime: Lifetime | None = Field(None, description="How many days a key may live at most; null is no limit.")
    is_expiry_required: bool = Field(False, strict=True, description="Whether every key has to have an end.")
    team_issuers: Literal["team_admin", "super_admin"] = Field(
        "team_admin", description="The least role that issues keys of a team."
    )
    project_issuers: Literal["developer", "team_admin", "super_admin"] = Field(
        "developer", description="The least role that issues keys of a project."
    )
    never_together: list[Together] = Field(
        [], max_length=MAX_SETS, description="Sets of permissions; no key may have all of one, and `*` has all."
    )
    networks: list[Network] = Field(
        [], max_length=MAX_NETWORKS, description="Where keys may come from: `203.0.113.0/24`. Empty is from anywhere."
    )
    warn_unused_after: Days | None = Field(None, description="After how many days a key counts as unused; null: never.")
    disable_unused_after: Days | None = Field(
        None, description="After how many days an unused key is disabled; null: never."
    )
    rotate_after: Days | None = Field(None, description="After how many days rotation is recommended; null: never.")
    existing_from: Time | None = Field(
        None,
        description="From when existing keys have to meet what is new: ISO 8601 with its zone. In 30 days unless it is "
        "given; one that has passed is now.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if any(len(set(names)) < 2 or ALL in names for names in self.never_together):
            raise ValueError("A set of never_together has two permissions or more, each by its name.")
        return self

    def changes(self) -> PolicyChange:
        """Return what was sent, and nothing for what was not."""
        sent = self.model_fields_set - {"existing_from"}
        return cast(PolicyChange, {name: getattr(self, name) for name in sent})

    def starts_at(self, at: datetime) -> datetime:
        return self.existing_from or at + GRACE


class PolicyItem(Schema):
    """What the organization demands of its keys."""

    max_lifetime: int | None = Field(description="In days.")
    is_expiry_required: bool
    team_issuers: str
    project_issuers: str
    never_together: list[list[str]]
    networks: list[str] = Field(description="Where keys may come from; if there are none, from everywhere.")
    warn_unused_after: int | None = Field(description="In days.")
    disable_unused_after: int | None = Field(description="In days.")
    rotate_after: int | None = Field(description="In days.")
    networks_existing_from: datetime | None = Field(description="From when older keys are held to the networks.")
    disable_unused_from: datetime | None = Field(description="No key is disabled for that before.")


class KeyRef(Schema):
    id: UUID
    name: str
    label: str


class RuleItem(Schema):
    """The keys that fall short of one rule which is new or stricter."""

    rule: str = Field(description="`lifetime`, `expiry`, `scope`, `together`, `networks` or `unused`.")
    keys: int
    used_today: int = Field(description="How many of them were used in the last 24 hours.")
    examples: list[KeyRef] = Field(description="The newest 20.")

    @staticmethod
    def resolve_examples(effect: Effect) -> list[ApiKey]:
        return effect.examples


class PolicyPreview(Schema):
    """What the same change would do if it were made now."""

    existing_from: datetime
    keys: int = Field(description="How many keys would end at `existing_from`.")
    used_today: int = Field(description="How many of them were used in the last 24 hours.")
    rules: list[RuleItem]


@router.get("/policy", response=answers(200, PolicyItem, 404), operation_id="get_policy", summary="Get the policy")
def get_policy(request: ApiRequest) -> dict[str, Any]:
    """Return what the organization demands of its keys. Needs `org:read`, and a key of the organization."""
    request.principal.require("org:read")
    actions.require_right(request.principal, Right.ORGANIZATION_SEE)
    return _item(rules_of(request.principal.organization_id))


@router.patch(
    "/policy", response=answers(200, PolicyItem, 404), operation_id="change_policy", summary="Change the policy"
)
def change_policy(request: ApiRequest, body: PolicyRequest) -> dict[str, Any]:
    """Change what the organization demands of its keys: of new ones at once, of existing ones from a date on.

    Existing keys that break a rule which is new or stricter end at `existing_from`; a rule that stays as it is or is
    loosened changes no key. Needs `org:write`, and a key of the organization; from a session, a recent sign-in.
    """
    request.principal.require("org:write")
    if not request.principal.is_key and not is_sign_in_recent(request):
        raise Problem("recent_sign_in_required")
    at = timezone.now()
    _refuse_unknown(request, body)
    done = actions.change_policy(
        principal=request.principal, changes=body.changes(), existing_from=body.starts_at(at), at=at
    )
    return _item(done.rules)


@router.post(
    "/policy/preview",
    response=answers(200, PolicyPreview, 404),
    operation_id="preview_policy",
    summary="Preview a change of the policy",
)
def preview_policy(request: ApiRequest, body: PolicyRequest) -> dict[str, Any]:
    """Return what the same change would touch, and change nothing. Needs `org:read`, and a key of the organization."""
    request.principal.require("org:read")
    at = timezone.now()
    _refuse_unknown(request, body)
    found = actions.preview_policy(
        principal=request.principal, changes=body.changes(), existing_from=body.starts_at(at), at=at
    )
    return _preview(found)


def _refuse_unknown(request: ApiRequest, body: PolicyRequest) -> None:
    refuse_unknown_sets(rules_of(request.principal.organization_id), body.never_together)


def _item(rules: Rules) -> dict[str, Any]:
    networks = rules.networks
    return {
        "networks": networks.networks if networks else (),
        "networks_existing_from": networks.existing_from if networks else None,
        **{
            name: getattr(rules.policy, name)
            for name in PolicyItem.model_fields
            if name not in {"networks", "networks_existing_from"}
        },
    }


def _preview(found: Preview) -> dict[str, Any]:
    return {
        "existing_from": found.existing_from,
        "keys": len(found.ending),
        "used_today": found.ending_used_today,
        "rules": found.effects,
    }
