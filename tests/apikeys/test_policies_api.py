from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Organization, Project, Team
from apikeys import actions
from apikeys.models import ApiKey, Policy
from apikeys.permissions import Permission
from audit.models import AuditEvent
from tests.cast import Issued, Person, later

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
ADDRESS, PREVIEW = "/v1/policy", "/v1/policy/preview"
DEFAULTS: dict[str, Any] = {
    "max_lifetime": None,
    "is_expiry_required": False,
    "team_issuers": "team_admin",
    "project_issuers": "developer",
    "never_together": [],
    "networks": [],
    "warn_unused_after": 90,
    "disable_unused_after": None,
    "rotate_after": 90,
    "networks_existing_from": None,
    "disable_unused_from": None,
}


@pytest.fixture
def admin(issue: Issue, alice: Person, organization: Organization) -> Issued:
    """An organization key that may read and change the policy, and ends before any date that a test picks."""
    return issue(alice, organization, permissions=["org:read", "org:write"], expires_at=later(days=2))


def send(key: Issued, method: str, address: str, body: object = None) -> Any:
    call = getattr(Client(), method)
    if body is None:
        return call(address, headers=key.headers)
    return call(address, body, content_type="application/json", headers=key.headers)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_policy_is_the_defaults_until_it_is_changed(admin: Issued, noon: time_machine.Traveller) -> None:
    assert send(admin, "get", ADDRESS).json() == DEFAULTS


def test_sets_are_sent_back_though_a_permission_they_name_is_gone(
    alice: Person, admin: Issued, noon: time_machine.Traveller
) -> None:
    actions.add_permission(principal=alice.principal, entry=Permission("invoices:read", "See invoices."))
    together = [["audit:read", "invoices:read"]]
    send(admin, "patch", ADDRESS, {"never_together": together})
    actions.remove_permission(principal=alice.principal, name="invoices:read")
    more = [*together, ["keys:read", "scan:read"]]
    for path in (ADDRESS, f"{ADDRESS}/preview"):
        method = "patch" if path == ADDRESS else "post"
        assert send(admin, method, path, {"never_together": more}).status_code == 200
    assert send(admin, "get", ADDRESS).json()["never_together"] == more


def test_patch_changes_what_is_sent_and_nothing_else(
    admin: Issued, organization: Organization, noon: time_machine.Traveller
) -> None:
    first = {"max_lifetime": 30, "never_together": [["scan:read", "keys:read"]], "networks": ["127.0.0.0/8"]}
    response = send(admin, "patch", ADDRESS, first)
    assert response.status_code == 200
    expected = DEFAULTS | first | {"never_together": [["keys:read", "scan:read"]]}
    told = response.json()
    assert moment(told.pop("networks_existing_from")) == later(days=30)
    assert told == {name: value for name, value in expected.items() if name != "networks_existing_from"}
    then = send(admin, "patch", ADDRESS, {"max_lifetime": None, "rotate_after": None}).json()
    assert (then["max_lifetime"], then["rotate_after"], then["networks"]) == (None, None, ["127.0.0.0/8"])
    assert send(admin, "get", ADDRESS).json() == then
    rows = AuditEvent.objects.filter(target_table__in=["policies", "organizations"], actor_kind="api_key")
    assert set(rows.values_list("event", flat=True)) == {
        "policy.created",
        "policy.updated",
        "organization.networks_changed",
    }


def test_date_for_existing_keys_is_in_30_days_unless_it_is_sent(
    issue: Issue, admin: Issued, dana: Person, project: Project, noon: time_machine.Traveller
) -> None:
    issued = issue(dana, project)
    send(admin, "patch", ADDRESS, {"max_lifetime": 90})
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(days=30)
    send(admin, "patch", ADDRESS, {"is_expiry_required": True, "existing_from": later(days=5).isoformat()})
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(days=30)
    send(admin, "patch", ADDRESS, {"max_lifetime": 20, "existing_from": later(days=-5).isoformat()})
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(microseconds=1)


def test_preview_tells_what_the_change_then_does(
    issue: Issue, admin: Issued, dana: Person, project: Project, noon: time_machine.Traveller
) -> None:
    keys = [issue(dana, project) for _ in range(3)]
    body = {"is_expiry_required": True, "existing_from": later(days=5).isoformat()}
    response = send(admin, "post", PREVIEW, body)
    assert response.status_code == 200
    told = response.json()
    assert (told["keys"], told["used_today"], moment(told["existing_from"])) == (3, 0, later(days=5))
    [rule] = told["rules"]
    assert (rule["rule"], rule["keys"], rule["used_today"]) == ("expiry", 3, 0)
    newest = keys[-1].row
    assert rule["examples"][0] == {"id": str(newest.pk), "name": newest.name, "label": newest.label}
    assert not Policy.objects.exists()
    send(admin, "patch", ADDRESS, body)
    assert ApiKey.objects.filter(expires_at=later(days=5)).count() == 3


