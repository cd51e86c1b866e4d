"""Disabling and enabling: a key that is refused for a time, by its very next request."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, Team
from apikeys.actions import (
    KeyNotActive,
    RevokeNotAllowed,
    disable_key,
    enable_key,
    revoke_key,
)
from apikeys.models import ApiKey
from apikeys.use_rows import BLAST_USES, blast_radius
from audit import uses
from audit.context import audit_context
from audit.models import KeyUse
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, events_of, newest_changes, rows_of
from tests.apikeys.people import leave_teams
from tests.apikeys.rotated import fresh, rotate
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
FRAGMENT = {"HX-Request": "true"}
ACTIONS = {"disable": disable_key, "enable": enable_key}


def disable(by: Person, issued: Issued, *, at: Any = NOON) -> ApiKey:
    principal = by.principal
    with audit_context(actor=principal.as_actor(), at=at):
        return disable_key(principal=principal, api_key=issued.row, at=at)


def enable(by: Person, issued: Issued, *, at: Any = NOON) -> ApiKey:
    principal = by.principal
    with audit_context(actor=principal.as_actor(), at=at):
        return enable_key(principal=principal, api_key=issued.row, at=at)


def call(issued: Issued) -> str:
    """Return what a request with the key is told: `ok`, or a problem's code."""
    response = Client().get("/v1/whoami", headers=issued.headers)
    return "ok" if response.status_code == 200 else f"{response.status_code} {response.json()['code']}"


# What comes of it


def test_disabled_key_is_refused_on_the_next_request_and_good_again_when_enabled(issued: Issued, dana: Person) -> None:
    assert call(issued) == "ok"
    disable(dana, issued)
    assert call(issued) == "401 key_disabled"
    enable(dana, issued)
    assert call(issued) == "ok"


def test_both_are_on_record_with_before_and_after(issued: Issued, dana: Person) -> None:
    disable(dana, issued)
    assert newest_changes(issued.row.pk) == {"disabled_at": [None, NOON.isoformat()]}
    enable(dana, issued, at=later(hours=1))
    assert newest_changes(issued.row.pk) == {"disabled_at": [NOON.isoformat(), None]}
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [
        Row("api_key.disabled", "update", label, "user", "dana@example.com"),
        Row("api_key.enabled", "update", label, "user", "dana@example.com"),
    ]


def test_doing_it_again_changes_nothing(issued: Issued, dana: Person) -> None:
    enable(dana, issued)
    disable(dana, issued)
    disable(dana, issued, at=later(hours=1))
    assert fresh(issued).disabled_at == NOON
    enable(dana, issued)
    enable(dana, issued)
    assert events_of(issued.row) == ["api_key.created", "api_key.disabled", "api_key.enabled"]


@pytest.mark.parametrize("verb", ACTIONS)
def test_nothing_is_saved_if_the_audit_row_fails(
    issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    if verb == "enable":
        disable(dana, issued)
    before = fresh(issued).disabled_at
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull), transaction.atomic():
        ACTIONS[verb](principal=dana.principal, api_key=issued.row, at=NOON)
    assert fresh(issued).disabled_at == before


@pytest.mark.parametrize("verb", ACTIONS)
@pytest.mark.parametrize("end", ["revoked", "retired", "expired"])
def test_ended_key_is_neither_disabled_nor_enabled(
    issue: Issue, dana: Person, project: Project, verb: str, end: str
) -> None:
    issued = issue(dana, project, expires_at=later(days=1) if end == "expired" else None)
    disable(dana, issued)
    if end == "revoked":
        revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    if end == "retired":
        enable(dana, issued)
        rotate(dana, issued, deadline=timedelta(minutes=1))
    before = events_of(issued.row)
    with pytest.raises(KeyNotActive):
        ACTIONS[verb](principal=dana.principal, api_key=issued.row, at=later(days=1))
    assert events_of(issued.row) == before


def test_disabled_key_can_be_revoked(issued: Issued, dana: Person) -> None:
    disable(dana, issued)
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    assert call(issued) == "401 key_revoked"


# Who may


@pytest.mark.parametrize("verb", ACTIONS)
def test_issuer_and_admins_may_and_nobody_else(
    issue: Issue, alice: Person, bob: Person, dana: Person, charlie: Person, project: Project, verb: str
) -> None:
    bobs, danas = issue(bob, project), issue(dana, project)
    for person, issued in ((dana, danas), (bob, danas), (alice, danas), (alice, bobs)):
        ACTIONS[verb](principal=person.principal, api_key=issued.row, at=NOON)
    ACTIONS[verb](api_key=danas.row, at=NOON)
    for person, issued in ((dana, bobs), (charlie, danas)):
        with pytest.raises(RevokeNotAllowed):
            ACTIONS[verb](principal=person.principal, api_key=issued.row, at=NOON)
    leave_teams(dana)
    with pytest.raises(RevokeNotAllowed):
        ACTIONS[verb](principal=dana.principal, api_key=danas.row, at=NOON)


