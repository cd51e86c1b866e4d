import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.test import Client

from accounts.models import Organization, Project, Team
from apikeys import hashing
from apikeys.actions import disable_key, revoke_key
from apikeys.models import ApiKey
from apikeys.permissions import BUILT_IN, Role
from apikeys.verification import Outcome, verify
from audit.models import AuditEvent
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, events_of, everything_recorded, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import demote
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

URL = "/v1/api-keys"
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


@pytest.fixture
def team_key(issue: Issue, bob: Person, team: Team) -> Issued:
    """A key of a team admin that may do all that he may."""
    return issue(bob, team, name="team key", permissions=["*"])


@pytest.fixture
def org_key(issue: Issue, alice: Person, organization: Organization) -> Issued:
    return issue(alice, organization, name="org key", permissions=["*"])


def post(issued: Issued, body: Any, **headers: str) -> Any:
    return Client().post(URL, body, content_type="application/json", headers=issued.headers | headers)


def get(issued: Issued, path: str = URL, query: dict[str, str] | None = None, project: str = "-") -> Any:
    narrowing = {} if project == "-" else {"X-Project-Id": project}
    return Client().get(path, query, headers=issued.headers | narrowing)


def delete(issued: Issued, key_id: UUID) -> Any:
    return Client().delete(f"{URL}/{key_id}", headers=issued.headers)


