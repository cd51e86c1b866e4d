from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from apikeys.actions import issue_key
from audit import visibility
from audit.context import Actor, Place
from audit.paging import encode_cursor
from tests.audit.happenings import ALICE, ALICE_ID, BOB, NOON, PROJECT, TEAM, Happen
from tests.audit.people import People

URL = "/v1/audit-events"
# Filtered by what nothing else is called, so that making the people is not in the way.
SAFES = {"target_table": "safes"}


@pytest.fixture
def here(people: People) -> Place:
    return Place(people.alice.organization_id)


@pytest.fixture
def use_key(people: People) -> Callable[..., Any]:
    """Call the API as a script does, with a new key of Alice's that has the permissions given."""

    def call(*permissions: str, **query: Any) -> Any:
        _, key = issue_key(
            principal=people.alice_as_principal,
            name="auditor",
            place=people.alice.organization,
            environment="live",
            permissions=permissions,
            expires_at=None,
            at=NOON,
        )
        return Client().get(URL, query, headers={"Authorization": f"Bearer {key.reveal()}"})

    return call


def labels(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["target"]["label"] for item in response.json()["items"]]


def test_event_says_everything(alice_client: Client, here: Place, happen: Happen) -> None:
    ci = Actor("api_key", id=TEAM, label="kp_sk_live_a1B2c3D4", issuer_id=ALICE_ID, issuer_label="alice@example.com")
    event = happen(
        actor=ci,
        place=here,
        target_id=PROJECT,
        target_label="green",
        action="update",
        changes={"size": [1, 2]},
    )
    response = alice_client.get(URL, SAFES)
    assert response.json() == {
        "items": [
            {
                "id": event.pk,
                "at": "2025-03-05T12:00:00Z",
                "actor": {
                    "kind": "api_key",
                    "id": str(TEAM),
                    "label": "kp_sk_live_a1B2c3D4",
                    "issuer_id": str(ALICE_ID),
                    "issuer_label": "alice@example.com",
                },
                "target": {"table": "safes", "id": str(PROJECT), "label": "green"},
                "action": "update",
                "event": "safe.inspected",
                "changes": {"size": [1, 2]},
                "request_id": "",
                "address": None,
            }
        ],
        "next_cursor": None,
    }


def test_key_with_the_permission_reads_its_organizations_events(
    use_key: Callable[..., Any], here: Place, happen: Happen
) -> None:
    happen(place=here, target_label="green")
    happen(place=Place(PROJECT), target_label="of someone else")
    assert labels(use_key("audit:read", **SAFES)) == ["green"]


def test_key_without_the_permission_is_told_which_it_lacks(
    use_key: Callable[..., Any], here: Place, happen: Happen
) -> None:
    happen(place=here, target_label="green")
    response = use_key("projects:read", **SAFES)
    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert 'scope="audit:read"' in response["WWW-Authenticate"]
    assert "green" not in response.text


def test_caller_without_credentials_is_refused(happen: Happen, here: Place) -> None:
    happen(place=here, target_label="green")
    response = Client().get(URL)
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")


def test_stranger_sees_nothing(charlie_client: Client, here: Place, happen: Happen) -> None:
    happen(place=here)
    assert labels(charlie_client.get(URL, SAFES)) == []


def test_nobody_sees_anything_while_no_rule_is_set(alice_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_rules", [])
    with pytest.raises(ImproperlyConfigured):
        alice_client.get(URL)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["three", "two", "one"]),
        ({"action": "update"}, ["two"]),
        ({"actor": "BOB"}, ["three"]),
        ({"label": "W"}, ["two"]),
        ({"since": "2025-03-05T12:00:00Z", "until": "2025-03-05T12:00:01Z"}, ["three", "two", "one"]),
        ({"since": "2025-03-05T13:00:01+01:00"}, []),
        ({"until": "2025-03-05T12:00:00Z"}, []),
        ({"unknown": "x", "page": "2"}, ["three", "two", "one"]),
    ],
)
def test_events_can_be_filtered(
    alice_client: Client, here: Place, happen: Happen, query: dict[str, str], found: list[str]
) -> None:
    happen(place=here, target_label="one", actor=ALICE)
    happen(place=here, target_label="two", actor=ALICE, action="update")
    happen(place=here, target_label="three", actor=BOB)
    happen(place=here, target_label="four", target_table="chests")
    assert labels(alice_client.get(URL, SAFES | query)) == found


def test_pages_hold_every_event_once(alice_client: Client, here: Place, happen: Happen) -> None:
    for number in range(5):
        happen(place=here, target_label=str(number))
    seen, cursor = [], ""
    while True:
        response = alice_client.get(URL, SAFES | {"limit": "2", "cursor": cursor})
        seen.append(labels(response))
        happen(place=here, target_label="came in between")
        cursor = response.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == [["4", "3"], ["2", "1"], ["0"]]


@pytest.mark.parametrize(("limit", "held"), [(None, 50), ("100", 100), ("1", 1)])
def test_page_holds_as_many_as_asked_for(
    alice_client: Client, here: Place, happen: Happen, limit: str | None, held: int
) -> None:
    for _ in range(101):
        happen(place=here)
    assert len(labels(alice_client.get(URL, SAFES | ({"limit": limit} if limit else {})))) == held


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "many"),
        ("cursor", "x"),
        ("cursor", encode_cursor(2**63)),
        ("cursor", "\x00"),
        ("cursor", "x" * 65),
        ("target_table", "cellars"),
        ("target_table", "\x00"),
        ("action", "peek"),
        ("actor", "\x00"),
        ("actor", "a\n\x00"),
        ("label", "x" * 201),
        ("since", "yesterday"),
        ("since", "0"),
        ("until", "1741176000.5"),
        ("since", "2025-03-05T12:00:00"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("until", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_field_that_makes_no_sense_is_named(
    alice_client: Client, here: Place, happen: Happen, field: str, value: str
) -> None:
    happen(place=here)
    response = alice_client.get(URL, SAFES | {field: value})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_field"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert response["Content-Type"] == "application/problem+json"


def test_unknown_table_is_answered_with_those_there_are(alice_client: Client, happen: Happen) -> None:
    [error] = alice_client.get(URL, {"target_table": "cellars"}).json()["errors"]
    assert "api_keys" in error["message"]
    assert "safes" in error["message"]


def test_key_of_the_canary_is_nowhere_in_the_log(use_key: Callable[..., Any], people: People) -> None:
    response = use_key("audit:read", target_table="api_keys")
    [item] = response.json()["items"]
    assert (item["event"], item["action"]) == ("api_key.created", "create")
    assert item["target"]["label"].startswith("kp_org_live_")
    assert len(item["target"]["label"]) == len("kp_org_live_") + 8
    assert "digest" not in item["changes"]


@pytest.mark.parametrize("offset", ["+16:00", "-16:00", "+23:59", "-23:59"])
def test_time_with_any_offset_is_understood(alice_client: Client, here: Place, happen: Happen, offset: str) -> None:
    happen(place=here, target_label="green")
    assert labels(alice_client.get(URL, SAFES | {"since": f"2020-01-01T00:00:00{offset}"})) == ["green"]
    assert labels(alice_client.get(URL, SAFES | {"until": f"2020-01-01T00:00:00{offset}"})) == []
