"""Rotation on the pages: the dialog, the reveal, the badge, the panel and what ends it."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from uuid_utils.compat import uuid7

from accounts.models import Project
from apikeys import hashing
from apikeys.health import health_of
from apikeys.models import ApiKey
from apikeys.rotations import USES_READ, still_users
from apikeys.verification import Outcome
from audit import uses
from audit.models import KeyUse
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, everything_recorded
from tests.apikeys.presented import with_secret
from tests.apikeys.rotated import fresh, outcome, rotate
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

pytestmark = pytest.mark.usefixtures("noon")
FRAGMENT = {"HX-Request": "true"}
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


def path_of(issued: Issued, more: str = "rotate/") -> str:
    return f"/keys/{issued.row.pk}/{more}"


def filled(**changes: str) -> dict[str, str]:
    return {"form_id": str(uuid7()), "reason": "routine", "settle": "3600", "deadline": "7"} | changes


def shown_key(response: Any) -> str:
    """Return the key that a response shows, once in its field."""
    [text] = re.findall(r'id="revealed-key" type="text" value="([^"]+)"', response.text)
    return html.unescape(text)


def works(text: str) -> bool:
    return Client().get("/v1/whoami", headers={"Authorization": f"Bearer {text}"}).status_code == 200


# The dialog and the reveal


def test_dialog_is_page_or_fragment_and_offers_no_reason(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.get(path_of(issued))
    part: Any = dana_client.get(path_of(issued), headers=FRAGMENT)
    assert ("<html" in page.text, "<html" in part.text) == (True, False)
    for response in (page, part):
        assert response.context["form"]["reason"].value() is None
        assert f"{issued.row.label}…" in response.text
        assert "HX-Request" in response["Vary"]


def test_reason_has_to_be_given(issued: Issued, dana_client: Client) -> None:
    response = dana_client.post(path_of(issued), filled(reason=""))
    assert response.status_code == 422
    assert "Say why it is rotated." in response.text
    assert ApiKey.objects.count() == 1


def test_address_fills_in_the_reason(issued: Issued, dana_client: Client) -> None:
    response: Any = dana_client.get(path_of(issued), {"reason": "leaked"})
    assert response.context["form"]["reason"].value() == "leaked"


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_successor_is_shown_once_in_the_answer(issued: Issued, dana_client: Client, headers: dict[str, str]) -> None:
    response: Any = dana_client.post(path_of(issued), filled(), headers=headers)
    assert (response.status_code, "no-store" in response["Cache-Control"]) == (200, True)
    key = shown_key(response)
    assert works(key)
    successor = ApiKey.objects.get(predecessor=issued.row)
    after = dana_client.get("/integrations/").text + dana_client.get(f"/keys/{successor.pk}/").text
    for held in (after, everything_recorded(), str(dana_client.session.items())):
        assert key.rpartition("_")[2] not in held


@pytest.mark.parametrize(
    ("sent", "settle_seconds", "retires_at"),
    [({}, 3600, later(days=7)), ({"settle": "0", "deadline": "1"}, 0, later(days=1))],
)
def test_times_are_what_was_chosen(
    issued: Issued, dana_client: Client, sent: dict[str, str], settle_seconds: int, retires_at: Any
) -> None:
    dana_client.post(path_of(issued), filled(**sent))
    assert (fresh(issued).settle_seconds, fresh(issued).retires_at) == (settle_seconds, retires_at)


def test_leaked_key_ends_with_the_answer(issued: Issued, dana_client: Client) -> None:
    key = shown_key(dana_client.post(path_of(issued), filled(reason="leaked")))
    assert [works(issued.text), works(key)] == [False, True]


def test_form_sent_twice_shows_one_key(issued: Issued, dana_client: Client) -> None:
    data = filled()
    key = shown_key(dana_client.post(path_of(issued), data))
    for headers in ({}, FRAGMENT):
        again: Any = dana_client.post(path_of(issued), data, headers=headers)
        assert (again.status_code, "revealed-key" in again.text) == (409, False)
        assert path_of(issued) in again.text
    assert works(key)
    leaked = filled(reason="leaked")
    successor = ApiKey.objects.get(predecessor=issued.row)
    assert dana_client.post(f"/keys/{successor.pk}/rotate/", leaked).status_code == 200
    again = dana_client.post(f"/keys/{successor.pk}/rotate/", leaked)
    newest = ApiKey.objects.get(predecessor=successor)
    assert (again.status_code, f"/keys/{newest.pk}/rotate/" in again.text) == (409, True)


def test_used_successor_is_named_and_nothing_is_changed(issued: Issued, dana: Person, dana_client: Client) -> None:
    successor = rotate(dana, issued)
    assert successor.row.label in dana_client.get(path_of(issued)).text
    outcome(successor)
    response = dana_client.post(path_of(issued), filled())
    assert (response.status_code, "Rotate the successor instead" in response.text) == (422, True)
    assert outcome(successor) is Outcome.ACCEPTED


def test_busy_argon2_is_no_error_of_the_form(
    issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: str) -> str:
        raise hashing.HashingUnavailable

    monkeypatch.setattr(hashing, "make_digest", busy)
    response = dana_client.post(path_of(issued), filled())
    assert (response.status_code, response["Retry-After"], ApiKey.objects.count()) == (503, "1", 1)


def test_nothing_is_shown_if_the_audit_row_fails(
    issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        dana_client.post(path_of(issued), filled())
    assert ApiKey.objects.count() == 1


# Who gets in


@pytest.mark.parametrize("more", ["rotate/", "rotation/end/", "rotation/extend/"])
def test_stranger_gets_404(issued: Issued, dana: Person, charlie_client: Client, more: str) -> None:
    rotate(dana, issued)
    for headers in ({}, FRAGMENT):
        assert charlie_client.get(path_of(issued, more), headers=headers).status_code == 404
    assert charlie_client.post(path_of(issued, more), filled()).status_code == 404


@pytest.mark.parametrize("more", ["rotate/", "rotation/end/", "rotation/extend/"])
def test_colleague_without_rank_gets_403_and_no_link(
    issue: Issue, bob: Person, project: Project, dana_client: Client, more: str
) -> None:
    issued = issue(bob, project)
    rotate(bob, issued)
    assert dana_client.get(path_of(issued, more)).status_code == 403
    assert dana_client.post(path_of(issued, more), filled()).status_code == 403
    for page in (path_of(issued, ""), "/integrations/"):
        assert path_of(issued, more) not in dana_client.get(page).text


@pytest.mark.parametrize("more", ["rotation/end/", "rotation/extend/"])
def test_key_without_a_rotation_has_none_to_end(issued: Issued, dana_client: Client, more: str) -> None:
    assert dana_client.get(path_of(issued, more)).status_code == 404


def test_rotation_needs_a_recent_sign_in(issued: Issued, dana: Person) -> None:
    stale = Session(dana, signed_in_ago=timedelta(hours=1))
    response = stale.client.get(path_of(issued))
    assert (response.status_code, response["Location"].startswith("/account/reauthenticate/")) == (302, True)


# While both work


def test_both_rows_and_pages_say_rotating(issued: Issued, dana: Person, dana_client: Client) -> None:
    successor = rotate(dana, issued)
    table: Any = dana_client.get("/integrations/")
    assert [row.health.code for row in table.context["rows"]] == ["rotating", "rotating"]
    for key in (issued, successor):
        page: Any = dana_client.get(path_of(key, ""))
        assert page.context["row"].health.code == "rotating"
        panel = page.context["panel"]
        assert (panel.old, panel.successor, panel.is_under_way, panel.may_decide) == (
            issued.row,
            successor.row,
            True,
            True,
        )
        for link in (path_of(issued, "rotation/end/"), path_of(issued, "rotation/extend/"), path_of(issued, "")):
            assert link in page.text


def test_panel_is_gone_from_a_key_without_rotation(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.get(path_of(issued, ""))
    assert (page.context["panel"].old, "rotation-title" in page.text) == (None, False)


def test_page_tells_all_generations(issued: Issued, dana: Person, dana_client: Client) -> None:
    second = rotate(dana, issued)
    third = rotate(dana, second)
    generations = [issued.row, second.row, third.row]
    for key in (issued, second, third):
        page: Any = dana_client.get(path_of(key, ""))
        assert page.context["panel"].generations == generations
        for generation in generations:
            assert f"/keys/{generation.pk}/" in page.text


def test_page_tells_who_still_uses_the_old_key(
    issued: Issued, dana: Person, dana_client: Client, noon: time_machine.Traveller
) -> None:
    rotate(dana, issued)
    noon.move_to(later(hours=1))
    agent = "deploy <b>\u202e1"
    Client(REMOTE_ADDR="192.0.2.9").get("/v1/projects", headers=issued.headers | {"User-Agent": agent})
    # Someone who tries the prefix with another secret does not use the key.
    Client().get("/v1/projects", headers={"Authorization": f"Bearer {with_secret(issued)}"})
    uses.flush()
    page: Any = dana_client.get(path_of(issued, ""))
    [user] = page.context["panel"].users
    assert (user.address, user.request, user.uses, user.refusals) == ("192.0.2.9", "GET /v1/projects", 1, 0)
    assert "deploy &lt;b&gt;" in page.text
    assert "\u202e" not in page.text
    assert "192.0.2.9" in dana_client.get(path_of(issued, "rotation/end/")).text


@pytest.mark.parametrize("count", [1, 3])
def test_page_costs_the_same_with_more_users(
    issued: Issued, dana: Person, dana_client: Client, count: int, django_assert_num_queries: Queries
) -> None:
    rotate(dana, issued)
    for number in range(count):
        Client(REMOTE_ADDR=f"192.0.2.{number}").get("/v1/projects", headers=issued.headers)
    uses.flush()
    old = fresh(issued)
    with django_assert_num_queries(1):
        assert len(still_users(old).users) == count


def test_table_costs_the_same_with_more_rotations(
    issue: Issue, dana: Person, project: Project, dana_client: Client
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            dana_client.get("/integrations/")
        return len(queries)

    rotate(dana, issue(dana, project, name="first"))
    before = cost()
    for name in ("second", "third"):
        rotate(dana, issue(dana, project, name=name))
    assert cost() == before


def test_who_still_uses_a_key_is_read_by_index_and_bounded(issued: Issued, dana: Person) -> None:
    rotate(dana, issued)
    old = fresh(issued)
    rows = KeyUse.objects.of_prefix(old.prefix).matching(since=old.rotated_at).newest_first()[: USES_READ + 1]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Of a table with one row it would read the row.
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "audit_key_use_by_prefix" in rows.explain()


def test_more_users_than_a_page_shows_are_said_to_be_more(issued: Issued, dana: Person) -> None:
    rotate(dana, issued)
    for number in range(51):
        Client(REMOTE_ADDR=f"192.0.2.{number}").get("/v1/whoami", headers=issued.headers)
    uses.flush()
    users = still_users(fresh(issued))
    assert (len(users.users), users.is_all) == (50, False)


# How it ends


def test_owner_ends_it(issued: Issued, dana: Person, dana_client: Client) -> None:
    successor = rotate(dana, issued)
    warning = "Its successor has never been used."
    assert warning in dana_client.get(path_of(issued, "rotation/end/")).text
    outcome(successor)
    assert warning not in dana_client.get(path_of(issued, "rotation/end/")).text
    for headers in ({}, FRAGMENT):
        assert "Retire key" in dana_client.get(path_of(issued, "rotation/end/"), headers=headers).text
    answer = dana_client.post(path_of(issued, "rotation/end/"), {"next": path_of(issued, "")}, follow=True)
    assert "retired at 12:00 UTC" in answer.text
    assert outcome(issued) is Outcome.KEY_RETIRED
    page: Any = dana_client.get(path_of(issued, ""))
    assert (page.context["row"].health.code, page.context["is_ended"]) == ("retired", True)
    again = dana_client.post(path_of(issued, "rotation/end/"), follow=True)
    assert "it has ended" in again.text


@pytest.mark.parametrize(("by", "until"), [("1", later(days=8)), ("7", later(days=14)), ("latest", later(days=30))])
def test_owner_extends_it(issued: Issued, dana: Person, dana_client: Client, by: str, until: Any) -> None:
    rotate(dana, issued)
    assert "2026-04-01 12:00" in dana_client.get(path_of(issued, "rotation/extend/")).text
    before: Any = dana_client.get(path_of(issued, ""))
    assert "Its successor has not been used yet." in before.text
    answer = dana_client.post(path_of(issued, "rotation/extend/"), {"by": by}, follow=True)
    assert "whether its successor is used or not" in answer.text
    assert (fresh(issued).retires_at, f"works until {until:%Y-%m-%d %H:%M} UTC" in answer.text) == (until, True)


def test_extension_that_is_none_says_so(issued: Issued, dana: Person, dana_client: Client) -> None:
    rotate(dana, issued)
    assert dana_client.post(path_of(issued, "rotation/extend/"), {}).status_code == 422
    dana_client.post(path_of(issued, "rotation/extend/"), {"by": "latest"})
    again = dana_client.post(path_of(issued, "rotation/extend/"), {"by": "latest"}, follow=True)
    assert "no later than 2026-04-01 12:00 UTC" in again.text
    assert events_of(issued.row).count("api_key.retirement_moved") == 1


# A key that comes again


def test_incident_is_told_on_both_pages_and_needs_attention(
    issued: Issued, dana: Person, dana_client: Client, noon: time_machine.Traveller
) -> None:
    successor = rotate(dana, issued, reason="leaked")
    noon.move_to(later(hours=2))
    headers = issued.headers | {"User-Agent": "thief/1.0"}
    Client(REMOTE_ADDR="198.51.100.7").get("/v1/projects", headers=headers)
    uses.flush()
    for key in (issued, successor):
        page: Any = dana_client.get(path_of(key, ""))
        for told in ("was used again after it had ended", "198.51.100.7", "thief/1.0", "/v1/projects"):
            assert told in page.text
    table: Any = dana_client.get("/integrations/", {"tab": "attention"})
    assert [row.health.code for row in table.context["rows"]] == ["incident"]


def test_incident_is_told_also_when_its_record_is_gone(issued: Issued, dana: Person, dana_client: Client) -> None:
    rotate(dana, issued, reason="leaked")
    works(issued.text)
    uses.forget_all()
    page: Any = dana_client.get(path_of(issued, ""))
    [incident] = page.context["panel"].incidents
    assert incident.last is None
    assert "was used again after it had ended" in page.text


# The word for it


def test_badge_says_what_rotation_has_come_to(issued: Issued, dana: Person) -> None:
    successor = rotate(dana, issued)
    old, new = fresh(issued), fresh(successor)
    assert [health_of(key, at=NOON).code for key in (old, new)] == ["rotating", "rotating"]
    assert [health_of(key, at=later(days=7)).code for key in (old, new)] == ["retired", "never_used"]
    with transaction.atomic():
        old.reappeared_at = NOON
        old.save(update_fields=["reappeared_at"])
    assert health_of(fresh(successor), at=later(days=7)).code == "incident"
