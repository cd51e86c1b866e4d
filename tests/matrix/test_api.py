"""Every operation of the API, by everyone, everywhere: what is allowed is done, and what is not does nothing."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apikeys.models import ApiKey
from keyportal.api import api
from keyportal.http import SIGN_IN_PREFIX
from tests.matrix import grids
from tests.matrix.calls import Answer, attempt
from tests.matrix.grids import ALLOWED, OTHER_UNKNOWN, UNKNOWN, outcome
from tests.matrix.operations import OPERATIONS, Operation
from tests.matrix.world import NOBODYS, Caller, World

pytestmark = pytest.mark.django_db

ADDRESSES: dict[str, tuple[str, str]] = {
    operation["operationId"]: (method, path)
    for path, methods in api.get_openapi_schema()["paths"].items()
    for method, operation in methods.items()
    # Those make the person of a call, and ask for none.
    if not path.startswith(SIGN_IN_PREFIX)
}
KNOWN = sorted(OPERATIONS.keys() & ADDRESSES.keys())
LISTS = [name for name in KNOWN if OPERATIONS[name].lists]
BULK = [name for name in KNOWN if OPERATIONS[name].is_bulk]
SINGLE = [name for name in KNOWN if name not in {*LISTS, *BULK}]
WRITING = [name for name in KNOWN if OPERATIONS[name].writes]
# What shows a secret, or holds for all keys: whoever is at the keyboard has to be who they were.
ASKING_AGAIN = {
    "issue_api_key",
    "rotate_api_key",
    "change_policy",
    "end_api_keys",
    "add_permission",
    "change_permission",
    "publish_permissions",
    "remove_permission",
}
AUDIT = "audit_event"


def test_every_operation_is_in_the_matrix() -> None:
    assert set(OPERATIONS) == set(ADDRESSES)


def test_every_table_has_the_same_callers(world: World) -> None:
    asked = {name for operation in OPERATIONS.values() for name in operation.grid.callers}
    assert asked == world.callers.keys()
    assert all(set(operation.grid.callers) == asked for operation in OPERATIONS.values())


def test_every_operation_that_changes_something_says_what() -> None:
    looking = {name for name in KNOWN if ADDRESSES[name][0] == "get"} | {"preview_policy"}
    assert set(WRITING) == set(KNOWN) - looking


def ask(world: World, name: str, caller: Caller, place: str, *, sent: str = "") -> Answer:
    """Call an operation about what is in a place, and send what belongs there, or in another."""
    method, path = ADDRESSES[name]
    operation = OPERATIONS[name]
    values = operation.path_values(world, place)
    return attempt(caller, method, path.format(**values), operation.body(world, sent or place))


@pytest.mark.parametrize("caller", grids.SEE_KEYS.callers)
@pytest.mark.parametrize("name", SINGLE)
def test_operation_is_allowed_to_whom_it_should_be(world: World, name: str, caller: str) -> None:
    operation = OPERATIONS[name]
    grid = operation.grid
    answers = {place: ask(world, name, world.callers[caller], place) for place in grid.places}
    expected = {place: grid.status_cell(caller, place) for place in grid.places}
    assert {place: outcome(answer.status) for place, answer in answers.items()} == expected
    for place, answer in answers.items():
        check_writes(operation, place, answer)
    for place, answer in answers.items():
        nowhere = "nowhere team" if place in {"team", "other"} else "nowhere"
        # Not even the sentence tells it from what nobody has.
        if grid.rows[caller][place] == UNKNOWN:
            assert answer.body() == ask(world, name, world.callers[caller], nowhere).body()
        if grid.rows[caller][place] == OTHER_UNKNOWN:
            assert answer.body() == ask(world, name, world.callers[caller], place, sent=nowhere).body()


def check_writes(operation: Operation, place: str, answer: Answer) -> None:
    if operation.writes and outcome(answer.status) == ALLOWED:
        assert {operation.writes, AUDIT} <= answer.written.keys(), place
    else:
        assert answer.has_changed_nothing, (place, answer.written)


@pytest.mark.parametrize("caller", grids.SEE_KEYS.callers)
@pytest.mark.parametrize("name", LISTS)
def test_list_holds_what_may_be_seen_and_nothing_else(world: World, name: str, caller: str) -> None:
    operation = OPERATIONS[name]
    answer = attempt(world.callers[caller], "get", ADDRESSES[name][1] + _whole(operation))
    assert answer.has_changed_nothing
    if refusal := operation.grid.is_refused(caller):
        assert outcome(answer.status) == refusal
        return
    assert answer.status == 200
    items = answer.response.json()["items"]
    kind = "key" if operation.lists == "event" else operation.lists
    places = {one: place for place, one in world.ids[kind].items()}
    seen = {places[one] for item in items if (one := _id_of(operation, item)) in places}
    assert seen == operation.grid.allowed(caller)
    elsewhere = [f"{name}@example.com" for name in world.people if (name == "charlie") != caller.startswith("charlie")]
    assert not [email for email in elsewhere if email in answer.response.content.decode()]


def _whole(operation: Operation) -> str:
    """Return the query that brings all of a list on one page."""
    return {"key": "?limit=100", "event": "?limit=100&target_table=api_keys&action=create&label=kp_"}.get(
        operation.lists, ""
    )


def _id_of(operation: Operation, item: dict[str, Any]) -> str:
    return str(item["target"]["id"] if operation.lists == "event" else item["id"])


@pytest.mark.parametrize("action", ["disable", "revoke"])
@pytest.mark.parametrize("caller", grids.SEE_KEYS.callers)
@pytest.mark.parametrize("name", BULK)
def test_bulk_ends_what_its_caller_may_end_and_nothing_else(world: World, name: str, caller: str, action: str) -> None:
    grid, (method, path) = OPERATIONS[name].grid, ADDRESSES[name]
    asked = OPERATIONS[name].body(world, "") | {"action": action}
    first = attempt(world.callers[caller], method, path, asked)
    assert first.has_changed_nothing
    if refusal := grid.is_refused(caller):
        assert outcome(first.status) == refusal
        return
    wanted = asked | {"dry_run": False, "expected": first.response.json()["digest"], "reason": "It is over."}
    with transaction.atomic():
        response = world.callers[caller].call(method, path, data=json.dumps(wanted), content_type="application/json")
        ended = {place for place, key_id in world.ids["key"].items() if not _is_active(key_id)}
        transaction.set_rollback(True)
    assert ended == grid.allowed(caller)
    # Where there is nothing to end, that is said.
    assert response.status_code == (200 if ended else 422)


def _is_active(key_id: str) -> bool:
    return ApiKey.objects.get(pk=key_id).state_at(timezone.now()) == "active"


# What a browser's session has to bring along


@pytest.mark.parametrize("name", [name for name in KNOWN if ADDRESSES[name][0] != "get"])
def test_session_without_its_csrf_token_changes_nothing(world: World, name: str) -> None:
    place = next(iter(OPERATIONS[name].grid.places))
    answer = ask(world, name, Caller(world.callers["alice"].client), place)
    assert (answer.status, answer.response.json()["code"]) == (403, "csrf_failed")
    assert answer.has_changed_nothing


@pytest.mark.parametrize("name", WRITING)
def test_session_that_is_old_reveals_no_key_and_changes_no_policy(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ACCOUNT_REAUTHENTICATION_TIMEOUT", 0)
    place = next(iter(OPERATIONS[name].grid.places))
    answer = ask(world, name, world.callers["alice"], place)
    if name in ASKING_AGAIN:
        assert (answer.status, answer.response.json()["code"]) == (403, "recent_sign_in_required")
        assert answer.has_changed_nothing
    else:
        assert outcome(answer.status) == OPERATIONS[name].grid.rows["alice"][place]


# The project that a key of the organization names (S3)


@pytest.mark.parametrize("project", ["elsewhere", "nowhere"])
@pytest.mark.parametrize("name", [name for name in KNOWN if name != "get_key_format"])
def test_key_that_names_a_project_which_it_does_not_reach_is_told_that_there_is_none(
    world: World, name: str, project: str
) -> None:
    whole = world.callers["alice:org"]
    header = {"X-Project-Id": world.id_of("project", project)}
    place = next(iter(OPERATIONS[name].grid.places))
    answer = ask(world, name, Caller(whole.client, whole.headers | header), place)
    assert (answer.status, answer.response.json()["code"]) == (404, "not_found")
    assert answer.has_changed_nothing
    assert NOBODYS not in answer.response.content.decode()


def test_every_operation_names_its_right_or_why_there_is_none() -> None:
    assert all(operation.grid.rights or operation.grid.why for operation in OPERATIONS.values())
