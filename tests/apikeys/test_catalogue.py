"""The permissions of an organization: the action, and the pages of Settings → Permissions."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client

from accounts.models import Organization, Project
from apikeys import actions
from apikeys.actions import NoSuchPermission, SuperAdminOnly
from apikeys.permissions import MAX_ADDED, NotACatalogueEntry, Permission, Role
from apikeys.rules import rules_of
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, break_the_audit_log
from tests.cast import Issued, Person, later

Issue = Callable[..., Issued]
PAGE = "/settings/permissions/"
ENTRY = Permission("invoices:read", "See invoices.")
FORM = {"name": "invoices:read", "sentence": "See invoices.", "least_role": "developer"}


@pytest.fixture
def added(alice: Person) -> Permission:
    actions.add_permission(principal=alice.principal, entry=ENTRY)
    return ENTRY


def names(organization: Organization) -> set[str]:
    return {entry.name for entry in rules_of(organization.pk).catalogue.added}


def test_permission_is_added_changed_and_removed_each_with_its_row(alice: Person, organization: Organization) -> None:
    principal = alice.principal
    assert ENTRY in actions.add_permission(principal=principal, entry=ENTRY).added
    other = Permission("invoices:read", "See invoices and their lines.", Role.TEAM_ADMIN)
    actions.change_permission(
        principal=principal, name=other.name, sentence=other.sentence, least_role=other.least_role
    )
    assert rules_of(organization.pk).catalogue.added == (other,)
    actions.remove_permission(principal=principal, name="invoices:read")
    assert names(organization) == set()
    rows = AuditEvent.objects.filter(event="organization.catalogue_changed").order_by("id")
    assert [row.changes["permission_catalogue"][1]["added"] for row in rows] == [
        [{"name": "invoices:read", "sentence": "See invoices.", "least_role": "developer"}],
        [{"name": "invoices:read", "sentence": "See invoices and their lines.", "least_role": "team_admin"}],
        [],
    ]


def test_publishing_replaces_the_locked_set(alice: Person, organization: Organization, added: Permission) -> None:
    catalogue = actions.publish_permissions(principal=alice.principal, names=["invoices:read"])
    assert catalogue.publishable == rules_of(organization.pk).catalogue.publishable == {"invoices:read"}
    # What publishable keys get goes with the permission.
    actions.remove_permission(principal=alice.principal, name="invoices:read")
    assert rules_of(organization.pk).catalogue.publishable == frozenset()


def test_change_that_changes_nothing_leaves_no_row(alice: Person, added: Permission) -> None:
    before = AuditEvent.objects.count()
    actions.change_permission(principal=alice.principal, name=ENTRY.name, sentence=ENTRY.sentence)
    actions.publish_permissions(principal=alice.principal, names=["analysis:create", "analysis:read"])
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("name", ["Invoices:read", "scan:read", "keys:delete", "invoices:read", "invoices"])
def test_name_that_is_none_is_taken_or_reserved_is_refused(alice: Person, added: Permission, name: str) -> None:
    with pytest.raises(NotACatalogueEntry):
        actions.add_permission(principal=alice.principal, entry=Permission(name, "x"))


def test_organization_adds_so_many_and_no_more(alice: Person, organization: Organization) -> None:
    for number in range(MAX_ADDED):
        actions.add_permission(principal=alice.principal, entry=Permission(f"r{number}:read", "x"))
    with pytest.raises(NotACatalogueEntry):
        actions.add_permission(principal=alice.principal, entry=ENTRY)
    assert len(names(organization)) == MAX_ADDED


def test_what_was_not_added_is_neither_changed_nor_removed(alice: Person) -> None:
    for name in ("scan:read", "invoices:read"):
        with pytest.raises(NoSuchPermission):
            actions.change_permission(principal=alice.principal, name=name, sentence="x")
        with pytest.raises(NoSuchPermission):
            actions.remove_permission(principal=alice.principal, name=name)


@pytest.mark.parametrize("who", ["bob", "dana"])
def test_catalogue_is_the_super_admins(
    who: str, added: Permission, organization: Organization, request: pytest.FixtureRequest
) -> None:
    principal = request.getfixturevalue(who).principal
    calls: list[Callable[[], object]] = [
        lambda: actions.add_permission(principal=principal, entry=Permission("a:b", "x")),
        lambda: actions.change_permission(principal=principal, name="invoices:read", sentence="x"),
        lambda: actions.remove_permission(principal=principal, name="invoices:read"),
        lambda: actions.publish_permissions(principal=principal, names=[]),
    ]
    for call in calls:
        with pytest.raises(SuperAdminOnly):
            call()
    assert rules_of(organization.pk).catalogue.added == (ENTRY,)


def test_catalogue_of_others_stays(added: Permission, charlie: Person, organization: Organization) -> None:
    with pytest.raises(NoSuchPermission):
        actions.remove_permission(principal=charlie.principal, name="invoices:read")
    actions.add_permission(principal=charlie.principal, entry=Permission("theirs:read", "x"))
    assert names(organization) == {"invoices:read"}


def test_nothing_is_saved_if_the_audit_row_fails(
    alice: Person, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        actions.add_permission(principal=alice.principal, entry=ENTRY)
    assert names(organization) == set()


@pytest.mark.django_db(transaction=True)
def test_two_admins_at_once_lose_nothing(alice: Person, organization: Organization) -> None:
    principal, failures = alice.principal, []

    def add(number: int) -> None:
        try:
            actions.add_permission(principal=principal, entry=Permission(f"r{number}:read", "x"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(organization) == {f"r{number}:read" for number in range(8)}


# The pages


def test_list_shows_what_there_is(alice_client: Client, added: Permission) -> None:
    response: Any = alice_client.get(PAGE)
    assert response.status_code == 200
    rows = {row.entry.name: row for _, rows in response.context["groups"] for row in rows}
    assert (rows["invoices:read"].is_added, rows["scan:read"].is_added) == (True, False)
    assert (rows["analysis:read"].is_published, rows["scan:read"].is_published) == (True, False)
    assert f"{PAGE}invoices:read/remove/" in response.text
    assert f"{PAGE}scan:read/" not in response.text


@pytest.mark.parametrize("path", ["new/", "publishable/", "invoices:read/", "invoices:read/remove/"])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_form_is_a_page_and_a_fragment(
    alice_client: Client, added: Permission, path: str, headers: dict[str, str]
) -> None:
    response: Any = alice_client.get(PAGE + path, headers=headers)
    assert response.status_code == 200
    assert ("<html" in response.text) is (not headers)
    assert 'class="sheet' in response.text


@pytest.mark.parametrize("path", ["", "new/", "publishable/", "invoices:read/", "invoices:read/remove/"])
@pytest.mark.parametrize("who", ["bob", "dana", "charlie"])
def test_pages_are_the_super_admins(
    who: str, path: str, added: Permission, organization: Organization, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(f"{who}_client")
    for method in ("get", "post"):
        response = getattr(client, method)(PAGE + path, {"sentence": "x", "least_role": "developer"})
        if who != "charlie":
            assert response.status_code == (405 if path == "" and method == "post" else 403)
        elif "invoices" in path:
            assert response.status_code == 404
        assert "invoices:read" not in response.content.decode().replace('placeholder="invoices:read"', "")
    assert rules_of(organization.pk).catalogue.added == (ENTRY,)


def test_form_adds_a_permission(alice_client: Client, organization: Organization) -> None:
    response: Any = alice_client.post(f"{PAGE}new/", FORM | {"is_published": "on"}, follow=True)
    assert "invoices:read can be granted to keys now." in response.text
    catalogue = rules_of(organization.pk).catalogue
    assert catalogue.added == (ENTRY,)
    assert "invoices:read" in catalogue.publishable


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Invoices"}, "name"),
        ({"name": "scan:read"}, "name"),
        ({"name": ""}, "name"),
        ({"sentence": ""}, "sentence"),
        ({"sentence": "x" * 101}, "sentence"),
        ({"least_role": "member"}, "least_role"),
    ],
)
def test_what_is_wrong_is_marked(
    alice_client: Client, organization: Organization, changes: dict[str, str], field: str
) -> None:
    response: Any = alice_client.post(f"{PAGE}new/", FORM | changes)
    assert (response.status_code, list(response.context["form"].errors)) == (422, [field])
    assert names(organization) == set()


def test_form_changes_a_permission_but_not_its_name(
    alice_client: Client, added: Permission, organization: Organization
) -> None:
    response: Any = alice_client.get(f"{PAGE}invoices:read/")
    assert response.context["form"]["sentence"].value() == "See invoices."
    sent = {"name": "other:read", "sentence": "See them.", "least_role": "team_admin"}
    assert alice_client.post(f"{PAGE}invoices:read/", sent)["Location"] == PAGE
    assert rules_of(organization.pk).catalogue.added == (Permission("invoices:read", "See them.", Role.TEAM_ADMIN),)
    assert alice_client.post(f"{PAGE}invoices:read/", {"sentence": ""}).status_code == 422


def test_removal_says_how_many_keys_lose_it(
    issue: Issue, alice_client: Client, alice: Person, dana: Person, project: Project, added: Permission
) -> None:
    with time_machine.travel(later(), tick=False):
        for permissions in (["invoices:read"], ["invoices:read", "scan:read"], ["*"], ["scan:read"]):
            issue(dana, project, permissions=permissions)
        ended = issue(dana, project, permissions=["invoices:read"])
        actions.revoke_key(principal=alice.principal, api_key=ended.row, at=later())
        response: Any = alice_client.get(f"{PAGE}invoices:read/remove/")
        assert response.context["held_by"] == 2
        assert "2 working keys hold it" in response.text
        assert alice_client.post(f"{PAGE}invoices:read/remove/")["Location"] == PAGE
        assert alice_client.post(f"{PAGE}invoices:read/remove/").status_code == 404


def test_form_chooses_what_is_published(alice_client: Client, added: Permission, organization: Organization) -> None:
    response: Any = alice_client.get(f"{PAGE}publishable/")
    assert [(entry.name, is_chosen) for entry, is_chosen in response.context["form"].entries()] == [
        ("analysis:create", True),
        ("analysis:read", True),
        ("invoices:read", False),
    ]
    alice_client.post(f"{PAGE}publishable/", {"permissions": ["invoices:read"]})
    assert rules_of(organization.pk).catalogue.publishable == {"invoices:read"}
    alice_client.post(f"{PAGE}publishable/", {})
    assert rules_of(organization.pk).catalogue.publishable == frozenset()
    assert alice_client.post(f"{PAGE}publishable/", {"permissions": ["keys:write"]}).status_code == 422


@pytest.mark.parametrize(("path", "verb"), [("new/", "adding"), ("publishable/", "publishing")])
def test_what_only_the_action_finds_is_marked_too(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch, path: str, verb: str
) -> None:
    from apikeys.permissions import Catalogue

    def refuse(*_: object) -> None:
        raise NotACatalogueEntry("Somebody was faster.")

    monkeypatch.setattr(Catalogue, verb, refuse)
    response: Any = alice_client.post(PAGE + path, FORM)
    assert response.status_code == 422
    assert "Somebody was faster." in response.text


@pytest.mark.parametrize(("path", "name"), [("", "change_permission"), ("remove/", "remove_permission")])
def test_permission_that_is_removed_meanwhile_is_404(
    alice_client: Client, added: Permission, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    def refuse(**_: object) -> None:
        raise NoSuchPermission

    monkeypatch.setattr(actions, name, refuse)
    assert alice_client.post(f"{PAGE}invoices:read/{path}", FORM).status_code == 404
