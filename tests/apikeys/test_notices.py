"""What people are told by mail about their keys: in the same transaction, and once for many."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions import create_service_account
from accounts.mailing.content import Content, unsealed
from accounts.models import OutgoingMail, Project, Role, ServiceAccount
from apikeys.actions import (
    BulkAction,
    KeyAlreadyRevoked,
    end_keys,
    hand_to_service_account,
    issue_key,
    preview_bulk,
    revoke_key,
)
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from tests.apikeys.audited import LogIsFull, break_the_audit_log
from tests.apikeys.people import acting_as, deactivate
from tests.apikeys.rotated import rotate
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]


def told() -> list[tuple[str, str]]:
    """Return which mails were written, to whom, the oldest first."""
    return list(OutgoingMail.objects.order_by("pk").values_list("name", "recipient"))


def said(name: str) -> Content:
    return unsealed(OutgoingMail.objects.get(name=name).content)


@pytest.fixture
def account(bob: Person, dana: Person, project: Project) -> ServiceAccount:
    """One of the team's, for which bob answers."""
    return create_service_account(
        principal=bob.principal,
        team=project.team,
        name="ci-deployer",
        role=Role.DEVELOPER,
        steward=bob.user,
        at=NOON,
    )


@pytest.fixture(autouse=True)
def at_noon(noon: object) -> None:
    """What pages do happens when the keys do."""


@pytest.fixture
def quiet() -> Callable[[], None]:
    """Forget what the stage of a test has had written."""

    def forget() -> None:
        OutgoingMail.objects.all().delete()

    return forget


def test_issuer_is_told_of_a_new_key(issued: Issued) -> None:
    assert told() == [("key_issued", "dana@example.com")]
    found = said("key_issued")
    assert found.subject == "A key was issued: github-action-checkout-service"
    assert f"http://127.0.0.1:8000/keys/{issued.row.pk}/" in found.text
    assert "Checkout, live" in found.text
    assert "By: dana@example.com" in found.text


def test_no_mail_holds_the_key(issued: Issued, alice: Person) -> None:
    successor = rotate(alice, issued)
    revoke_key(principal=alice.principal, api_key=issued.row, at=NOON, reason=f"seen: {issued.text}")
    for row in OutgoingMail.objects.all():
        content = unsealed(row.content)
        for secret in (issued.key.secret, successor.key.secret):
            assert secret not in content.subject + content.text + content.html


def test_steward_is_told_of_a_key_of_a_service_account(
    issue: Issue, dana: Person, project: Project, account: ServiceAccount
) -> None:
    issue(dana, project, service_account=account)
    assert told() == [("key_issued", "bob@example.com")]
    assert "ci-deployer" in said("key_issued").text


def test_rotation_is_told_to_the_issuer_whoever_rotates(issued: Issued, alice: Person) -> None:
    successor = rotate(alice, issued)
    assert told()[1:] == [("key_rotated", "dana@example.com")]
    found = said("key_rotated").text
    assert successor.row.label in found
    assert "goes on working for a time" in found
    assert "By: alice@example.com" in found


def test_rotation_of_a_leaked_key_says_that_it_ended(issued: Issued, dana: Person) -> None:
    rotate(dana, issued, reason="leaked")
    assert told()[1:] == [("key_rotated", "dana@example.com")]
    assert said("key_rotated").subject.startswith("A leaked key was replaced")


def test_key_that_rotates_itself_is_told_of(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["keys:rotate_self"])
    rotate(acting_as(issued), issued)
    assert told()[1:] == [("key_rotated", "dana@example.com")]
    assert f"By: {issued.row.label}" in said("key_rotated").text


def test_revocation_is_told_with_its_reason(issued: Issued, bob: Person) -> None:
    revoke_key(principal=bob.principal, api_key=issued.row, at=NOON, reason="left the project")
    assert told()[1:] == [("key_revoked", "dana@example.com")]
    assert "Reason: left the project" in said("key_revoked").text


def test_operator_is_named_as_such(issued: Issued) -> None:
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    assert "By: the operator of this portal" in said("key_revoked").text


def test_refusal_is_no_news(issued: Issued, bob: Person) -> None:
    revoke_key(principal=bob.principal, api_key=issued.row, at=NOON)
    with pytest.raises(KeyAlreadyRevoked):
        revoke_key(principal=bob.principal, api_key=issued.row, at=NOON)
    assert len(told()) == 2


