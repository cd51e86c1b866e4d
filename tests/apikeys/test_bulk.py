"""Disabling and revoking all keys that pass a filter: exactly those of the preview, all of them or none."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test import Client
from pytest_django import Settings

from accounts.models import Organization, Project, ServiceAccount, Team
from apikeys import selecting
from apikeys.actions import (
    BulkAction,
    NotSelectable,
    SelectionChanged,
    disable_key,
    end_keys,
    hand_to_service_account,
    may_revoke,
    preview_bulk,
    revoke_key,
)
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from apikeys.selecting import examples
from apikeys.verification import Outcome
from audit import uses
from audit.context import audit_context
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, everything_recorded
from tests.apikeys.people import acting_as, leave_teams
from tests.apikeys.rotated import fresh, outcome, rotate
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later, use

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
BULK = "/integrations/bulk/"
BY_DANA = KeyFilter(issuer_email="dana@example.com")


def end(
    by: Person, asked: KeyFilter, action: str = "revoke", *, at: Any = NOON, expected: str = "", reason: str = "left"
) -> int:
    principal = by.principal
    expected = expected or preview_bulk(principal=principal, asked=asked, at=at).digest
    with audit_context(actor=principal.as_actor(), at=at):
        return end_keys(
            principal=principal, asked=asked, action=BulkAction(action), expected=expected, reason=reason, at=at
        )


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    rows = AuditEvent.objects.filter(event__startswith="api_key.bulk_").order_by("id")
    return [(row.event, row.target_label, row.changes) for row in rows]


# What comes of it


@pytest.mark.parametrize(
    ("action", "refused", "event"),
    [
        ("disable", Outcome.KEY_DISABLED, "api_key.disabled"),
        ("revoke", Outcome.KEY_REVOKED, "api_key.revoked"),
    ],
)
def test_all_that_pass_end_and_no_others(
    issue: Issue, bob: Person, dana: Person, project: Project, action: str, refused: Outcome, event: str
) -> None:
    danas, bobs = [issue(dana, project) for _ in range(3)], issue(bob, project)
    assert end(bob, BY_DANA, action) == 3
    assert [outcome(issued) for issued in (*danas, bobs)] == [refused] * 3 + [Outcome.ACCEPTED]
    assert [events_of(issued.row) for issued in danas] == [["api_key.created", event]] * 3
    assert events_of(bobs.row) == ["api_key.created"]
    assert operations() == [
        (
            f"api_key.bulk_{action}d",
            "3 keys",
            {"filter": [None, {"issuer_email": "dana@example.com"}], "count": [None, 3], "reason": [None, "left"]},
        )
    ]


def test_revoked_keys_say_who_did_it_and_why(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    issued = issue(dana, project)
    end(bob, BY_DANA, reason=" Dana has left ")
    row = fresh(issued)
    assert (row.revoked_at, row.revoked_by_id, row.revoke_reason) == (NOON, bob.user.pk, "Dana has left")
    assert AuditEvent.objects.filter(event="api_key.revoked").get().changes == {
        "revoked_at": [None, NOON.isoformat()],
        "revoked_by_id": [None, str(bob.user.pk)],
        "revoke_reason": ["", "Dana has left"],
    }
    assert operations()[0][1] == "1 key"


def test_disabled_keys_stay_as_they_are_when_all_are_disabled(
    issue: Issue, bob: Person, dana: Person, project: Project
) -> None:
    before, other = issue(dana, project), issue(dana, project)
    disable_key(api_key=before.row, at=later(hours=-1))
    assert end(bob, BY_DANA, "disable") == 1
    assert (fresh(before).disabled_at, fresh(other).disabled_at) == (later(hours=-1), NOON)
    assert end(bob, BY_DANA, "revoke") == 2


def test_nothing_is_saved_if_an_audit_row_fails(
    issue: Issue, bob: Person, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue(dana, project)
    digest = preview_bulk(principal=bob.principal, asked=BY_DANA, at=NOON).digest
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull), transaction.atomic():
        end(bob, BY_DANA, expected=digest)
    assert fresh(issued).revoked_at is None


def test_nothing_is_saved_if_the_row_of_the_operation_fails(
    issue: Issue, bob: Person, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue(dana, project)

    def fail(**_: object) -> None:
        raise LogIsFull

    monkeypatch.setattr("apikeys.actions.bulk.record", fail)
    with pytest.raises(LogIsFull), transaction.atomic():
        end(bob, BY_DANA)
    assert fresh(issued).revoked_at is None
    assert events_of(issued.row) == ["api_key.created"]


def test_more_than_one_statement_has_room_for(
    issue: Issue, bob: Person, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apikeys.actions.bulk.KEYS_AT_ONCE", 2)
    for _ in range(5):
        issue(dana, project)
    assert end(bob, BY_DANA) == 5
    assert ApiKey.objects.filter(revoked_at=NOON).count() == 5


# The examples of whoever asks for it


def test_not_used_for_90_days(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    old, young, used = (issue(dana, project, at=later(days=days)) for days in (-91, -89, -200))
    use(used.row, at=later(days=-1))
    assert end(bob, KeyFilter(unused_days=90)) == 1
    assert [fresh(issued).is_revoked for issued in (old, young, used)] == [True, False, False]


def test_seen_from_a_network(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    keys = [issue(dana, project) for _ in range(3)]
    for issued, address in zip(keys, ("203.0.113.7", "203.0.114.7", "2001:db8::7"), strict=True):
        assert Client(REMOTE_ADDR=address).get("/v1/whoami", headers=issued.headers).status_code == 200
    uses.flush()
    assert end(bob, KeyFilter(seen_from="203.0.113.0/24")) == 1
    assert [fresh(issued).is_revoked for issued in keys] == [True, False, False]


# What is left out


def test_preview_counts_what_is_used_disabled_not_allowed_and_ended(
    issue: Issue, bob: Person, dana: Person, project: Project
) -> None:
    used, disabled, revoked, expired = (issue(dana, project, name="ci", expires_at=later(days=2)) for _ in range(4))
    bobs, retired = issue(bob, project, name="ci"), issue(dana, project, name="ci")
    at = later(days=1)
    use(used.row, at=at - timedelta(days=1))
    use(bobs.row, at=at)
    disable_key(api_key=disabled.row, at=NOON)
    revoke_key(principal=None, api_key=revoked.row, at=NOON)
    with transaction.atomic():
        row = fresh(expired)
        row.expires_at = at
        row.save(update_fields=["expires_at"])
    successor = rotate(dana, retired, reason="leaked")
    found = preview_bulk(principal=dana.principal, asked=KeyFilter(text="ci"), at=at)
    assert (found.count, found.used_today, found.disabled, found.not_allowed, found.ended) == (3, 1, 1, 1, 3)
    shown = examples(dana.principal, KeyFilter(text="ci"), at=at)
    assert [row.pk for row in shown.keys] == [issued.row.pk for issued in (successor, disabled, used)]
    assert [row.pk for row in shown.not_allowed] == [bobs.row.pk]
    assert {row.pk for row in shown.ended} == {issued.row.pk for issued in (revoked, expired, retired)}
    assert end(dana, KeyFilter(text="ci"), at=at) == 3
    assert fresh(bobs).revoked_at is None


def test_what_is_ended_is_what_the_caller_could_end_one_by_one(
    issue: Issue,
    alice: Person,
    bob: Person,
    dana: Person,
    charlie: Person,
    team: Team,
    other_team: Team,
    project: Project,
    other_project: Project,
    organization: Organization,
) -> None:
    """For everyone, and for every key as a caller."""
    places = {alice: (organization, team, other_team, project, other_project), bob: (team, project), dana: (project,)}
    keys = [issue(person, place, permissions=["*"]) for person, here in places.items() for place in here]
    issue(charlie, charlie.membership.organization)
    leavers = issue(bob, project)
    callers = [person.principal for person in (alice, bob, dana, charlie)] + [acting_as(issued) for issued in keys]
    leave_teams(bob)
    callers += [bob.principal]
    asked = KeyFilter(created_from=later(days=-1))
    for caller in callers:
        visible = ApiKey.objects.visible_to(caller).with_places()
        mine = {row.pk for row in visible if may_revoke(caller, row)}
        assert set(preview_bulk(principal=caller, asked=asked, at=NOON).key_ids) == mine, caller
    assert leavers.row.pk not in preview_bulk(principal=bob.principal, asked=asked, at=NOON).key_ids


def test_key_of_a_service_account_is_its_teams_to_end(
    issue: Issue, alice: Person, bob: Person, dana: Person, project: Project, team: Team
) -> None:
    account = _account(bob, dana, team)
    issued = issue(dana, project, service_account=account)
    asked = KeyFilter(created_from=later(days=-1))
    assert preview_bulk(principal=dana.principal, asked=asked, at=NOON).count == 0
    assert list(preview_bulk(principal=bob.principal, asked=asked, at=NOON).key_ids) == [issued.row.pk]


def test_keys_that_were_handed_over_are_told_and_can_be_left_out(
    issue: Issue, bob: Person, dana: Person, dana_client: Client, project: Project, team: Team, bob_client: Client
) -> None:
    hers, handed = issue(dana, project), issue(dana, project)
    account = _account(bob, bob, team)
    with audit_context(actor=bob.principal.as_actor(), at=NOON):
        hand_to_service_account(principal=bob.principal, api_key=handed.row, service_account=account, at=NOON)
    found = preview_bulk(principal=bob.principal, asked=BY_DANA, at=NOON)
    assert (found.count, found.of_service_accounts) == (2, 1)
    page = " ".join(bob_client.get(f"{BULK}?issuer=dana@example.com").text.split())
    assert "1 of them acts for a service account, whoever issued it." in page
    assert "For ci, a service account" in page
    left = KeyFilter(issuer_email="dana@example.com", has_no_service_account=True)
    assert end(bob, left) == 1
    assert (fresh(hers).revoked_at, fresh(handed).revoked_at) == (NOON, None)


def test_nobody_is_named_where_a_key_of_a_service_account_ends_others(
    issue: Issue, bob: Person, dana: Person, project: Project, team: Team
) -> None:
    account = _account(bob, bob, team)
    ServiceAccount.objects.filter(pk=account.pk).update(role="team_admin")
    account.refresh_from_db()
    caller = issue(bob, team, permissions=["keys:write"], service_account=account)
    one, many = issue(dana, project), issue(dana, project)
    assert Client().delete(f"/v1/api-keys/{one.row.pk}", headers=caller.headers).status_code == 204
    asked = {"action": "revoke", "filter": {"issuer": "dana@example.com"}, "reason": "left"}
    digest = post(caller, **asked).json()["digest"]
    assert post(caller, **asked, dry_run=False, expected=digest).json()["changed"] == 1
    for ended in (one, many):
        assert (fresh(ended).revoked_at is None, fresh(ended).revoked_by_id) == (False, None)


def _account(admin: Person, steward: Person, team: Team) -> ServiceAccount:
    with transaction.atomic():
        return ServiceAccount.objects.create(
            team=team, name="ci", role="developer", steward=steward.user, created_at=NOON
        )


# What is refused


@pytest.mark.parametrize(
    "asked",
    [KeyFilter(), KeyFilter(state="active"), KeyFilter(state="attention"), KeyFilter(has_no_service_account=True)],
)
def test_all_keys_are_never_ended_at_once(issued: Issued, alice: Person, asked: KeyFilter) -> None:
    with pytest.raises(NotSelectable):
        preview_bulk(principal=alice.principal, asked=asked, at=NOON)
    with pytest.raises(NotSelectable):
        end(alice, asked, expected="0" * 64)
    assert fresh(issued).revoked_at is None


def test_too_many_keys_are_refused(
    issue: Issue, bob: Person, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        issue(dana, project)
    digest = preview_bulk(principal=bob.principal, asked=BY_DANA, at=NOON).digest
    for module in ("apikeys.selecting", "apikeys.actions.bulk"):
        monkeypatch.setattr(f"{module}.MOST_KEYS", 2)
    with pytest.raises(NotSelectable) as refused:
        preview_bulk(principal=bob.principal, asked=BY_DANA, at=NOON)
    assert str(refused.value) == "More than 2 keys pass this filter. Narrow it."
    with pytest.raises(NotSelectable):
        end(bob, BY_DANA, expected=digest)
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_nothing_is_nothing_to_end(bob: Person) -> None:
    with pytest.raises(NotSelectable):
        end(bob, BY_DANA)
    assert operations() == []


@pytest.mark.parametrize("what", ["issued", "revoked", "disabled", "enabled"])
def test_nothing_happens_if_the_keys_have_changed_since(
    issue: Issue, bob: Person, dana: Person, project: Project, what: str
) -> None:
    issued, other = issue(dana, project), issue(dana, project)
    if what == "enabled":
        disable_key(api_key=other.row, at=NOON)
    digest = preview_bulk(principal=bob.principal, asked=BY_DANA, at=NOON).digest
    match what:
        case "issued":
            issue(dana, project)
        case "revoked":
            revoke_key(principal=None, api_key=other.row, at=NOON)
        case "disabled":
            disable_key(api_key=other.row, at=NOON)
        case _:
            with transaction.atomic():
                row = fresh(other)
                row.disabled_at = None
                row.save(update_fields=["disabled_at"])
    with pytest.raises(SelectionChanged):
        end(bob, BY_DANA, expected=digest)
    assert fresh(issued).revoked_at is None
    assert operations() == []


def test_digest_is_not_made_up(issue: Issue, dana: Person, project: Project, settings: Settings) -> None:
    issue(dana, project)
    digest = preview_bulk(principal=dana.principal, asked=BY_DANA, at=NOON).digest
    settings.SECRET_KEY = "another key, of another portal, that is long enough"
    assert preview_bulk(principal=dana.principal, asked=BY_DANA, at=NOON).digest != digest


def test_key_that_was_looked_for_is_not_on_record(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, name="kp")
    asked = KeyFilter(text=issued.text, issuer_email="dana@example.com")
    broad = KeyFilter(issuer_email="dana@example.com")
    digest = preview_bulk(principal=dana.principal, asked=broad, at=NOON).digest
    with pytest.MonkeyPatch.context() as patch:
        # Such a text finds nothing, so that there is nothing to record: unless a name once holds one.
        patch.setattr("apikeys.actions.bulk.selected", lambda p, _asked, at: selecting.selected(p, broad, at=at))
        end(dana, asked, expected=digest)
    assert operations()[0][2]["filter"][1]["text"].startswith(issued.row.label)
    assert issued.text not in everything_recorded()


def test_key_in_a_reason_is_not_on_record(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    ended, alone = issue(dana, project), issue(dana, project)
    leaked = issue(bob, project)
    with audit_context(actor=dana.principal.as_actor(), at=NOON):
        revoke_key(principal=dana.principal, api_key=alone.row, at=NOON, reason=f"{'leaked ' * 20} {leaked.text}")
    end(dana, BY_DANA, reason=f"{'leaked ' * 20} {leaked.text}")
    assert fresh(ended).revoke_reason == fresh(alone).revoke_reason
    assert fresh(ended).revoke_reason.startswith("leaked leaked")
    assert leaked.key.secret[:6] not in everything_recorded()


# As JSON


def post(caller: Issued, **body: Any) -> Any:
    return Client().post("/v1/api-keys/bulk", body, content_type="application/json", headers=caller.headers)


def test_dry_run_is_the_default_and_its_digest_does_it(
    issue: Issue, bob: Person, dana: Person, project: Project, team: Team
) -> None:
    caller, issued = issue(bob, team, permissions=["keys:write"]), issue(dana, project)
    asked = {"action": "revoke", "filter": {"issuer": "dana@example.com"}, "reason": "left"}
    dry = post(caller, **asked)
    digest = dry.json()["digest"]
    assert (dry.status_code, dry.json()) == (
        200,
        {
            "action": "revoke",
            "dry_run": True,
            "count": 1,
            "used_today": 0,
            "of_service_accounts": 0,
            "disabled": 0,
            "not_allowed": 0,
            "ended": 0,
            "changed": 0,
            "digest": digest,
        },
    )
    assert fresh(issued).revoked_at is None
    done = post(caller, **asked, dry_run=False, expected=digest)
    assert (done.status_code, done.json()["changed"], done.json()["dry_run"]) == (200, 1, False)
    assert Client().get("/v1/whoami", headers=issued.headers).json()["code"] == "key_revoked"
    again = post(caller, **asked, dry_run=False, expected=digest)
    assert (again.status_code, again.json()["code"]) == (409, "selection_changed")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("filter", {"filter": {}}),
        ("filter", {"filter": {"state": "active"}}),
        ("filter.seen_from", {"filter": {"seen_from": "everywhere"}}),
        ("filter.unused_days", {"filter": {"unused_days": 0}}),
        ("filter.tab", {"filter": {"tab": "active"}}),
        ("action", {"action": "delete"}),
        ("reason", {"reason": "", "dry_run": False}),
        ("reason", {"reason": "x" * 201}),
        ("dry_run", {"dry_run": "no"}),
    ],
)
def test_what_nobody_can_mean_is_422(issue: Issue, bob: Person, team: Team, field: str, body: dict[str, Any]) -> None:
    caller = issue(bob, team, permissions=["keys:write"])
    answer = post(caller, **({"action": "disable", "filter": {"q": "ci"}, "reason": "left"} | body))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_reason_holds_no_key(issue: Issue, bob: Person, team: Team, issued: Issued) -> None:
    caller = issue(bob, team, permissions=["keys:write"])
    asked = {"action": "disable", "filter": {"issuer": "dana@example.com"}, "reason": f"leaked: {issued.text}"}
    answer = post(caller, **asked, dry_run=False, expected=post(caller, **asked).json()["digest"])
    assert answer.json()["errors"][0]["field"] == "reason"
    assert issued.text not in answer.text


def test_key_ends_nothing_outside_its_scope(
    issue: Issue, alice: Person, bob: Person, team: Team, project: Project, other_project: Project
) -> None:
    caller = issue(alice, project, permissions=["keys:write"])
    outside = [issue(alice, team), issue(alice, other_project)]
    dry = post(caller, action="revoke", filter={"issuer": "alice@example.com"}, reason="left")
    assert dry.json()["count"] == 1
    done = post(
        caller,
        action="revoke",
        filter={"issuer": "alice@example.com"},
        reason="left",
        dry_run=False,
        expected=dry.json()["digest"],
    )
    assert done.json()["changed"] == 1
    assert [fresh(issued).is_revoked for issued in (caller, *outside)] == [True, False, False]


def test_key_without_the_permission_does_not_even_preview(issued: Issued) -> None:
    assert post(issued, action="disable", filter={"q": "ci"}).json()["code"] == "insufficient_scope"


def test_session_needs_a_recent_sign_in(dana: Person, issued: Issued) -> None:
    asked = {"action": "disable", "filter": {"issuer": "dana@example.com"}, "reason": "left"}
    stale = Session(dana, signed_in_ago=timedelta(hours=1))
    assert stale.post("/v1/api-keys/bulk", asked).json()["code"] == "recent_sign_in_required"
    fresh_session = Session(dana)
    assert fresh_session.post("/v1/api-keys/bulk", asked).json()["count"] == 1


# On the page


def typed(client: Client, query: str, **changes: Any) -> dict[str, Any]:
    """Return what the page's form would send."""
    page: Any = client.get(f"{BULK}?{query}")
    selection = page.context["selection"]
    form = {"digest": selection.digest, "action": "revoke", "reason": "Dana has left", "count": str(selection.count)}
    return {**page.context["hidden"], **form, **changes}


