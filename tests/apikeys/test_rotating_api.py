"""Rotation through the API, as CI and people's tools ask for it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, transaction
from django.test import Client

from accounts.models import Organization, Project, Team
from apikeys import limits
from apikeys.actions import KeyChange, narrow_key, revoke_key
from apikeys.limits import Limits
from apikeys.models import ApiKey, ApiKeyQuerySet, Policy
from apikeys.presented import PresentedKey
from apikeys.verification import verify
from audit import uses
from audit.models import KeyUse
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, events_of, everything_recorded, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.rotated import fresh, rotate
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

# Keys are issued at noon, and some end.
pytestmark = pytest.mark.usefixtures("noon")
URL = "/v1/api-keys"
SELF = f"{URL}/self/rotate"
Issue = Callable[..., Issued]
Capture = Callable[..., Any]


@pytest.fixture
def ci(issue: Issue, dana: Person, project: Project) -> Issued:
    """The key of a job that rotates its own."""
    return issue(dana, project, permissions=["keys:rotate_self", "projects:read"], expires_at=later(days=90))


@pytest.fixture
def team_key(issue: Issue, bob: Person, team: Team) -> Issued:
    return issue(bob, team, name="team key", permissions=["keys:write", "keys:read", "projects:read"])


def post(text: str, path: str = SELF, body: Any = None, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {text}"} | headers
    return Client().post(path, body or {}, content_type="application/json", headers=sent)


def refusal(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def works(text: str) -> str:
    """Use a key; return `yes`, or the code of the refusal."""
    response = Client().get("/v1/whoami", headers={"Authorization": f"Bearer {text}"})
    return "yes" if response.status_code == 200 else str(response.json()["code"])


# CI rotates its own key


def test_ci_rotates_its_own_key_from_beginning_to_end(
    ci: Issued, noon: time_machine.Traveller, django_capture_on_commit_callbacks: Capture
) -> None:
    response = post(ci.text, body={"settle_seconds": 600, "deadline_seconds": 86_400})
    body = response.json()
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    assert response["Location"] == f"{URL}/{body['id']}"
    assert (body["predecessor_id"], body["predecessor_retires_at"]) == (str(ci.row.pk), "2026-03-03T12:00:00Z")
    assert (body["name"], body["permissions"], body["expires_at"]) == (
        ci.row.name,
        ["keys:rotate_self", "projects:read"],
        "2026-05-31T12:00:00Z",
    )
    noon.move_to(later(hours=1))
    assert [works(ci.text), works(body["key"])] == ["yes", "yes"]
    with django_capture_on_commit_callbacks(execute=True):
        uses.flush()
    assert fresh(ci).retires_at == later(hours=1, minutes=10)
    answer = Client().get("/v1/whoami", headers=ci.headers)
    assert answer["Sunset"] == answer["Key-Expires"] == "Mon, 02 Mar 2026 13:10:00 GMT"
    noon.move_to(later(hours=1, minutes=10))
    assert [works(ci.text), works(body["key"])] == ["key_retired", "yes"]
    assert works(json.loads(post(body["key"]).content)["key"]) == "yes"


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Nothing"])
def test_lost_answer_is_had_again(ci: Issued, noon: time_machine.Traveller, name: str) -> None:
    headers = {name: "pipeline-4711"}
    lost = post(ci.text, **headers).json()
    noon.move_to(later(minutes=3))
    again = post(ci.text, **headers)
    assert (again.status_code, again.json()["id"]) == (200, lost["id"])
    assert [works(text) for text in (ci.text, lost["key"], again.json()["key"])] == ["yes", "invalid_key", "yes"]
    assert refusal(post(ci.text, **headers)) == (409, "successor_in_use")
    assert [works(ci.text), works(again.json()["key"])] == ["yes", "yes"]
    assert ApiKey.objects.count() == 2
    assert "pipeline-4711" not in everything_recorded() + repr(list(ApiKey.objects.values()))


def test_lost_answers_never_lock_ci_out(ci: Issued, noon: time_machine.Traveller) -> None:
    """However often an answer is lost, within whatever time: the old key works until one has arrived."""
    for day in range(0, 30, 6):
        noon.move_to(later(days=day))
        assert post(ci.text).status_code in {200, 201}
    noon.move_to(later(days=29.9))
    arrived = post(ci.text).json()
    assert [works(ci.text), works(arrived["key"])] == ["yes", "yes"]


def test_self_rotation_needs_its_permission_and_a_key(issued: Issued, dana: Person) -> None:
    response = post(issued.text)
    assert refusal(response) == (403, "insufficient_scope")
    assert 'scope="keys:rotate_self"' in response["WWW-Authenticate"]
    assert refusal(Session(dana).post(SELF, {})) == (403, "forbidden")
    assert ApiKey.objects.count() == 1


def test_key_cannot_call_itself_leaked(ci: Issued, team_key: Issued) -> None:
    assert refusal(post(ci.text, body={"reason": "leaked"})) == (422, "invalid_field")
    path = f"{URL}/{team_key.row.pk}/rotate"
    assert refusal(post(team_key.text, path, {"reason": "leaked"})) == (403, "forbidden")
    assert ApiKey.objects.count() == 2


def test_narrowed_key_rotates_itself_all_the_same(issue: Issue, bob: Person, team: Team, project: Project) -> None:
    issued = issue(bob, team, permissions=["keys:rotate_self"])
    assert post(issued.text, **{"X-Project-Id": str(project.pk)}).json()["team_id"] == str(team.pk)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"settle_seconds": -1}, "settle_seconds"),
        ({"settle_seconds": 30 * 86_400 + 1}, "settle_seconds"),
        ({"settle_seconds": "60"}, "settle_seconds"),
        ({"deadline_seconds": 59}, "deadline_seconds"),
        ({"deadline_seconds": 30 * 86_400 + 1}, "deadline_seconds"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_times_are_within_their_bounds(ci: Issued, body: Any, field: str) -> None:
    response = post(ci.text, body=body)
    assert refusal(response) == (422, "invalid_field")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    for fine in ({"deadline_seconds": 60, "settle_seconds": 0}, {"deadline_seconds": 30 * 86_400}):
        assert post(ci.text, body=fine).status_code in {200, 201}


@pytest.mark.parametrize("value", ["", "x" * 256])
def test_idempotency_key_is_bounded(ci: Issued, value: str) -> None:
    assert refusal(post(ci.text, **{"Idempotency-Key": value})) == (422, "invalid_field")
    assert post(ci.text, **{"Idempotency-Key": "x" * 255}).status_code == 201


def test_narrowed_key_gets_another_successor_for_its_lost_answer(
    ci: Issued, dana: Person, noon: time_machine.Traveller
) -> None:
    headers = {"Idempotency-Key": "pipeline-4711"}
    lost = post(ci.text, **headers).json()
    narrower = KeyChange(permissions=["keys:rotate_self"])
    narrow_key(principal=dana.principal, api_key=ci.row, change=narrower, at=NOON)
    again = post(ci.text, **headers)
    assert (again.status_code, again.json()["permissions"]) == (201, ["keys:rotate_self"])
    assert again.json()["id"] != lost["id"]
    assert [works(text) for text in (ci.text, lost["key"], again.json()["key"])] == ["yes", "key_revoked", "yes"]


def test_policy_on_who_issues_holds_for_keys_that_rotate_themselves(ci: Issued, organization: Organization) -> None:
    with transaction.atomic():
        Policy(organization=organization, project_issuers="super_admin").save()
    assert refusal(post(ci.text)) == (403, "scope_not_allowed")


# A use that is refused is no first use


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/v1/whoami?key={text}", {}, "key_in_query"),
        ("/v1/whoami", {"Authorization": "Bearer {text}", "Origin": "https://a.example"}, "secret_key_in_browser"),
    ],
)
def test_refused_use_does_not_take_a_successor_from_whoever_waits_for_it(
    issued: Issued, dana: Person, noon: time_machine.Traveller, path: str, headers: dict[str, str], code: str
) -> None:
    successor = rotate(dana, issued)
    sent = {name: value.format(text=successor.text) for name, value in headers.items()}
    assert refusal(Client().get(path.format(text=successor.text), headers=sent))[1] == code
    assert fresh(successor).last_used_at is None
    assert rotate(dana, issued).row.pk == successor.row.pk


def test_use_over_a_limit_is_no_first_use(
    issue: Issue, dana: Person, project: Project, noon: time_machine.Traveller
) -> None:
    issued = issue(dana, project, limits=Limits(per_day=1))
    successor = rotate(dana, issued)
    assert limits.charge(presented_as(successor), at=NOON) is not None
    assert works(successor.text) == "quota_exceeded"
    assert fresh(successor).last_used_at is None


def presented_as(issued: Issued) -> PresentedKey:
    key = verify(issued.text, at=NOON, is_use=False).key
    assert key is not None
    return key


def test_first_use_that_cannot_be_noted_is_refused(
    issued: Issued, dana: Person, noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise OperationalError("database is locked")

    successor = rotate(dana, issued)
    with monkeypatch.context() as patch:
        patch.setattr(ApiKeyQuerySet, "mark_first_use", fail)
        assert works(successor.text) == "verification_unavailable"
    assert fresh(successor).last_used_at is None
    assert works(successor.text) == "yes"
    assert fresh(successor).last_used_at == NOON


def test_text_that_is_replaced_while_it_is_let_in_is_nobodys(
    issued: Issued, dana: Person, noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    successor = rotate(dana, issued)
    monkeypatch.setattr(ApiKeyQuerySet, "mark_first_use", lambda *_, **__: False)
    assert works(successor.text) == "invalid_key"
    uses.flush()
    assert list(KeyUse.objects.values_list("key_id", "outcome")) == [(None, "invalid_key")]


# Someone else's key


def test_admin_key_rotates_a_leaked_key_of_its_team(
    team_key: Issued, issued: Issued, noon: time_machine.Traveller
) -> None:
    path, headers = f"{URL}/{issued.row.pk}/rotate", {"Idempotency-Key": "incident-12"}
    lost = post(team_key.text, path, {"reason": "leaked"}, **headers).json()
    assert (works(issued.text), lost["predecessor_retires_at"]) == ("key_revoked", "2026-03-02T12:00:00Z")
    assert refusal(post(team_key.text, path, {"reason": "leaked"})) == (409, "key_not_active")
    again = post(team_key.text, path, {"reason": "leaked"}, **headers)
    assert (again.status_code, again.json()["id"]) == (200, lost["id"])
    assert [works(lost["key"]), works(again.json()["key"])] == ["invalid_key", "yes"]
    assert rows_of(issued.row)[1:] == [
        Row("api_key.revoked", "update", issued.row.label, "api_key", team_key.row.label),
        Row("api_key.retired_key_used", "update", issued.row.label, "api_key", issued.row.label),
    ]


def test_leaked_takes_no_times(team_key: Issued, issued: Issued) -> None:
    path = f"{URL}/{issued.row.pk}/rotate"
    assert refusal(post(team_key.text, path, {"reason": "leaked", "settle_seconds": 0})) == (422, "invalid_field")
    assert works(issued.text) == "yes"


def test_person_rotates_after_a_recent_sign_in(issued: Issued, dana: Person) -> None:
    path = f"{URL}/{issued.row.pk}/rotate"
    stale = Session(dana, signed_in_ago=timedelta(hours=1))
    assert refusal(stale.post(path, {})) == (403, "recent_sign_in_required")
    assert Session(dana).post(path, {}).status_code == 201


def test_stranger_gets_404(issued: Issued, issue: Issue, charlie: Person) -> None:
    rotate_, theirs = f"{URL}/{issued.row.pk}", issue(charlie, charlie.membership.organization, permissions=["*"])
    for path in ("rotate", "rotation/end"):
        assert refusal(post(theirs.text, f"{rotate_}/{path}")) == (404, "not_found")
    body = {"retires_at": "2026-03-20T12:00:00Z"}
    assert refusal(post(theirs.text, f"{rotate_}/rotation/extend", body)) == (404, "not_found")
    assert Client().get(f"{rotate_}/rotation", headers=theirs.headers).status_code == 404


def test_missing_permission_is_named(issued: Issued) -> None:
    for path in ("rotate", "rotation/end"):
        assert refusal(post(issued.text, f"{URL}/{issued.row.pk}/{path}")) == (403, "insufficient_scope")


def test_revoked_key_is_not_rotated(team_key: Issued, issued: Issued, dana: Person) -> None:
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    assert refusal(post(team_key.text, f"{URL}/{issued.row.pk}/rotate")) == (409, "key_not_active")


def test_rotation_saves_nothing_if_it_is_not_on_record(ci: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        post(ci.text)
    assert (ApiKey.objects.count(), fresh(ci).rotated_at) == (1, None)


def test_new_secret_is_in_no_log_and_no_record(ci: Issued, logbook: Logbook, noon: time_machine.Traveller) -> None:
    for _ in range(2):
        key = post(ci.text).json()["key"]
    uses.flush()
    for held in (logbook.text, everything_recorded(), repr(list(KeyUse.objects.values()))):
        assert key.rpartition("_")[2] not in held


# How it ends


def test_owner_extends_and_ends(team_key: Issued, issued: Issued, dana: Person, noon: time_machine.Traveller) -> None:
    path = f"{URL}/{issued.row.pk}/rotation"
    assert refusal(post(team_key.text, f"{path}/end")) == (409, "not_rotating")
    rotate(dana, issued)
    moved = post(team_key.text, f"{path}/extend", {"retires_at": "2026-03-20T12:00:00Z"})
    assert (moved.status_code, moved.json()["retires_at"]) == (200, "2026-03-20T12:00:00Z")
    late = post(team_key.text, f"{path}/extend", {"retires_at": "2026-04-02T12:00:00Z"})
    assert refusal(late) == (422, "invalid_field")
    assert [error["field"] for error in late.json()["errors"]] == ["retires_at"]
    ended = post(team_key.text, f"{path}/end")
    assert (ended.status_code, ended.json()["state"]) == (200, "retired")
    assert works(issued.text) == "key_retired"


def test_who_still_uses_the_old_key_is_told(
    team_key: Issued, issued: Issued, dana: Person, noon: time_machine.Traveller
) -> None:
    path = f"{URL}/{issued.row.pk}/rotation"
    Client().get("/v1/whoami", headers=issued.headers | {"User-Agent": "before"})
    assert Client().get(path, headers=team_key.headers).status_code == 409
    uses.flush()
    noon.move_to(later(hours=1))
    successor = rotate(dana, issued, at=later(hours=1))
    for agent, address in (("curl/8", "192.0.2.1"), ("curl/8", "192.0.2.1"), ("deploy", "192.0.2.2")):
        Client(REMOTE_ADDR=address).get("/v1/projects", headers=issued.headers | {"User-Agent": agent})
        noon.shift(60)
    noon.move_to(later(days=9))
    Client(REMOTE_ADDR="192.0.2.2").get("/v1/projects", headers=issued.headers | {"User-Agent": "deploy"})
    uses.flush()
    body = Client().get(path, headers=team_key.headers).json()
    assert body["lineage"] == [str(issued.row.pk), str(successor.row.pk)]
    assert body["reappeared_at"] == "2026-03-11T12:00:00Z"
    assert [(user["user_agent"], user["address"], user["uses"], user["refusals"]) for user in body["users"]] == [
        ("deploy", "192.0.2.2", 1, 1),
        ("curl/8", "192.0.2.1", 2, 0),
    ]
    assert (body["has_all_users"], body["users"][1]["route"]) == (True, "/v1/projects")


# A key that comes again


def test_retired_key_that_comes_again_is_an_incident_once(
    ci: Issued, noon: time_machine.Traveller, organization: Organization
) -> None:
    successor = post(ci.text, body={"deadline_seconds": 60}).json()
    noon.move_to(later(seconds=60))
    assert [works(ci.text) for _ in range(3)] == ["key_retired"] * 3
    assert fresh(ci).reappeared_at == later(seconds=60)
    assert events_of(ci.row).count("api_key.retired_key_used") == 1
    attention = ApiKey.objects.needing_attention(at=later(seconds=60))
    assert [str(key.pk) for key in attention] == [successor["id"]]


def test_revoked_key_that_keeps_coming_costs_no_more_than_one_note(
    issued: Issued, dana: Person, noon: time_machine.Traveller, django_assert_num_queries: Callable[[int], Any]
) -> None:
    rotate(dana, issued, reason="leaked")
    assert works(issued.text) == "key_revoked"
    assert fresh(issued).reappeared_at == NOON
    with django_assert_num_queries(0):
        assert works(issued.text) == "key_revoked"


def test_publishable_key_that_comes_again_is_no_incident(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=["https://app.example.com"])
    rotate(dana, issued, reason="leaked")
    assert (works(issued.text), fresh(issued).reappeared_at) == ("key_revoked", None)


def test_key_that_was_revoked_without_a_rotation_is_no_incident(issued: Issued, dana: Person) -> None:
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    assert (works(issued.text), fresh(issued).reappeared_at) == ("key_revoked", None)