def test_person_whose_account_is_closed_is_told_nothing(issued: Issued, dana: Person, bob: Person) -> None:
    deactivate(dana)
    revoke_key(principal=bob.principal, api_key=ApiKey.objects.get(), at=NOON)
    assert [name for name, _ in told()] == ["key_issued"]


def test_no_mail_is_written_of_what_did_not_happen(
    dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        issue_key(
            principal=dana.principal,
            name="x",
            place=project,
            environment="live",
            permissions=["projects:read"],
            expires_at=None,
            at=NOON,
        )
    assert told() == []


def test_nothing_happens_if_its_mail_cannot_be_written(
    issued: Issued, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.mailing.outbox.sealed", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        revoke_key(principal=bob.principal, api_key=issued.row, at=NOON)
    assert not ApiKey.objects.get().is_revoked


def end_all(by: Person, action: BulkAction = BulkAction.REVOKE) -> None:
    asked = KeyFilter(scope="project")
    digest = preview_bulk(principal=by.principal, asked=asked, at=NOON).digest
    end_keys(principal=by.principal, asked=asked, action=action, expected=digest, reason="cleaning", at=NOON)


def test_many_keys_make_one_mail_a_person(
    issue: Issue, dana: Person, bob: Person, project: Project, account: ServiceAccount, quiet: Callable[[], None]
) -> None:
    for number in range(12):
        issue(dana, project, name=f"dana-{number}")
    issue(dana, project, name="deployer", service_account=account)
    quiet()
    end_all(bob)
    assert sorted(told()) == [("key_revoked", "bob@example.com"), ("keys_revoked", "dana@example.com")]
    many = said("keys_revoked")
    assert many.subject == "12 keys were revoked"
    assert "- dana-0\n" in many.text
    assert "and 2 more" in many.text
    assert many.text.count("- dana-") == 10


def test_many_keys_that_are_disabled_are_no_mail(issued: Issued, bob: Person, quiet: Callable[[], None]) -> None:
    quiet()
    end_all(bob, BulkAction.DISABLE)
    assert told() == []


def test_mail_about_many_keys_costs_as_much_as_about_a_few(
    issue: Issue, dana: Person, bob: Person, project: Project
) -> None:
    costs = []
    for count in (2, 20):
        for _ in range(count):
            issue(dana, project)
        with CaptureQueriesContext(connection) as queries:
            end_all(bob)
        about_mail = [query for query in queries if "outgoingmail" in query["sql"] or "serviceaccount" in query["sql"]]
        costs.append(len(about_mail))
    assert costs[0] == costs[1]


def test_keys_of_someone_who_left_make_one_mail(
    issue: Issue, dana: Person, project: Project, alice_client: Client, quiet: Callable[[], None]
) -> None:
    rows = [issue(dana, project, expires_at=None).row for _ in range(3)]
    quiet()
    form = {"key": [str(row.pk) for row in rows], "reason": "left"}
    assert alice_client.post(f"/people/{dana.user.pk}/keys/revoke/", form).status_code == 302
    assert told() == [("keys_revoked", "dana@example.com")]


def test_handing_over_is_told_to_both(issued: Issued, bob: Person, account: ServiceAccount) -> None:
    hand_to_service_account(principal=bob.principal, api_key=issued.row, service_account=account, at=NOON)
    assert sorted(told()[1:]) == [("keys_handed_over", "bob@example.com"), ("keys_handed_over", "dana@example.com")]
    text = unsealed(OutgoingMail.objects.filter(name="keys_handed_over")[0].content).text
    assert "for ci-deployer from now on" in text


def test_many_handed_over_at_once_are_one_mail_a_person(
    issue: Issue,
    dana: Person,
    bob: Person,
    project: Project,
    account: ServiceAccount,
    alice_client: Client,
    quiet: Callable[[], None],
) -> None:
    rows = [issue(dana, project).row for _ in range(3)]
    quiet()
    form: dict[str, Any] = {"key": [str(row.pk) for row in rows]}
    form |= {f"account_{row.pk.hex}": str(account.pk) for row in rows}
    assert alice_client.post(f"/people/{dana.user.pk}/keys/hand-over/", form).status_code == 302
    assert sorted(told()) == [("keys_handed_over", "bob@example.com"), ("keys_handed_over", "dana@example.com")]