def test_list_offers_it_with_its_filter_and_only_then(issued: Issued, dana_client: Client) -> None:
    assert BULK not in dana_client.get("/integrations/").text
    page = dana_client.get("/integrations/?tab=active&issuer=dana@example.com").text
    assert f'href="{BULK}?state=active&amp;issuer=dana%40example.com"' in page
    assert BULK not in dana_client.get("/integrations/?issuer=nobody@example.com").text


def test_person_ends_what_they_saw(issued: Issued, dana_client: Client) -> None:
    query = "state=active&issuer=dana@example.com"
    page: Any = dana_client.get(f"{BULK}?{query}")
    assert (page.status_code, page.templates[0].name) == (200, "apikeys/key_bulk.html")
    assert issued.row.label in page.text
    assert "no-store" in page["Cache-Control"]
    response: Any = dana_client.post(BULK, typed(dana_client, query), follow=True)
    assert response.redirect_chain == [("/integrations/", 302)]
    assert "1 key revoked at" in response.text
    assert Client().get("/v1/whoami", headers=issued.headers).json()["code"] == "key_revoked"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("count", {"count": "2"}),
        ("count", {"count": ""}),
        ("reason", {"reason": ""}),
        ("action", {"action": ""}),
        ("action", {"action": "delete"}),
        ("__all__", {"digest": "0" * 64}),
        ("__all__", {"digest": ""}),
    ],
)
def test_form_that_is_not_confirmed_does_nothing(
    issued: Issued, dana_client: Client, field: str, changes: dict[str, str]
) -> None:
    response: Any = dana_client.post(BULK, typed(dana_client, "issuer=dana@example.com", **changes))
    assert (response.status_code, list(response.context["form"].errors)) == (422, [field])
    assert fresh(issued).revoked_at is None