def refusal(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    return response.status_code, response.json()["code"]


def bad_fields(response: Any) -> list[str]:
    assert refusal(response) == (422, "invalid_field")
    return [error["field"] for error in response.json()["errors"]]


# Issuing


def test_body_of_the_reference_works_as_it_is(
    noon: time_machine.Traveller, team_key: Issued, bob: Person, project: Project
) -> None:
    body = {"name": "ci", "scope": "project", "project_id": str(project.pk), "expires_in_days": 90}
    response = post(team_key, body)
    row = ApiKey.objects.get(name="ci")
    key = response.json()["key"]
    assert response.status_code == 201
    assert response["Location"] == f"/v1/api-keys/{row.pk}"
    assert response["Cache-Control"] == "no-store"
    assert response.json() == {
        "id": str(row.pk),
        "name": "ci",
        "label": f"kp_sk_live_{row.prefix}",
        "prefix": row.prefix,
        "kind": "secret",
        "scope": "project",
        "environment": "live",
        "permissions": ["projects:read"],
        "effective": ["projects:read"],
        "organization_id": str(project.team.organization_id),
        "team_id": None,
        "project_id": str(project.pk),
        "issuer": {"id": str(bob.user.pk), "email": "bob@example.com"},
        "service_account": None,
        "allowed_origins": [],
        "networks": [],
        "per_second": None,
        "per_minute": None,
        "per_day": None,
        "state": "active",
        "predecessor_id": None,
        "created_at": "2026-03-02T12:00:00Z",
        "expires_at": "2026-05-31T12:00:00Z",
        "retires_at": None,
        "disabled_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "last_used_ip": None,
        "key": key,
    }
    assert verify(key, at=NOON).outcome is Outcome.ACCEPTED


def test_issued_key_is_shown_once_and_is_nowhere_else(team_key: Issued, org_key: Issued, logbook: Logbook) -> None:
    response = post(team_key, {"name": "ci", "scope": "team"})
    row = ApiKey.objects.get(name="ci")
    secret = response.json()["key"][-32:]
    pages = [get(org_key).text, get(org_key, response["Location"]).text, post(team_key, {}).text]
    assert response.text.count(secret) == 1
    for place in (*pages, everything_recorded(), logbook.text, repr(ApiKey.objects.values_list())):
        assert secret not in place
        assert secret[:16] not in place
        assert secret[16:] not in place
    for place in (response.text, *pages, everything_recorded(), logbook.text):
        assert row.digest not in place
        assert "argon2" not in place


def test_issue_by_a_key_is_on_record(team_key: Issued, bob: Person) -> None:
    post(team_key, {"name": "ci", "scope": "team"})
    row = ApiKey.objects.get(name="ci")
    assert rows_of(row) == [Row("api_key.created", "create", row.label, "api_key", team_key.row.label)]
    assert row.issuer_id == bob.user.pk


def test_issue_by_a_person_is_on_record(bob: Person, team: Team) -> None:
    response = Session(bob).post(URL, {"name": "ci", "scope": "team", "team_id": str(team.pk)})
    assert response.status_code == 201
    row = ApiKey.objects.get(name="ci")
    assert rows_of(row) == [Row("api_key.created", "create", row.label, "user", "bob@example.com")]


@pytest.mark.parametrize("scope", ["org", "team", "project"])
def test_organization_key_issues_for_every_scope(org_key: Issued, team: Team, project: Project, scope: str) -> None:
    place = {"org": {}, "team": {"team_id": str(team.pk)}, "project": {"project_id": str(project.pk)}}[scope]
    response = post(org_key, {"name": "ci", "scope": scope, "environment": "live"} | place)
    assert response.status_code == 201
    assert response.json()["key"].startswith("kp_org_live_" if scope == "org" else "kp_sk_live_")
    assert (response.json()["team_id"], response.json()["project_id"]) == (
        place.get("team_id"),
        place.get("project_id"),
    )


def test_key_brings_its_own_place(issue: Issue, bob: Person, team_key: Issued, team: Team, project: Project) -> None:
    project_key = issue(bob, project, permissions=["*"])
    assert post(project_key, {"name": "a", "scope": "project"}).json()["project_id"] == str(project.pk)
    assert post(team_key, {"name": "b", "scope": "team"}).json()["team_id"] == str(team.pk)


def test_header_names_the_project_of_a_wider_key(
    org_key: Issued, team_key: Issued, project: Project, other_project: Project
) -> None:
    header = {"X-Project-Id": str(project.pk)}
    for key in (org_key, team_key):
        response = post(key, {"name": "ci", "scope": "project"}, **header)
        assert (response.status_code, response.json()["project_id"]) == (201, str(project.pk))
        assert refusal(post(key, {"name": "ci", "scope": "org"}, **header)) == (403, "scope_not_allowed")
    body = {"name": "ci", "scope": "project", "project_id": str(other_project.pk)}
    assert refusal(post(org_key, body, **header)) == (404, "not_found")
    assert refusal(get(team_key, project=str(other_project.pk))) == (404, "not_found")
    assert refusal(get(team_key, project=str(uuid4()))) == (404, "not_found")
    for value in ("checkout", "", "\0", "1"):
        assert bad_fields(get(team_key, project=value)) == ["X-Project-Id"]


def test_header_of_a_project_key_must_be_its_own(issued: Issued, project: Project, other_project: Project) -> None:
    path = "/v1/projects"
    assert get(issued, path, project=str(project.pk)).status_code == 200
    assert refusal(get(issued, path, project=str(other_project.pk))) == (404, "not_found")


def test_key_without_the_permission_issues_and_lists_and_revokes_nothing(issue: Issue, bob: Person, team: Team) -> None:
    poor = issue(bob, team, permissions=["scan:read"])
    answers = {
        "keys:write": [post(poor, {"name": "ci", "scope": "team"}), delete(poor, poor.row.pk)],
        "keys:read": [get(poor), get(poor, f"{URL}/{poor.row.pk}")],
    }
    for permission, responses in answers.items():
        for response in responses:
            assert refusal(response) == (403, "insufficient_scope")
            challenge = f'Bearer realm="keyportal", error="insufficient_scope", scope="{permission}"'
            assert response["WWW-Authenticate"] == challenge
            assert permission in response.json()["detail"]
    assert ApiKey.objects.count() == 1
    assert not ApiKey.objects.get().is_revoked


def test_demoted_issuer_takes_the_permission_along(org_key: Issued, alice: Person) -> None:
    assert get(org_key).status_code == 200
    demote(alice)
    assert refusal(get(org_key)) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scope": "org"}, "scope_not_allowed"),
        ({"scope": "team", "permissions": ["org:read"]}, "permission_not_grantable"),
        ({"scope": "team", "permissions": ["*"]}, "permission_not_grantable"),
        ({"scope": "team", "environment": "test"}, "environment_not_grantable"),
    ],
)
def test_more_than_the_caller_has_is_403(team_key: Issued, body: dict[str, Any], code: str) -> None:
    assert refusal(post(team_key, {"name": "ci"} | body)) == (403, code)
    assert ApiKey.objects.count() == 1