@pytest.mark.parametrize("permissions", [["org:read"], ["keys:write"], ["*"]])
@pytest.mark.parametrize(
    ("method", "address", "needed"),
    [("get", ADDRESS, "org:read"), ("patch", ADDRESS, "org:write"), ("post", PREVIEW, "org:read")],
)
def test_key_needs_the_permission(
    issue: Issue,
    alice: Person,
    organization: Organization,
    permissions: list[str],
    method: str,
    address: str,
    needed: str,
    noon: time_machine.Traveller,
) -> None:
    key = issue(alice, organization, permissions=permissions)
    response = send(key, method, address, None if method == "get" else {"max_lifetime": 30})
    is_allowed = needed in permissions or "*" in permissions
    assert response.status_code == (200 if is_allowed else 403)
    if not is_allowed:
        assert response.json()["code"] == "insufficient_scope"


def test_key_of_a_team_neither_sees_nor_changes_it(
    issue: Issue, alice: Person, team: Team, noon: time_machine.Traveller
) -> None:
    key = issue(alice, team, permissions=["org:read", "org:write"])
    for method, address in (("get", ADDRESS), ("patch", ADDRESS), ("post", PREVIEW)):
        response = send(key, method, address, None if method == "get" else {"max_lifetime": 30})
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert not Policy.objects.exists()


def test_organizations_do_not_see_each_others(admin: Issued, charlie_client: Client) -> None:
    with time_machine.travel(later(days=0), tick=False):
        send(admin, "patch", ADDRESS, {"max_lifetime": 30})
    assert charlie_client.get(ADDRESS).json()["max_lifetime"] is None


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("dana", 403)])
def test_person_needs_to_be_the_super_admin(who: str, status: int, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(f"{who}_client")
    for method, address in (("get", ADDRESS), ("patch", ADDRESS), ("post", PREVIEW)):
        sent = {} if method == "get" else {"data": {"max_lifetime": 30}, "content_type": "application/json"}
        assert getattr(client, method)(address, **sent).status_code == status


def test_person_needs_a_recent_sign_in(alice_client: Client) -> None:
    session = alice_client.session
    session["account_authentication_methods"] = [{"method": "password", "at": 0}]
    session.save()
    response: Any = alice_client.patch(ADDRESS, {"max_lifetime": 30}, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_lifetime": 0}, "max_lifetime"),
        ({"max_lifetime": 1826}, "max_lifetime"),
        ({"max_lifetime": "30"}, "max_lifetime"),
        ({"is_expiry_required": "yes"}, "is_expiry_required"),
        ({"is_expiry_required": None}, "is_expiry_required"),
        ({"team_issuers": "developer"}, "team_issuers"),
        ({"project_issuers": "member"}, "project_issuers"),
        ({"networks": ["203.0.113.1/24"]}, "networks.0"),
        ({"never_together": [["scan:read"]]}, "never_together.0"),
        ({"never_together": [["scan:read", "no:such"]]}, "never_together.0"),
        ({"never_together": [["scan:read", "scan:read"]]}, "body"),
        ({"never_together": [["scan:read", "*"]]}, "body"),
        ({"warn_unused_after": -1}, "warn_unused_after"),
        ({"disable_unused_after": 3651}, "disable_unused_after"),
        ({"existing_from": "2026-03-02T12:00:00"}, "existing_from"),
        ({"max_age": 3}, "max_age"),
    ],
)
@pytest.mark.parametrize(("method", "address"), [("patch", ADDRESS), ("post", PREVIEW)])
def test_field_that_is_not_valid_is_named(
    admin: Issued, noon: time_machine.Traveller, method: str, address: str, body: dict[str, Any], field: str
) -> None:
    response = send(admin, method, address, body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Policy.objects.exists()


@pytest.mark.parametrize("count", [1, 3])
def test_preview_costs_the_same_for_one_and_many(
    issue: Issue,
    admin: Issued,
    dana: Person,
    project: Project,
    noon: time_machine.Traveller,
    count: int,
    django_assert_num_queries: Queries,
) -> None:
    for _ in range(count):
        issue(dana, project)
    send(admin, "get", "/v1/whoami")
    # The caller; the catalogue, for names; the policy; the keys; and those that are shown.
    with django_assert_num_queries(5):
        send(admin, "post", PREVIEW, {"max_lifetime": 30})