def test_keys_that_changed_since_are_shown_anew(
    issue: Issue, issued: Issued, dana: Person, project: Project, dana_client: Client
) -> None:
    sent = typed(dana_client, "issuer=dana@example.com")
    issue(dana, project, name="a newcomer")
    response: Any = dana_client.post(BULK, sent)
    assert response.status_code == 422
    assert "a newcomer" in response.text
    assert "Other keys pass the filter now than in the preview" in response.text
    digest = response.context["selection"].digest
    assert f'name="digest" value="{digest}"' in response.text
    assert response.context["form"]["count"].value() is None
    assert response.context["form"]["reason"].value() == "Dana has left"
    assert dana_client.post(BULK, sent | {"digest": digest, "count": "2"}).status_code == 302
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_keys_that_change_in_this_very_moment_are_shown_anew(
    issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(**_: object) -> int:
        raise SelectionChanged

    sent = typed(dana_client, "issuer=dana@example.com")
    monkeypatch.setattr("apikeys.actions.end_keys", changed)
    response: Any = dana_client.post(BULK, sent, follow=True)
    assert response.redirect_chain == [(f"{BULK}?issuer=dana%40example.com", 302)]
    assert "Other keys pass the filter now than in the preview" in response.text
    assert fresh(issued).revoked_at is None


@pytest.mark.parametrize("query", ["", "state=active", "tab=active"])
def test_page_asks_for_a_filter(issued: Issued, dana_client: Client, query: str) -> None:
    page = dana_client.get(f"{BULK}?{query}")
    assert page.status_code == 200
    assert "all keys are never ended at once" in page.text
    assert "<form" not in page.text.partition("<main")[2].partition("</main")[0]
    assert dana_client.post(BULK, {"action": "revoke"}).status_code == 422


def test_page_says_what_is_wrong_with_a_filter(issued: Issued, dana_client: Client) -> None:
    page = dana_client.get(f"{BULK}?seen_from=everywhere")
    assert (page.status_code, "Write an address or a network" in page.text) == (422, True)


def test_page_says_what_is_left_out(
    issue: Issue, bob: Person, dana: Person, project: Project, dana_client: Client
) -> None:
    issue(dana, project, name="mine")
    bobs, gone = issue(bob, project, name="bobs"), issue(dana, project, name="gone")
    revoke_key(principal=None, api_key=gone.row, at=NOON)
    page = " ".join(dana_client.get(f"{BULK}?scope=project").text.split())
    assert "1 more is not yours to end. 1 more has ended already." in page
    assert bobs.row.label in page
    assert gone.row.label in page
    nothing = " ".join(dana_client.get(f"{BULK}?issuer=bob@example.com").text.split())
    assert "No live key of yours passes this filter" in nothing
    assert "1 more is not yours to end." in nothing


def test_stranger_finds_nothing_of_ours(issued: Issued, charlie_client: Client) -> None:
    page = charlie_client.get(f"{BULK}?issuer=dana@example.com")
    assert issued.row.label not in page.text
    assert "No live key of yours passes this filter" in page.text
    assert charlie_client.post(BULK, {"issuer": "dana@example.com", "action": "revoke"}).status_code == 422


def test_old_sign_in_is_confirmed_and_the_filter_kept(issued: Issued, dana_client: Client) -> None:
    sent = typed(dana_client, "state=active&issuer=dana@example.com")
    with time_machine.travel(timedelta(hours=1)):
        asked = dana_client.get(f"{BULK}?issuer=dana@example.com")
        done = dana_client.post(BULK, sent)
    assert asked["Location"] == "/account/reauthenticate/?next=%2Fintegrations%2Fbulk%2F%3Fissuer%3Ddana%40example.com"
    assert "state%3Dactive%26issuer%3Ddana" in done["Location"]
    assert fresh(issued).revoked_at is None


def test_preview_shows_the_newest_100(
    issue: Issue, dana: Person, project: Project, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apikeys.selecting.SHOWN", 2)
    for number in range(3):
        issue(dana, project, name=f"key {number}")
    page = dana_client.get(f"{BULK}?issuer=dana@example.com")
    assert [row.name for row in page.context["shown"].keys] == ["key 2", "key 1"]
    assert "The newest 2 of 3." in page.text


@pytest.mark.parametrize("count", [1, 3])
def test_costs_the_same_for_few_and_many_keys(
    issue: Issue, dana: Person, project: Project, dana_client: Client, django_assert_num_queries: Queries, count: int
) -> None:
    for _ in range(count):
        issue(dana, project)
    sent = typed(dana_client, "issuer=dana@example.com", count="0")
    with django_assert_num_queries(13):
        dana_client.get(f"{BULK}?issuer=dana@example.com")
    assert dana_client.post(BULK, sent).status_code == 422


# At once


@pytest.mark.django_db(transaction=True)
def test_of_two_operations_at_once_one_is_done(
    transactional_db: None, issue: Issue, bob: Person, dana: Person, project: Project
) -> None:
    for _ in range(20):
        issue(dana, project)
    principal, together = bob.principal, threading.Barrier(4)
    digest = preview_bulk(principal=principal, asked=BY_DANA, at=NOON).digest

    def run(number: int) -> object:
        action = (BulkAction.DISABLE, BulkAction.REVOKE)[number % 2]
        try:
            connection.ensure_connection()
            together.wait(10)
            return end_keys(principal=principal, asked=BY_DANA, action=action, expected=digest, reason="left", at=NOON)
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(run, range(4)))
    assert sorted(map(str, outcomes)) == sorted(map(str, [20, SelectionChanged, SelectionChanged, SelectionChanged]))
    assert len(operations()) == 1
    assert AuditEvent.objects.filter(event__in=["api_key.revoked", "api_key.disabled"]).count() == 20
