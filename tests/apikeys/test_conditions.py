"""What a key is bound to beside its end: networks, and the environments that its project accepts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Organization, Project, Team
from apikeys import origins
from apikeys.actions import (
    EnvironmentNotAccepted,
    KindNotAllowed,
    NetworkNotGrantable,
    PermissionNotGrantable,
    issue_key,
)
from apikeys.models import ApiKey
from apikeys.networks import NetworkPolicy, NotANetwork, is_inside, is_within, parse
from apikeys.verification import Outcome, verify
from audit import uses
from audit.models import KeyUse
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]


def from_address(issued: Issued, address: str) -> Any:
    return Client().get("/v1/whoami", headers=issued.headers, REMOTE_ADDR=address)


def set_environments(project: Project, environments: str) -> None:
    project.environments = environments
    with transaction.atomic():
        project.save(update_fields=["environments"])


# Networks


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        (" 203.0.113.7 ", "203.0.113.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_network_is_brought_into_its_one_form(text: str, network: str) -> None:
    assert parse(text) == network


@pytest.mark.pure
@pytest.mark.parametrize(
    "text", ["", "everywhere", "203.0.113.7/24", "203.0.113.0/33", "198.51.100", "fe80::1%eth0/64"]
)
def test_text_that_is_no_network_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(NotANetwork) as refusal:
        parse(text)
    assert not text or text not in str(refusal.value)


@pytest.mark.pure
@given(address=st.ip_addresses(), length=st.integers(0, 32))
def test_address_is_inside_the_network_around_it(address: Any, length: int) -> None:
    network = parse(f"{address}/{address.max_prefixlen}")
    assert is_inside(str(address), (network,))
    assert is_within(network, ["0.0.0.0/0", "::/0"])
    assert not is_inside("", (network,))


@pytest.mark.parametrize(
    ("address", "status"),
    [("203.0.113.9", 200), ("203.0.114.9", 403), ("2001:db8::1", 200), ("2001:db9::1", 403), ("", 403)],
)
def test_key_comes_from_its_networks_only(
    issue: Issue, dana: Person, project: Project, address: str, status: int
) -> None:
    issued = issue(dana, project, networks=["203.0.113.0/24", "2001:db8::/32"])
    response = from_address(issued, address)
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "network_not_allowed"
        uses.flush()
        use = KeyUse.objects.get()
        assert (use.key_id, use.is_refused, use.outcome) == (issued.row.pk, True, "network_not_allowed")


@override_settings(TRUSTED_PROXIES=["127.0.0.1"])
def test_network_is_that_of_the_client_behind_a_trusted_proxy(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, networks=["203.0.113.0/24"])
    for forwarded, status in (("203.0.113.9", 200), ("203.0.113.9, 198.51.100.1", 403), ("198.51.100.1", 403)):
        headers = issued.headers | {"X-Forwarded-For": forwarded}
        response = Client().get("/v1/whoami", headers=headers, REMOTE_ADDR="127.0.0.1")
        assert response.status_code == status


def test_stranger_learns_nothing_of_networks(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, networks=["203.0.113.0/24"])
    wrong = issued.text[:-1] + ("a" if issued.text[-1] != "a" else "b")
    assert verify(wrong, at=NOON, source="198.51.100.1").outcome is Outcome.INVALID_KEY


@pytest.mark.pure
@pytest.mark.parametrize(
    ("created_at", "at", "is_allowed"),
    [
        (NOON, later(days=1), True),
        (NOON, later(days=31), False),
        (later(days=2), later(days=3), False),
    ],
)
def test_organizations_networks_leave_earlier_keys_alone_for_a_while(
    created_at: datetime, at: datetime, is_allowed: bool
) -> None:
    policy = NetworkPolicy(("203.0.113.0/24",), since=later(hours=1), existing_from=later(days=30))
    assert policy.allows("198.51.100.1", created_at=created_at, at=at) is is_allowed
    assert policy.allows("203.0.113.1", created_at=created_at, at=at)
    assert NetworkPolicy.of(policy.as_stored()) == policy
    assert NetworkPolicy.of({}) is None


@pytest.mark.parametrize("asked", [[], ["198.51.100.0/24"], ["203.0.113.0/24", "203.0.0.0/16"]])
def test_key_issues_none_that_may_come_from_elsewhere(
    issue: Issue, bob: Person, team: Team, project: Project, asked: list[str]
) -> None:
    parent = issue(bob, team, permissions=["keys:write", "scan:read"], networks=["203.0.113.0/24"])
    principal = verify(parent.text, at=NOON, source="203.0.113.1").key.principal  # type: ignore[union-attr] # it is good
    wanted: dict[str, Any] = {
        "principal": principal,
        "name": "child",
        "place": project,
        "environment": "live",
        "permissions": ["scan:read"],
        "expires_at": None,
        "at": NOON,
    }
    with pytest.raises(NetworkNotGrantable):
        issue_key(**wanted, networks=asked)
    child, _ = issue_key(**wanted, networks=["203.0.113.64/26"])
    assert child.networks == ["203.0.113.64/26"]


# Environments


def test_project_has_keys_of_the_environments_that_it_accepts(issue: Issue, dana: Person, project: Project) -> None:
    live = issue(dana, project, environment="live")
    set_environments(project, "test")
    response = from_address(live, "127.0.0.1")
    assert (response.status_code, response.json()["code"]) == (403, "environment_not_accepted")
    with pytest.raises(EnvironmentNotAccepted):
        issue(dana, project, environment="live")
    assert from_address(issue(dana, project, environment="test"), "127.0.0.1").status_code == 200
    set_environments(project, "any")
    assert from_address(live, "127.0.0.1").status_code == 200


def test_project_that_a_call_names_has_to_accept_the_keys_environment(
    issue: Issue, bob: Person, team: Team, project: Project
) -> None:
    issued = issue(bob, team, environment="live")
    set_environments(project, "test")
    response: Any = Client().get("/v1/projects", headers=issued.headers | {"X-Project-Id": str(project.pk)})
    assert (response.status_code, response.json()["code"]) == (403, "environment_not_accepted")
    assert Client().get("/v1/projects", headers=issued.headers).status_code == 200


# Publishable keys


def test_publishable_key_gets_the_locked_permissions(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=["https://app.example.com"])
    assert issued.text.startswith("kp_pk_live_")
    assert issued.row.permissions == ["analysis:create", "analysis:read"]
    body = from_address(issued, "127.0.0.1").json()
    assert body["key"]["permissions"] == ["analysis:create", "analysis:read"]
    assert (body["issuer"], body["service_account"]) == (None, None)
    assert "dana" not in str(body)


def test_publishable_key_is_for_a_project_and_takes_no_other_permissions(
    issue: Issue, bob: Person, team: Team, project: Project
) -> None:
    with pytest.raises(KindNotAllowed):
        issue(bob, team, kind="publishable", permissions=[])
    with pytest.raises(PermissionNotGrantable, match="scan:read"):
        issue(bob, project, kind="publishable", permissions=["scan:read"])
    assert not ApiKey.objects.exists()


def test_publishable_key_loses_at_once_what_is_published_no_more(
    issue: Issue, dana: Person, project: Project, organization: Organization
) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[])
    organization.permission_catalogue = {"publishable": ["analysis:read"]}
    with transaction.atomic():
        organization.save(update_fields=["permission_catalogue"])
    assert from_address(issued, "127.0.0.1").json()["key"]["permissions"] == ["analysis:read"]


# Origins


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://shop.localhost", "http://shop.localhost"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_origin_is_brought_into_the_form_that_browsers_send(text: str, origin: str) -> None:
    assert origins.parse(text) == origin


@pytest.mark.pure
@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://app.example.com/path",
        "https://app.example.com?x=1",
        "https://user@app.example.com",
        "http://app.example.com",
        "ftp://app.example.com",
        "https://",
        "https://app.example.com:99999",
        "https://b\u00fccher.example",
        "https://a b.example",
        "https://[::1",
    ],
)
def test_text_that_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(origins.NotAnOrigin):
        origins.parse(text)