def test_key_that_expires_issues_none_that_outlives_it(
    noon: time_machine.Traveller, issue: Issue, bob: Person, team: Team
) -> None:
    parent = issue(bob, team, permissions=["*"], expires_at=later(days=30))
    assert refusal(post(parent, {"name": "ci", "scope": "team"})) == (403, "expiry_not_grantable")
    assert refusal(post(parent, {"name": "ci", "scope": "team", "expires_in_days": 31})) == (
        403,
        "expiry_not_grantable",
    )
    assert post(parent, {"name": "ci", "scope": "team", "expires_in_days": 30}).status_code == 201


def test_place_that_the_caller_does_not_see_is_404(
    team_key: Issued, other_team: Team, other_project: Project, charlie: Person
) -> None:
    theirs = Project.objects.get(team__organization=charlie.membership.organization)
    for place in (other_project.pk, theirs.pk, uuid4()):
        body = {"name": "ci", "scope": "project", "project_id": str(place)}
        assert refusal(post(team_key, body)) == (404, "not_found")
    for place in (other_team.pk, theirs.team_id, uuid4()):
        body = {"name": "ci", "scope": "team", "team_id": str(place)}
        assert refusal(post(team_key, body)) == (404, "not_found")


GOOD = {"name": "ci", "scope": "team"}
PROJECT = {"name": "ci", "scope": "project"}
BAD_BODIES: dict[str, tuple[Any, list[str]]] = {
    "nothing": ({}, ["name", "scope"]),
    "a list": ([], ["body"]),
    "null": (None, ["body"]),
    "a number": (7, ["body"]),
    "a string": ("ci", ["body"]),
    "unknown field": (GOOD | {"digest": "x"}, ["digest"]),
    "unknown fields": (GOOD | {"secret": "publishable", "issuer": "x"}, ["secret", "issuer"]),
    "field with a lone surrogate": (GOOD | {"\ud800": 1}, ["body"]),
    "empty name": (GOOD | {"name": ""}, ["name"]),
    "name of spaces": (GOOD | {"name": "  \u00a0 "}, ["name"]),
    "long name": (GOOD | {"name": "x" * 101}, ["name"]),
    "name with NUL": (GOOD | {"name": "a\0b"}, ["name"]),
    "name with newline": (GOOD | {"name": "a\nb"}, ["name"]),
    "name with escape": (GOOD | {"name": "a\x1bb"}, ["name"]),
    "name with a lone surrogate": (GOOD | {"name": "a\ud800b"}, ["name"]),
    "name of a number": (GOOD | {"name": 7}, ["name"]),
    "name of a list": (GOOD | {"name": ["ci"]}, ["name"]),
    "null name": (GOOD | {"name": None}, ["name"]),
    "unknown scope": (GOOD | {"scope": "galaxy"}, ["scope"]),
    "scope with a surrogate": (GOOD | {"scope": "\udfff"}, ["scope"]),
    "unknown environment": (GOOD | {"environment": "prod"}, ["environment"]),
    "null environment": (GOOD | {"environment": None}, ["environment"]),
    "no project": (PROJECT, ["project_id"]),
    "project that is no id": (PROJECT | {"project_id": "checkout"}, ["project_id"]),
    "project of a number": (PROJECT | {"project_id": 10**30}, ["project_id"]),
    "project with NUL": (PROJECT | {"project_id": "\0"}, ["project_id"]),
    "team that is no id": (GOOD | {"team_id": "payments"}, ["team_id"]),
    "team with a project": (GOOD | {"project_id": str(UUID(int=7))}, ["project_id"]),
    "project with a team": (PROJECT | {"team_id": str(UUID(int=7))}, ["team_id"]),
    "organization with a team": ({"name": "ci", "scope": "org", "team_id": str(UUID(int=7))}, ["team_id"]),
    "organization with a project": ({"name": "ci", "scope": "org", "project_id": str(UUID(int=7))}, ["project_id"]),
    "no permissions": (GOOD | {"permissions": []}, ["permissions"]),
    "permissions of a string": (GOOD | {"permissions": "scan:read"}, ["permissions"]),
    "null permissions": (GOOD | {"permissions": None}, ["permissions"]),
    "permission of a number": (GOOD | {"permissions": ["scan:read", 7]}, ["permissions.1"]),
    "permission with a lone surrogate": (GOOD | {"permissions": ["\ud800"]}, ["permissions.0"]),
    "unknown permission": (
        GOOD | {"permissions": ["*", "scan:read", "galaxy:rule", ""]},
        ["permissions.2", "permissions.3"],
    ),
    "permission with NUL": (GOOD | {"permissions": ["\0"]}, ["permissions.0"]),
    "101 permissions": (GOOD | {"permissions": ["scan:read"] * 101}, ["permissions"]),
    "0 days": (GOOD | {"expires_in_days": 0}, ["expires_in_days"]),
    "-1 days": (GOOD | {"expires_in_days": -1}, ["expires_in_days"]),
    "1826 days": (GOOD | {"expires_in_days": 1826}, ["expires_in_days"]),
    "1.5 days": (GOOD | {"expires_in_days": 1.5}, ["expires_in_days"]),
    "90.0 days": (GOOD | {"expires_in_days": 90.0}, ["expires_in_days"]),
    "days as text": (GOOD | {"expires_in_days": "90"}, ["expires_in_days"]),
    "true days": (GOOD | {"expires_in_days": True}, ["expires_in_days"]),
    "days without number": (GOOD | {"expires_in_days": float("nan")}, ["expires_in_days"]),
    "days without end": (GOOD | {"expires_in_days": float("inf")}, ["expires_in_days"]),
    "end as a number": (GOOD | {"expires_at": 1_780_000_000}, ["expires_at"]),
    "end as the text of a number": (GOOD | {"expires_at": "1780000000"}, ["expires_at"]),
    "huge days": (GOOD | {"expires_in_days": 10**400}, ["expires_in_days"]),
    "several": (GOOD | {"name": "", "scope": "x", "expires_in_days": 0}, ["name", "scope", "expires_in_days"]),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_every_bad_field_is_named_and_nothing_is_issued(org_key: Issued, name: str) -> None:
    body, fields = BAD_BODIES[name]
    response = post(org_key, json.dumps(body))
    assert bad_fields(response) == fields
    assert all(set(error) == {"field", "message"} and error["message"] for error in response.json()["errors"])
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"name=ci",
        b"\xff\xfe",
        b'{"name": "\xe9"}',
        b"[" * 100_000,
        b'{"expires_in_days": ' + b"9" * 5000 + b"}",
        b'{"a":1}{"b":2}',
        b"\0",
    ],
)
def test_body_that_is_no_json_is_400(org_key: Issued, body: bytes) -> None:
    response = Client().post(URL, body, content_type="application/json", headers=org_key.headers)
    assert refusal(response) == (400, "invalid_request")


