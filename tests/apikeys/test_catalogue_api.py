from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Organization, Project, Team
from apikeys import actions
from apikeys.permissions import Role
from audit.models import AuditEvent
from tests.cast import Issued, Person

Issue = Callable[..., Issued]
ADDRESS = "/v1/permissions"
ENTRY = {"name": "invoices:read", "sentence": "See invoices.", "least_role": "developer"}
SHOWN = ENTRY | {"is_built_in": False, "is_published": False}


@pytest.fixture
def admin(issue: Issue, alice: Person, organization: Organization, noon: time_machine.Traveller) -> Issued:
    return issue(alice, organization, permissions=["org:write"])


def send(key: Issued, method: str, address: str, body: object = None) -> Any:
    call = getattr(Client(), method)
    if body is None:
        return call(address, headers=key.headers)
    return call(address, body, content_type="application/json", headers=key.headers)


def listed(key: Issued) -> dict[str, Any]:
    return {item["name"]: item for item in send(key, "get", ADDRESS).json()["items"]}


def test_any_good_key_sees_the_catalogue_of_its_organization(
    issue: Issue, admin: Issued, dana: Person, charlie: Person, project: Project, dana_client: Client
) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    ours = issue(dana, project, permissions=["scan:read"])
    theirs = issue(charlie, charlie.membership.organization)
    assert listed(ours)["invoices:read"] == SHOWN
    assert listed(ours)["scan:read"]["is_built_in"] is True
    assert listed(ours)["analysis:read"]["is_published"] is True
    assert "invoices:read" not in listed(theirs)
    person: Any = dana_client.get(ADDRESS)
    assert person.json()["items"] == list(listed(ours).values())


def test_key_holds_a_permission_at_once_after_it_was_added_and_loses_it_when_it_is_removed(
    issue: Issue, admin: Issued, dana: Person, project: Project
) -> None:
    assert send(admin, "post", ADDRESS, ENTRY).status_code == 201
    key = issue(dana, project, permissions=["invoices:read", "scan:read"])
    everything = issue(dana, project, permissions=["*"])

    def held() -> list[bool]:
        bodies = [send(each, "get", "/v1/whoami").json() for each in (key, everything)]
        return ["invoices:read" in body["key"]["permissions"] for body in bodies]

    assert held() == [True, True]
    assert send(admin, "patch", f"{ADDRESS}/invoices:read", {"least_role": "team_admin"}).status_code == 200
    assert held() == [False, False]
    send(admin, "patch", f"{ADDRESS}/invoices:read", {"least_role": "developer"})
    assert held() == [True, True]
    assert send(admin, "delete", f"{ADDRESS}/invoices:read").status_code == 204
    assert held() == [False, False]
    assert send(key, "get", "/v1/whoami").json()["key"]["granted"] == ["invoices:read", "scan:read"]


def test_change_keeps_what_is_not_sent(admin: Issued) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    changed = send(admin, "patch", f"{ADDRESS}/invoices:read", {"sentence": "See invoices and their lines."})
    assert changed.json() == SHOWN | {"sentence": "See invoices and their lines."}
    assert send(admin, "patch", f"{ADDRESS}/invoices:read", {}).json() == changed.json()