def test_admin_of_another_team_does_not(issue: Issue, alice: Person, bob: Person, other_team: Team) -> None:
    with pytest.raises(RevokeNotAllowed):
        disable_key(principal=bob.principal, api_key=issue(alice, other_team).row, at=NOON)


# As JSON


def post(caller: Issued, issued: Issued, verb: str) -> Any:
    return Client().post(f"/v1/api-keys/{issued.row.pk}/{verb}", headers=caller.headers)


def test_key_with_keys_write_disables_and_enables_another(
    issue: Issue, bob: Person, team: Team, issued: Issued
) -> None:
    caller = issue(bob, team, permissions=["keys:write"])
    answers = [post(caller, issued, verb) for verb in ("disable", "disable", "enable", "enable")]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [
        (200, "disabled"),
        (200, "disabled"),
        (200, "active"),
        (200, "active"),
    ]
    assert [row.actor_kind for row in rows_of(issued.row)[1:]] == ["api_key", "api_key"]


def test_key_may_disable_itself_and_then_not_enable_itself(issue: Issue, bob: Person, team: Team) -> None:
    caller = issue(bob, team, permissions=["keys:write"])
    assert post(caller, caller, "disable").json()["state"] == "disabled"
    assert post(caller, caller, "enable").json()["code"] == "key_disabled"


@pytest.mark.parametrize("verb", ACTIONS)
def test_api_refuses_ended_keys_and_those_outside_the_callers_scope(
    issue: Issue,
    alice: Person,
    charlie: Person,
    project: Project,
    team: Team,
    other_project: Project,
    organization: Organization,
    issued: Issued,
    verb: str,
) -> None:
    caller = issue(alice, project, permissions=["keys:write"])
    revoke_key(principal=alice.principal, api_key=issued.row, at=NOON)
    answer = post(caller, issued, verb)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_not_active")
    for place in (team, other_project, organization):
        assert post(caller, issue(alice, place), verb).status_code == 404
    stranger = issue(charlie, charlie.membership.organization, permissions=["*"])
    assert post(stranger, caller, verb).status_code == 404
    assert Client().post(f"/v1/api-keys/{uuid7()}/{verb}", headers=caller.headers).status_code == 404
    assert post(issue(alice, project), caller, verb).json()["code"] == "insufficient_scope"


def test_person_who_may_not_is_403_and_one_who_may_needs_the_csrf_token(
    issue: Issue, bob: Person, dana: Person, project: Project
) -> None:
    bobs, danas = issue(bob, project), issue(dana, project)
    session = Session(dana)
    assert session.post(f"/v1/api-keys/{bobs.row.pk}/disable", {}).json()["code"] == "forbidden"
    path = f"/v1/api-keys/{danas.row.pk}/disable"
    assert session.client.post(path).json()["code"] == "csrf_failed"
    assert session.post(path, {}).json()["state"] == "disabled"


# On the pages


@pytest.mark.parametrize("verb", ["disable", "enable", "revoke"])
def test_pages_are_dialogs_too_and_strangers_get_404(
    issue: Issue,
    bob: Person,
    project: Project,
    bob_client: Client,
    dana_client: Client,
    charlie_client: Client,
    verb: str,
) -> None:
    issued = issue(bob, project)
    path = f"/keys/{issued.row.pk}/{verb}/"
    for headers, template in (({}, f"apikeys/key_{verb}.html"), (FRAGMENT, f"apikeys/_key_{verb}.html")):
        response: Any = bob_client.get(path, headers=headers)
        assert (response.status_code, response.templates[0].name) == (200, template)
        assert "HX-Request" in response["Vary"]
        assert charlie_client.get(path, headers=headers).status_code == 404
    assert [client.post(path).status_code for client in (charlie_client, dana_client)] == [404, 403]
    assert dana_client.get(path).status_code == 403
    assert events_of(issued.row) == ["api_key.created"]


def test_person_disables_and_enables_a_key(issued: Issued, dana_client: Client) -> None:
    page = f"/keys/{issued.row.pk}/"
    assert f"{page}enable/" not in dana_client.get(page).text
    response: Any = dana_client.post(f"{page}disable/", {"next": page}, follow=True)
    assert f"{page}enable/" in response.text
    assert "It is refused until someone enables it again." in response.text
    assert call(issued) == "401 key_disabled"
    response = dana_client.post(f"{page}enable/", {"next": page}, follow=True)
    assert "It works again." in response.text
    assert call(issued) == "ok"


def test_way_back_is_one_of_ours(issued: Issued, dana_client: Client) -> None:
    path = f"/keys/{issued.row.pk}/disable/"
    assert dana_client.post(path, {"next": "https://evil.example/"})["Location"] == "/integrations/"


@pytest.mark.parametrize("verb", ACTIONS)
def test_page_says_that_a_key_has_ended(issued: Issued, dana: Person, dana_client: Client, verb: str) -> None:
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    path = f"/keys/{issued.row.pk}/{verb}/"
    for response in (dana_client.get(path), dana_client.post(path)):
        assert response["Location"] == f"/keys/{issued.row.pk}/"
    assert "The key has ended." in dana_client.get(f"/keys/{issued.row.pk}/").text
    assert dana_client.get(path, headers=FRAGMENT)["HX-Redirect"] == f"/keys/{issued.row.pk}/"