def test_body_that_is_too_large_is_400(org_key: Issued) -> None:
    body = json.dumps(GOOD | {"name": "x" * 2_000_000})
    assert refusal(post(org_key, body)) == (400, "invalid_request")


def test_refusal_does_not_repeat_what_was_sent(org_key: Issued) -> None:
    text = org_key.text
    for body in (
        {"name": 7, "scope": text, "permissions": [text, 1], "project_id": text},
        GOOD | {"permissions": [text]},
        GOOD | {"name": f"{text}\n"},
    ):
        response = post(org_key, body)
        assert response.status_code == 422
        assert org_key.key.secret not in response.text


def test_duplicate_permissions_count_once(team_key: Issued) -> None:
    response = post(team_key, GOOD | {"permissions": ["scan:read", "keys:read", "scan:read"]})
    assert response.json()["permissions"] == ["keys:read", "scan:read"]


@pytest.mark.parametrize(
    "name", ["x" * 100, "  trimmed  ", "ключ для CI", "🔑", "<b>bold</b>", "'; DROP TABLE", "%s {0}"]
)
def test_any_printable_name_is_kept(team_key: Issued, name: str) -> None:
    response = post(team_key, GOOD | {"name": name})
    assert (response.status_code, response.json()["name"]) == (201, name.strip())