def test_change_keeps_what_someone_else_changed_at_the_same_time(
    alice: Person, admin: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    change = actions.change_permission

    def later(**given: Any) -> Any:
        change(principal=alice.principal, name="invoices:read", least_role=Role.SUPER_ADMIN)
        return change(**given)

    monkeypatch.setattr(actions, "change_permission", later)
    changed = send(admin, "patch", f"{ADDRESS}/invoices:read", {"sentence": "See them."}).json()
    assert (changed["sentence"], changed["least_role"]) == ("See them.", "super_admin")


def test_publishable_keys_get_what_is_chosen(issue: Issue, admin: Issued, dana: Person, project: Project) -> None:
    send(admin, "post", ADDRESS, ENTRY | {"is_published": True})
    key = issue(dana, project, kind="publishable", permissions=[])
    assert key.row.permissions == ["analysis:create", "analysis:read", "invoices:read"]
    chosen = send(admin, "put", f"{ADDRESS}/publishable", {"permissions": ["analysis:create"]})
    assert [item["name"] for item in chosen.json()["items"] if item["is_published"]] == ["analysis:create"]
    assert send(key, "get", "/v1/whoami").json()["key"]["permissions"] == ["analysis:create"]


def test_each_change_leaves_its_event(admin: Issued) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    send(admin, "patch", f"{ADDRESS}/invoices:read", {"sentence": "See them."})
    send(admin, "put", f"{ADDRESS}/publishable", {"permissions": []})
    send(admin, "delete", f"{ADDRESS}/invoices:read")
    rows = AuditEvent.objects.filter(event="organization.catalogue_changed")
    assert {(row.actor_kind, row.actor_label) for row in rows} == {("api_key", admin.row.label)}
    assert rows.count() == 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (ENTRY | {"name": "Invoices"}, "name"),
        (ENTRY | {"name": "scan:read"}, "name"),
        (ENTRY | {"name": "keys:delete"}, "name"),
        (ENTRY | {"name": "invoices:write"}, "name"),
        (ENTRY | {"sentence": " "}, "sentence"),
        (ENTRY | {"sentence": "a\u202eb"}, "sentence"),
        (ENTRY | {"least_role": "member"}, "least_role"),
        (ENTRY | {"is_published": 1}, "is_published"),
        (ENTRY | {"more": 1}, "more"),
        ({}, "name sentence"),
    ],
)
def test_field_that_is_not_valid_is_named(admin: Issued, body: dict[str, Any], field: str) -> None:
    send(admin, "post", ADDRESS, ENTRY | {"name": "invoices:write"})
    response = send(admin, "post", ADDRESS, body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert " ".join(error["field"] for error in response.json()["errors"]) == field
    assert AuditEvent.objects.filter(event="organization.catalogue_changed").count() == 1


def test_what_reaches_keyportal_is_never_published(admin: Issued) -> None:
    response = send(admin, "put", f"{ADDRESS}/publishable", {"permissions": ["keys:write"]})
    assert response.json()["errors"] == [
        {"field": "permissions", "message": "Publishable keys may not have: keys:write."}
    ]


@pytest.mark.parametrize("name", ["scan:read", "invoices:read", "publishable", "x"])
@pytest.mark.parametrize("method", ["patch", "delete"])
def test_what_was_not_added_is_404(admin: Issued, name: str, method: str) -> None:
    response = send(admin, method, f"{ADDRESS}/{name}", {"sentence": "x"} if method == "patch" else None)
    expected = 405 if name == "publishable" else 404
    assert response.status_code == expected


WRITES = [
    ("post", ADDRESS, ENTRY),
    ("put", f"{ADDRESS}/publishable", {"permissions": []}),
    ("patch", f"{ADDRESS}/invoices:read", {"sentence": "x"}),
    ("delete", f"{ADDRESS}/invoices:read", None),
]


@pytest.mark.parametrize(("method", "address", "body"), WRITES)
def test_write_takes_the_permission_and_the_whole_organization(
    issue: Issue,
    admin: Issued,
    alice: Person,
    team: Team,
    organization: Organization,
    method: str,
    address: str,
    body: Any,
) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    for place, permissions, code in (
        (organization, ["org:read"], "insufficient_scope"),
        (team, ["org:write"], "forbidden"),
    ):
        response = send(issue(alice, place, permissions=permissions), method, address, body)
        assert (response.status_code, response.json()["code"]) == (403, code)
    assert "invoices:read" in listed(admin)


@pytest.mark.parametrize(("method", "address", "body"), WRITES)
def test_write_takes_a_super_admin(
    admin: Issued, bob_client: Client, dana_client: Client, method: str, address: str, body: Any
) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    for client in (bob_client, dana_client):
        response: Any = getattr(client, method)(address, body, content_type="application/json")
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert "invoices:read" in listed(admin)


def test_stranger_changes_nothing_of_ours(admin: Issued, charlie_client: Client) -> None:
    send(admin, "post", ADDRESS, ENTRY)
    assert charlie_client.delete(f"{ADDRESS}/invoices:read").status_code == 404
    assert charlie_client.patch(f"{ADDRESS}/invoices:read", {}, content_type="application/json").status_code == 404
    assert "invoices:read" in listed(admin)
