"""Every operation of the API: which table says who may, what is sent, and what it writes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.matrix import grids
from tests.matrix.grids import Grid
from tests.matrix.world import STEWARDS, World

Body = Callable[[World, str], Any]
KEYS, ACCOUNTS, POLICIES, ORGANIZATIONS = (
    "apikeys_apikey",
    "accounts_serviceaccount",
    "apikeys_policy",
    "accounts_organization",
)
# What was added here, and in the other organization alone.
PERMISSIONS = {"here": "invoices:read", "elsewhere": "parcels:read"}
PERMISSION = {"sentence": "See them all.", "least_role": "team_admin"}
BULK = {"action": "disable", "filter": {"q": "target"}}


def _nothing(_world: World, _place: str) -> None:
    return None


def _same(body: Any) -> Body:
    return lambda _world, _place: body


@dataclass(frozen=True)
class Operation:
    """What is asked for, and what of."""

    grid: Grid
    # What the path names, by its kind in `World.ids`.
    about: str = ""
    body: Body = _nothing
    # What it writes; nothing where it only looks.
    writes: str = ""
    # What a list is of, as its items are found in `World.ids`.
    lists: str = ""
    # Whether it ends whatever its caller may end, and so is about all places at once.
    is_bulk: bool = False

    def path_values(self, world: World, place: str) -> dict[str, str]:
        if self.about == "permission":
            return {"name": PERMISSIONS.get(place, "nobodys:read")}
        value = world.id_of(self.about, place) if self.about else ""
        return {"key_id": value, "project_id": value, "account_id": value}


def _new_key(world: World, place: str) -> dict[str, Any]:
    if place == "org":
        return {"name": "new", "scope": "org"}
    kind = "team" if place in {"team", "other", "nowhere team"} else "project"
    return {"name": "new", "scope": kind, f"{kind}_id": world.id_of(kind, place)}


def _new_account(world: World, place: str) -> dict[str, Any]:
    return {
        "name": "new",
        "team_id": world.id_of("team", place),
        "steward_id": world.ids["person"].get(STEWARDS.get(place, "bob")),
    }


def _account_there(world: World, place: str) -> dict[str, Any]:
    team = {"others": "other", "alices": "team", "project": "team", "danas": "team"}.get(place, place)
    return {"service_account_id": world.id_of("account", team)}


def _later(world: World, _place: str) -> dict[str, Any]:
    return {"retires_at": (world.at + timedelta(days=10)).isoformat()}


# By the operation's id in the OpenAPI document. What a body may leave out is left out: the defaults are good.
OPERATIONS = {
    "whoami": Operation(grids.WHOEVER_IS_KNOWN),
    "get_key_format": Operation(grids.ANYONE),
    "issue_api_key": Operation(grids.ISSUE_KEYS, body=_new_key, writes=KEYS),
    "list_api_keys": Operation(grids.SEE_KEYS, lists="key"),
    "get_api_key": Operation(grids.SEE_KEYS, "key"),
    "list_api_key_uses": Operation(grids.SEE_KEYS, "key"),
    "get_api_key_rotation": Operation(grids.SEE_KEYS, "rotating"),
    "end_api_keys": Operation(grids.MANAGE_KEYS, body=_same(BULK), writes=KEYS, is_bulk=True),
    "narrow_api_key": Operation(grids.MANAGE_KEYS, "key", _same({"name": "renamed"}), KEYS),
    "revoke_api_key": Operation(grids.MANAGE_KEYS, "key", writes=KEYS),
    "disable_api_key": Operation(grids.MANAGE_KEYS, "key", writes=KEYS),
    "enable_api_key": Operation(grids.MANAGE_KEYS, "disabled", writes=KEYS),
    "end_api_key_rotation": Operation(grids.MANAGE_KEYS, "rotating", writes=KEYS),
    "extend_api_key_rotation": Operation(grids.MANAGE_KEYS, "rotating", _later, KEYS),
    "hand_over_api_key": Operation(grids.HAND_OVER_KEYS, "key", _account_there, KEYS),
    "rotate_api_key": Operation(grids.ROTATE_KEYS, "key", _same({}), KEYS),
    "rotate_calling_key": Operation(grids.ROTATE_ITSELF, body=_same({}), writes=KEYS),
    "get_policy": Operation(grids.SEE_ORGANIZATION),
    "preview_policy": Operation(grids.PREVIEW_POLICY, body=_same({"rotate_after": 30})),
    "change_policy": Operation(grids.CHANGE_POLICY, body=_same({"rotate_after": 30}), writes=POLICIES),
    "list_permissions": Operation(grids.WHOEVER_IS_KNOWN),
    "add_permission": Operation(
        grids.CHANGE_CATALOGUE, body=_same(PERMISSION | {"name": "invoices:write"}), writes=ORGANIZATIONS
    ),
    "publish_permissions": Operation(
        grids.CHANGE_CATALOGUE, body=_same({"permissions": ["analysis:read"]}), writes=ORGANIZATIONS
    ),
    "change_permission": Operation(grids.CHANGE_PERMISSIONS, "permission", _same(PERMISSION), ORGANIZATIONS),
    "remove_permission": Operation(grids.CHANGE_PERMISSIONS, "permission", writes=ORGANIZATIONS),
    "list_projects": Operation(grids.SEE_PROJECTS, lists="project"),
    "get_project": Operation(grids.SEE_PROJECTS, "project"),
    "list_service_accounts": Operation(grids.SEE_ACCOUNTS, lists="account"),
    "get_service_account": Operation(grids.SEE_ACCOUNTS, "account"),
    "create_service_account": Operation(grids.CREATE_ACCOUNTS, body=_new_account, writes=ACCOUNTS),
    "change_service_account": Operation(grids.MANAGE_ACCOUNTS, "account", _same({"name": "renamed"}), ACCOUNTS),
    "stop_service_account": Operation(grids.MANAGE_ACCOUNTS, "account", writes=ACCOUNTS),
    "list_audit_events": Operation(grids.SEE_EVENTS, lists="event"),
}