@pytest.mark.parametrize(("days", "ends"), [(1, 1), (1825, 1825), (None, None)])
def test_expiry_at_its_limits(
    noon: time_machine.Traveller, team_key: Issued, days: int | None, ends: int | None
) -> None:
    assert post(team_key, GOOD | {"expires_in_days": days}).status_code == 201
    assert ApiKey.objects.get(name="ci").expires_at == (later(days=ends) if ends else None)


def test_issue_saves_nothing_if_its_audit_row_fails(team_key: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        post(team_key, GOOD)
    assert ApiKey.objects.count() == 1


def test_issue_is_unavailable_while_argon2_cannot_run(team_key: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    get(team_key)

    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(hashing, "hash_secret", fail)
    response = post(team_key, GOOD)
    assert (refusal(response), response["Retry-After"]) == ((503, "unavailable"), "1")


# A browser's session


def test_session_issues_lists_reads_and_revokes(bob: Person, team: Team) -> None:
    session = Session(bob)
    issued = session.post(URL, GOOD | {"team_id": str(team.pk), "permissions": ["*"]})
    assert issued.status_code == 201
    assert [item["name"] for item in session.get(URL).json()["items"]] == ["ci"]
    assert session.get(issued["Location"]).json()["state"] == "active"
    assert session.delete(issued["Location"]).status_code == 204
    assert session.get(issued["Location"]).json()["state"] == "revoked"


def test_session_without_its_csrf_token_changes_nothing(bob: Person, team_key: Issued) -> None:
    client = Session(bob).client
    responses = [
        client.post(URL, GOOD, content_type="application/json"),
        client.post(URL, GOOD, content_type="application/json", headers={"X-CSRFToken": "x" * 64}),
        client.delete(f"{URL}/{team_key.row.pk}"),
    ]
    assert [refusal(response) for response in responses] == [(403, "csrf_failed")] * 3
    assert ApiKey.objects.count() == 1
    assert not ApiKey.objects.get().is_revoked


def test_session_reads_without_a_csrf_token(bob: Person, team_key: Issued) -> None:
    client = Session(bob).client
    for path in (URL, f"{URL}/{team_key.row.pk}", "/v1/whoami", "/v1/projects"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(("ago", "status"), [(timedelta(minutes=14), 201), (timedelta(minutes=16), 403)])
def test_session_issues_only_after_a_recent_sign_in(bob: Person, team: Team, ago: timedelta, status: int) -> None:
    response = Session(bob, signed_in_ago=ago).post(URL, GOOD | {"team_id": str(team.pk)})
    assert response.status_code == status
    assert ApiKey.objects.count() == (1 if status == 201 else 0)
    if status == 403:
        assert refusal(response) == (403, "recent_sign_in_required")


def test_session_revokes_without_a_recent_sign_in(bob: Person, team_key: Issued) -> None:
    """What ends a key must never wait for a password."""
    session = Session(bob, signed_in_ago=timedelta(days=1))
    assert session.delete(f"{URL}/{team_key.row.pk}").status_code == 204


@pytest.mark.parametrize(
    ("who", "scope", "status", "code"),
    [
        ("alice", "org", 201, None),
        ("alice", "team", 201, None),
        ("alice", "project", 201, None),
        ("bob", "org", 403, "scope_not_allowed"),
        ("bob", "team", 201, None),
        ("bob", "project", 201, None),
        ("dana", "org", 403, "scope_not_allowed"),
        ("dana", "team", 403, "scope_not_allowed"),
        ("dana", "project", 201, None),
        ("charlie", "org", 201, None),
        ("charlie", "team", 404, "not_found"),
        ("charlie", "project", 404, "not_found"),
    ],
)
def test_session_issues_what_the_role_allows(
    alice: Person,
    bob: Person,
    dana: Person,
    charlie: Person,
    team: Team,
    project: Project,
    who: str,
    scope: str,
    status: int,
    code: str | None,
) -> None:
    person = {"alice": alice, "bob": bob, "dana": dana, "charlie": charlie}[who]
    place = {"org": {}, "team": {"team_id": str(team.pk)}, "project": {"project_id": str(project.pk)}}[scope]
    response = Session(person).post(URL, {"name": "ci", "scope": scope} | place)
    assert (response.status_code, response.json().get("code")) == (status, code)
    assert ApiKey.objects.filter(organization=team.organization_id).count() == int(status == 201 and who != "charlie")


def test_session_names_its_place(bob: Person) -> None:
    session = Session(bob)
    assert bad_fields(session.post(URL, GOOD)) == ["team_id"]
    assert bad_fields(session.post(URL, PROJECT)) == ["project_id"]


# Listing and reading


def names(response: Any) -> list[str]:
    return [item["name"] for item in response.json()["items"]]


def test_list_is_newest_first_with_every_state_and_no_secret(
    noon: time_machine.Traveller, org_key: Issued, issue: Issue, dana: Person, project: Project
) -> None:
    ended = issue(dana, project, name="revoked")
    revoke_key(principal=None, api_key=ended.row, at=NOON)
    disable_key(api_key=issue(dana, project, name="disabled").row, at=NOON)
    issue(dana, project, name="expired", at=later(days=-2), expires_at=later(days=-1))
    body = get(org_key).json()
    assert [(item["name"], item["state"]) for item in body["items"]] == [
        ("expired", "expired"),
        ("disabled", "disabled"),
        ("revoked", "revoked"),
        ("org key", "active"),
    ]
    assert body["next_cursor"] is None
    assert not {"key", "digest", "secret"} & set(body["items"][0])


def test_list_holds_what_the_caller_may_manage(
    org_key: Issued, team_key: Issued, issue: Issue, dana: Person, project: Project, charlie: Person, alice: Person
) -> None:
    issue(dana, project, name="project key", permissions=["keys:read"])
    everything = ["project key", "team key", "org key"]
    assert names(get(org_key)) == everything
    assert names(get(team_key)) == ["project key", "team key"]
    assert names(Session(alice).get(URL)) == everything
    assert names(Session(dana).get(URL)) == ["project key"]
    assert names(Session(charlie).get(URL)) == []


def test_pages_hold_each_of_60_keys_once(issue: Issue, bob: Person, team: Team, team_key: Issued) -> None:
    wanted = [issue(bob, team, name=f"key {number}").row.name for number in range(60)]
    seen, pages = list[str](), 0
    cursor: str | None = ""
    while cursor is not None:
        response = get(team_key, query={"limit": "7"} | ({"cursor": cursor} if cursor else {}))
        seen, cursor, pages = seen + names(response), response.json()["next_cursor"], pages + 1
        issue(bob, team, name="came in between")
    assert seen == [*wanted[::-1], "team key"]
    assert pages == 9


@pytest.mark.parametrize(("limit", "held"), [(None, 50), ("1", 1), ("61", 61), ("100", 61)])
def test_page_holds_as_many_as_asked_for(
    issue: Issue, bob: Person, team: Team, team_key: Issued, limit: str | None, held: int
) -> None:
    for _ in range(60):
        issue(bob, team)
    response = get(team_key, query={"limit": limit} if limit else None)
    assert len(names(response)) == held
    assert (response.json()["next_cursor"] is None) is (held == 61)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", "9" * 400),
        ("limit", "\0"),
        ("cursor", "x"),
        ("cursor", "é"),
        ("cursor", "\0"),
        ("cursor", "AAAA"),
        ("cursor", "A" * 23),
        ("cursor", "!" * 22),
        ("cursor", "x" * 65),
        ("cursor", str(UUID(int=7))),
    ],
)
def test_query_that_makes_no_sense_is_422(team_key: Issued, field: str, value: str) -> None:
    assert bad_fields(get(team_key, query={field: value})) == [field]


@pytest.mark.parametrize("count", [1, 3, 25])
def test_list_costs_the_same_for_any_number_of_keys(
    issue: Issue, bob: Person, team: Team, team_key: Issued, count: int, django_assert_num_queries: Queries
) -> None:
    for _ in range(count):
        issue(bob, team)
    get(team_key)
    # The key, the rules, what may lead to the page, its ids, and its rows.
    with django_assert_num_queries(5):
        assert len(names(get(team_key))) == count + 1


def test_key_is_read_by_id(team_key: Issued, issued: Issued) -> None:
    body = get(team_key, f"{URL}/{issued.row.pk}").json()
    assert (body["id"], body["label"]) == (str(issued.row.pk), issued.row.label)
    assert not {"key", "digest", "secret"} & set(body)


def test_key_that_the_caller_does_not_see_is_404_in_every_way(
    team_key: Issued, org_key: Issued, issue: Issue, alice: Person, other_team: Team, charlie: Person
) -> None:
    elsewhere = issue(alice, other_team)
    for key_id in (org_key.row.pk, elsewhere.row.pk, uuid4()):
        assert refusal(get(team_key, f"{URL}/{key_id}")) == (404, "not_found")
        assert refusal(delete(team_key, key_id)) == (404, "not_found")
    for key_id in (org_key.row.pk, team_key.row.pk):
        assert refusal(Session(charlie).get(f"{URL}/{key_id}")) == (404, "not_found")
        assert refusal(Session(charlie).delete(f"{URL}/{key_id}")) == (404, "not_found")
    assert ApiKey.objects.revoked(at=NOON).count() == 0


# Revoking


def test_delete_revokes_and_the_next_call_is_refused(team_key: Issued, issued: Issued, bob: Person) -> None:
    assert get(issued, "/v1/projects").status_code == 200
    response = delete(team_key, issued.row.pk)
    assert (response.status_code, response.content) == (204, b"")
    assert refusal(get(issued, "/v1/projects")) == (401, "key_revoked")
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [Row("api_key.revoked", "update", label, "api_key", team_key.row.label)]
    assert ApiKey.objects.get(pk=issued.row.pk).revoked_by_id == bob.user.pk


def test_delete_again_is_204_and_changes_nothing(team_key: Issued, issued: Issued) -> None:
    assert delete(team_key, issued.row.pk).status_code == 204
    before = AuditEvent.objects.count()
    assert delete(team_key, issued.row.pk).status_code == 204
    assert AuditEvent.objects.count() == before
    assert events_of(issued.row) == ["api_key.created", "api_key.revoked"]


def test_key_revokes_itself_and_is_refused_from_then_on(team_key: Issued) -> None:
    assert delete(team_key, team_key.row.pk).status_code == 204
    assert refusal(delete(team_key, team_key.row.pk)) == (401, "key_revoked")


def test_developer_does_not_revoke_a_colleagues_key(issue: Issue, bob: Person, dana: Person, project: Project) -> None:
    of_bob = issue(bob, project)
    assert refusal(Session(dana).delete(f"{URL}/{of_bob.row.pk}")) == (403, "forbidden")
    assert not ApiKey.objects.get(pk=of_bob.row.pk).is_revoked


def test_delete_saves_nothing_if_its_audit_row_fails(
    team_key: Issued, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        delete(team_key, issued.row.pk)
    assert not ApiKey.objects.get(pk=issued.row.pk).is_revoked


# Who am I


def test_whoami_of_a_project_key(issue: Issue, bob: Person, project: Project) -> None:
    issued = issue(bob, project, permissions=["scan:read", "*"], environment="test", expires_at=later(days=40_000))
    response = get(issued, "/v1/whoami")
    assert response.json() == {
        "kind": "api_key",
        "organization_id": str(project.team.organization_id),
        "team_id": str(project.team_id),
        "project_id": str(project.pk),
        "issuer": {"id": str(bob.user.pk), "email": "bob@example.com"},
        "service_account": None,
        "role": "team_admin",
        "key": {
            "id": str(issued.row.pk),
            "name": "github-action-checkout-service",
            "label": issued.row.label,
            "kind": "secret",
            "scope": "project",
            "environment": "test",
            "granted": ["*", "scan:read"],
            "permissions": sorted(BUILT_IN.grantable(Role.TEAM_ADMIN)),
            "created_at": "2026-03-02T12:00:00Z",
            "expires_at": later(days=40_000).isoformat().replace("+00:00", "Z"),
        },
    }


def place_of(response: Any) -> tuple[str, str | None, str | None, str | None]:
    body = response.json()
    return body["kind"], body["team_id"], body["project_id"], body["role"]


def test_whoami_of_each_kind_of_caller(
    org_key: Issued, team_key: Issued, alice: Person, dana: Person, team: Team
) -> None:
    assert place_of(get(org_key, "/v1/whoami")) == ("api_key", None, None, "super_admin")
    assert place_of(get(team_key, "/v1/whoami")) == ("api_key", str(team.pk), None, "team_admin")
    assert place_of(Session(alice).get("/v1/whoami")) == ("user", None, None, "super_admin")
    assert place_of(Session(dana).get("/v1/whoami")) == ("user", None, None, None)
    assert Session(dana).get("/v1/whoami").json()["key"] is None


def test_whoami_takes_no_permission_and_names_the_project_it_is_narrowed_to(
    issue: Issue, alice: Person, organization: Organization, project: Project
) -> None:
    poor = issue(alice, organization, permissions=["scan:read"])
    demote(alice)
    assert get(poor, "/v1/whoami").json()["key"]["permissions"] == []
    response = get(poor, "/v1/whoami", project=str(project.pk))
    assert place_of(response)[1:3] == (str(project.team_id), str(project.pk))


# Projects


def test_team_key_lists_its_projects(
    team_key: Issued, org_key: Issued, issued: Issued, project: Project, other_project: Project
) -> None:
    assert names(get(team_key, "/v1/projects")) == ["Checkout"]
    assert names(get(issued, "/v1/projects")) == ["Checkout"]
    assert names(get(org_key, "/v1/projects")) == ["Checkout", "Deployments"]
    assert get(team_key, f"/v1/projects/{project.pk}").json() == {
        "id": str(project.pk),
        "name": "Checkout",
        "team": {"id": str(project.team_id), "name": "Payments"},
        "environments": "any",
        "archived_at": None,
        "created_at": "2026-03-02T12:00:00Z",
    }
    assert refusal(get(team_key, f"/v1/projects/{other_project.pk}")) == (404, "not_found")
    assert refusal(get(issued, f"/v1/projects/{other_project.pk}")) == (404, "not_found")