@pytest.mark.parametrize("verb", ACTIONS)
def test_page_says_that_a_key_has_ended_while_it_was_shown(
    issued: Issued, dana: Person, dana_client: Client, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr("apikeys.views.ending.has_ended", lambda *_, **__: False)
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    response: Any = dana_client.post(f"/keys/{issued.row.pk}/{verb}/", follow=True)
    assert "The key has ended." in response.text


def test_enabling_what_is_not_disabled_says_so(issued: Issued, dana_client: Client) -> None:
    assert "It is not disabled, and works." in dana_client.get(f"/keys/{issued.row.pk}/enable/").text


@pytest.mark.parametrize(("verb", "queries"), [("disable", 7), ("enable", 5), ("revoke", 7)])
@pytest.mark.parametrize("count", [1, 3])
def test_pages_cost_the_same_for_few_and_many_keys_and_uses(
    issue: Issue,
    dana: Person,
    project: Project,
    dana_client: Client,
    django_assert_num_queries: Queries,
    verb: str,
    queries: int,
    count: int,
) -> None:
    issued = [issue(dana, project) for _ in range(count)][-1]
    for _ in range(count):
        assert call(issued) == "ok"
    uses.flush()
    with django_assert_num_queries(queries):
        dana_client.get(f"/keys/{issued.row.pk}/{verb}/")


# The blast radius


def test_blast_radius_counts_real_uses_of_the_last_hour_and_day(
    issue: Issue, dana: Person, project: Project, noon: Any, sign_in_as: Callable[[Person], Client]
) -> None:
    issued, other = issue(dana, project), issue(dana, project)
    for hours, number in ((-25, 1), (-23, 2), (-2, 3), (-0.9, 4), (0, 4)):
        noon.move_to(later(hours=hours))
        assert Client(REMOTE_ADDR=f"198.51.100.{number}").get("/v1/whoami", headers=issued.headers).status_code == 200
        Client(REMOTE_ADDR="192.0.2.1").get("/v1/whoami", headers=other.headers)
        Client(REMOTE_ADDR="192.0.2.2").get("/v1/whoami", headers={"Authorization": f"Bearer {issued.text[:-1]}"})
    uses.flush()
    radius = blast_radius(issued.row, at=NOON)
    assert radius == (2, 1, 4, 3, False)
    # Her session is of the same moment.
    text = sign_in_as(dana).get(f"/keys/{issued.row.pk}/disable/").text
    assert "Used 2 times in the last hour by 1 address; 4 times in the last day by 3." in " ".join(text.split())


def test_refusals_are_no_part_of_the_blast_radius(issued: Issued, dana: Person, noon: Any) -> None:
    disable(dana, issued)
    assert call(issued) == "401 key_disabled"
    uses.flush()
    assert blast_radius(issued.row, at=NOON) == (0, 0, 0, 0, False)


def test_blast_radius_of_a_very_busy_key_is_the_least_that_it_can_be(issued: Issued, dana_client: Client) -> None:
    at = timezone.now()
    rows = [_use(issued, at - timedelta(minutes=1), number) for number in range(BLAST_USES + 5)]
    KeyUse.objects.bulk_create(rows, batch_size=500)
    radius = blast_radius(issued.row, at=at)
    assert (radius.day_uses, radius.hour_uses, radius.is_at_least) == (BLAST_USES, BLAST_USES, True)
    page = " ".join(dana_client.get(f"/keys/{issued.row.pk}/revoke/").text.split())
    assert "Used at least 10,000 times in the last hour by 7 addresses; at least 10,000 times in the last day" in page


def _use(issued: Issued, at: Any, number: int) -> KeyUse:
    return KeyUse(
        id=uuid7(),
        at=at,
        prefix=issued.row.prefix,
        key_id=issued.row.pk,
        label=issued.row.label,
        organization_id=issued.row.organization_id,
        outcome="accepted",
        is_refused=False,
        status=200,
        method="GET",
        address=f"198.51.100.{number % 7}",
        count=1,
    )


# At once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ACTIONS)
def test_revocation_wins_against_disabling_and_enabling(
    transactional_db: None, issued: Issued, dana: Person, verb: str
) -> None:
    if verb == "enable":
        disable(dana, issued)
    principal, together = dana.principal, threading.Barrier(8)

    def run(number: int) -> object:
        try:
            connection.ensure_connection()
            together.wait(10)
            if number == 0:
                revoke_key(principal=principal, api_key=issued.row, at=NOON)
            else:
                ACTIONS[verb](principal=principal, api_key=issued.row, at=NOON)
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(run, range(8)))
    assert outcomes[0] == "done"
    assert set(outcomes[1:]) <= {"done", KeyNotActive}
    assert fresh(issued).revoked_at == NOON
    events = events_of(issued.row)
    assert events[-1] == "api_key.revoked"
    assert events.count(f"api_key.{verb}d") <= 1
    assert call(issued) == "401 key_revoked"
