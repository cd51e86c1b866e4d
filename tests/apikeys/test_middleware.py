from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import InterfaceError, OperationalError
from django.test import Client
from pytest_django import Settings

from accounts.models import Project
from apikeys import budgets, hashing, presented, verification
from apikeys.actions import disable_key, revoke_key
from apikeys.models import ApiKey, ApiKeyQuerySet
from audit import uses
from audit.models import AuditEvent, KeyUse
from tests.apikeys.audited import Row, events_of, everything_recorded, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import leave_teams, suspend_organization
from tests.apikeys.presented import of_nobody, with_bad_checksum, with_secret
from tests.cast import NOON, Issued, Person, later

WHOAMI = "/v1/whoami"
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


def call(issued: Issued, path: str = WHOAMI, **extra: Any) -> Any:
    return Client().get(path, headers=issued.headers, **extra)


# Every verdict as an answer

ENDINGS: dict[str, Callable[[Issued, Person], object]] = {
    "key_revoked": lambda issued, _: revoke_key(principal=None, api_key=issued.row, at=NOON),
    "key_disabled": lambda issued, _: disable_key(api_key=issued.row, at=NOON),
    "issuer_gone": lambda _, dana: leave_teams(dana),
    "organization_suspended": lambda _, dana: suspend_organization(dana),
}


@pytest.mark.parametrize("code", ENDINGS)
def test_ended_key_is_told_why_on_its_very_next_call(
    noon: time_machine.Traveller, issued: Issued, dana: Person, code: str
) -> None:
    assert call(issued).status_code == 200
    ENDINGS[code](issued, dana)
    response = call(issued)
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response["WWW-Authenticate"] == 'Bearer realm="keyportal", error="invalid_token"'


def test_key_expires_at_its_moment(noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, expires_at=later(days=1))
    noon.move_to(later(days=1) - timedelta(seconds=1))
    assert call(issued).status_code == 200
    noon.move_to(later(days=1))
    response = call(issued)
    assert (response.status_code, response.json()["code"]) == (401, "key_expired")


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_database_that_is_away_is_503_and_says_when_to_come_back(
    issued: Issued, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: str, **__: object) -> None:
        raise error("gone")

    monkeypatch.setattr(presented, "read", fail)
    response = call(issued)
    assert (response.status_code, response.json()["code"]) == (503, "verification_unavailable")
    assert response["Retry-After"] == "1"
    assert "WWW-Authenticate" not in response


def test_corrupt_digest_is_503_and_never_401(issued: Issued) -> None:
    ApiKey.objects.filter(pk=issued.row.pk).update(digest="broken")
    response = call(issued)
    assert (response.status_code, response["Retry-After"]) == (503, "1")


def test_database_that_goes_away_after_the_check_is_503(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("gone")

    client = Client(raise_request_exception=False)
    assert client.get("/v1/projects", headers=issued.headers).status_code == 200
    monkeypatch.setattr("accounts.models.ProjectQuerySet.visible_to", fail)
    response: Any = client.get("/v1/projects", headers=issued.headers)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response["Retry-After"] == "1"


# What a call costs


def test_warm_call_costs_one_query(issued: Issued, django_assert_num_queries: Queries) -> None:
    call(issued)
    with django_assert_num_queries(1):
        assert call(issued).status_code == 200
    assert hashing.runs() == 1


def test_call_without_a_key_and_with_a_damaged_one_costs_no_query(
    issued: Issued, django_assert_num_queries: Queries
) -> None:
    with django_assert_num_queries(0):
        assert Client().get(WHOAMI).status_code == 401
        assert Client().get(WHOAMI, headers={"Authorization": f"Bearer {with_bad_checksum(issued)}"}).status_code == 401
    assert hashing.runs() == 0


# A key in the address


def spelled_out(text: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in text)


@pytest.mark.parametrize("spell", [str, spelled_out])
@pytest.mark.parametrize("query", ["key={}", "access_token={}&x=1", "{}", "{}=1"])
def test_key_in_the_address_is_refused_and_marked_as_exposed(
    noon: time_machine.Traveller, issued: Issued, query: str, spell: Callable[[str], str]
) -> None:
    response: Any = Client().get(f"{WHOAMI}?{query.format(spell(issued.text))}")
    assert (response.status_code, response.json()["code"]) == (400, "key_in_query")
    assert issued.key.secret not in response.text
    assert ApiKey.objects.get(pk=issued.row.pk).exposed_at == NOON
    label = issued.row.label
    assert rows_of(issued.row)[1:] == [Row("api_key.exposed", "update", label, "api_key", label)]


def test_request_that_exposes_a_key_is_on_the_keys_record(issued: Issued) -> None:
    Client().get(WHOAMI, {"key": issued.text})
    uses.flush()
    use = KeyUse.objects.get()
    assert (use.outcome, use.status, use.label, use.prefix) == (
        "key_in_query",
        400,
        issued.row.label,
        issued.row.prefix,
    )


def test_key_among_more_fields_than_anyone_sends_is_exposed_too(issued: Issued) -> None:
    response: Any = Client().get(f"{WHOAMI}?key={issued.text}{'&a' * 1100}")
    assert (response.status_code, response.json()["code"]) == (400, "key_in_query")
    assert ApiKey.objects.get().exposed_at is not None
    response = Client().get(f"{WHOAMI}?{'&a' * 1100}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    uses.flush()
    assert KeyUse.objects.count() == 2


def test_exposure_that_cannot_be_written_is_503_and_on_record(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("locked")

    monkeypatch.setattr("apikeys.actions.mark_exposed", fail)
    response: Any = Client().get(WHOAMI, {"key": issued.text})
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    uses.flush()
    assert KeyUse.objects.get().outcome == "unavailable"


def test_key_that_is_marked_is_not_written_to_again(issued: Issued, django_assert_num_queries: Queries) -> None:
    Client().get(WHOAMI, {"key": issued.text})
    with django_assert_num_queries(1):
        Client().get(WHOAMI, {"key": issued.text})


def test_exposure_is_recorded_once(noon: time_machine.Traveller, issued: Issued) -> None:
    for _ in range(3):
        Client().get(WHOAMI, {"key": issued.text})
        noon.shift(60)
    assert ApiKey.objects.get(pk=issued.row.pk).exposed_at == NOON
    assert events_of(issued.row) == ["api_key.created", "api_key.exposed"]


@pytest.mark.parametrize("path", [WHOAMI, "/v1/openapi.json", "/v1/nowhere"])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_key_in_any_address_of_the_api_is_refused(issued: Issued, path: str, method: str) -> None:
    response = getattr(Client(), method)(f"{path}?key={issued.text}", headers=issued.headers)
    assert response.status_code == 400
    assert events_of(issued.row) == ["api_key.created", "api_key.exposed"]


def test_every_key_in_the_address_is_exposed_up_to_three(issue: Issue, dana: Person, project: Project) -> None:
    keys = [issue(dana, project) for _ in range(4)]
    Client().get(f"{WHOAMI}?" + "&".join(f"key={issued.text}" for issued in keys))
    exposed = [ApiKey.objects.get(pk=issued.row.pk).exposed_at is not None for issued in keys]
    assert exposed == [True, True, True, False]
    for issued in keys[:3]:
        assert rows_of(issued.row)[-1].event == "api_key.exposed"


def test_revoked_key_in_the_address_is_exposed_too(issued: Issued) -> None:
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    Client().get(WHOAMI, {"key": issued.text})
    assert events_of(issued.row)[-1] == "api_key.exposed"


def test_nobodys_key_in_the_address_is_refused_and_nothing_is_recorded(issued: Issued) -> None:
    before = AuditEvent.objects.count()
    for text in (of_nobody(), with_secret(issued)):
        response: Any = Client().get(WHOAMI, {"key": text})
        assert (response.status_code, response.json()["code"]) == (400, "key_in_query")
    assert AuditEvent.objects.count() == before
    assert ApiKey.objects.get(pk=issued.row.pk).exposed_at is None


def test_damaged_key_in_the_address_is_no_key(issued: Issued) -> None:
    assert call(issued, f"{WHOAMI}?key={with_bad_checksum(issued)}").status_code == 200


def test_session_that_sends_a_key_in_the_address_is_refused_too(issued: Issued, alice_client: Client) -> None:
    response: Any = alice_client.get(WHOAMI, {"key": issued.text})
    assert (response.status_code, response.json()["code"]) == (400, "key_in_query")


def test_exposed_key_works_on_until_it_is_revoked(issued: Issued) -> None:
    Client().get(WHOAMI, {"key": issued.text})
    assert call(issued).status_code == 200


# Its use


def last_use(issued: Issued) -> tuple[Any, str | None]:
    uses.flush()
    row = ApiKey.objects.get(pk=issued.row.pk)
    return row.last_used_at, row.last_used_ip


def recorded() -> list[dict[str, Any]]:
    """Return what was recorded of the calls so far, oldest first, without what every record has."""
    uses.flush()
    common = ("id", "at", "route", "method", "user_agent", "address", "organization_id", "count")
    return [
        {name: value for name, value in row.items() if name not in common}
        for row in KeyUse.objects.order_by("id").values()
    ]


def test_use_is_noted_with_time_and_address(noon: time_machine.Traveller, issued: Issued) -> None:
    call(issued, REMOTE_ADDR="192.0.2.7")
    assert last_use(issued) == (NOON, "192.0.2.7")


def test_last_use_is_moved_at_most_once_a_minute(noon: time_machine.Traveller, issued: Issued) -> None:
    for seconds, noted in ((0, 0), (59, 0), (60, 60)):
        noon.move_to(later(seconds=seconds))
        call(issued, REMOTE_ADDR=f"192.0.2.{seconds}")
        assert last_use(issued) == (later(seconds=noted), f"192.0.2.{noted}")


@pytest.mark.parametrize("address", ["2001:db8::1", ""])
def test_use_from_any_kind_of_peer_is_noted(noon: time_machine.Traveller, issued: Issued, address: str) -> None:
    assert call(issued, REMOTE_ADDR=address).status_code == 200
    assert last_use(issued) == (NOON, address or None)


def test_refused_call_moves_no_last_use(issued: Issued) -> None:
    disable_key(api_key=issued.row, at=NOON)
    call(issued)
    Client().get(WHOAMI, headers={"Authorization": f"Bearer {with_secret(issued)}"})
    assert last_use(issued) == (None, None)


def test_every_call_is_one_record_that_says_how_it_ended(
    noon: time_machine.Traveller, issued: Issued, project: Project
) -> None:
    call(issued)
    call(issued, "/v1/api-keys")
    call(issued, "/v1/nowhere")
    Client().get(WHOAMI, headers={"Authorization": f"Bearer {with_secret(issued)}"})
    Client().get(WHOAMI)
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    call(issued)
    Client().get("/v1/openapi.json")
    key = {"prefix": issued.row.prefix, "label": issued.row.label, "key_id": issued.row.pk}
    stranger: dict[str, Any] = {"prefix": "", "label": "", "key_id": None}
    assert recorded() == [
        {**key, "is_refused": False, "outcome": "accepted", "status": 200},
        {**key, "is_refused": False, "outcome": "insufficient_scope", "status": 403},
        {**key, "is_refused": False, "outcome": "not_found", "status": 404},
        {**stranger, "prefix": issued.row.prefix, "is_refused": True, "outcome": "invalid_key", "status": 401},
        {**stranger, "is_refused": True, "outcome": "missing_credentials", "status": 401},
        {**key, "is_refused": True, "outcome": "key_revoked", "status": 401},
    ]


def test_record_names_the_request_and_who_sent_it(noon: time_machine.Traveller, issued: Issued) -> None:
    response = call(issued, REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="CI\x00/1.0 \x1b[31m")
    uses.flush()
    use = KeyUse.objects.get()
    assert str(use.id) == str(use.request_id) == response["X-Request-Id"]
    assert (use.at, use.method, use.route, use.address) == (NOON, "GET", "v1/whoami", "192.0.2.7")
    assert (use.user_agent, use.event, use.actor_kind) == ("CI /1.0  [31m", "api_key.use", "api_key")
    assert use.organization_id == issued.row.organization_id


def test_key_in_the_user_agent_is_cut_down_to_its_label(issued: Issued) -> None:
    call(issued, HTTP_USER_AGENT=f"curl {issued.text}")
    uses.flush()
    assert KeyUse.objects.get().user_agent == f"curl {issued.row.label}…"


def test_use_that_cannot_be_written_does_not_fail_the_call_and_is_written_later(
    issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OperationalError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(ApiKeyQuerySet, "mark_used", fail)
        assert call(issued).status_code == 200
        with pytest.raises(OperationalError, match="locked"):
            uses.flush()
    assert KeyUse.objects.count() == 0
    assert [row["outcome"] for row in recorded()] == ["accepted"]


# Recorded before it is answered


@pytest.fixture
def synchronous(settings: Settings) -> None:
    settings.KEYPORTAL_USE_RECORDING = "synchronous"


def test_synchronous_recording_writes_before_answering(synchronous: None, issued: Issued) -> None:
    call(issued)
    Client().get(WHOAMI)
    told = KeyUse.objects.order_by("id").values_list("outcome", "status")
    assert list(told) == [("accepted", 200), ("missing_credentials", 401)]


def test_call_that_cannot_be_recorded_is_503_and_does_nothing(
    synchronous: None, issue: Issue, bob: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue(bob, project, permissions=["keys:write"])

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(uses, "_write_rows", fail)
    response: Any = Client().delete(f"/v1/api-keys/{issued.row.pk}", headers=issued.headers)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert Client().get(WHOAMI).status_code == 503
    assert ApiKey.objects.get(pk=issued.row.pk).revoked_at is None
    assert events_of(issued.row) == ["api_key.created"]


def test_synchronous_change_is_on_record_before_it_is_made_and_then_with_its_end(
    synchronous: None, issue: Issue, bob: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = issue(bob, project, permissions=["keys:write"])
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "apikeys.actions.revoke_key", lambda **_: seen.extend(KeyUse.objects.values_list("outcome", "status"))
    )
    response: Any = Client().delete(f"/v1/api-keys/{issued.row.pk}", headers=issued.headers)
    assert response.status_code == 204
    assert seen == [("begun", 0)]
    assert list(KeyUse.objects.values_list("outcome", "status", "method")) == [("accepted", 204, "DELETE")]


def test_change_whose_end_cannot_be_recorded_stays_on_record_as_begun(
    synchronous: None,
    issue: Issue,
    bob: Person,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    logbook: Logbook,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("gone")

    issued = issue(bob, project, permissions=["keys:write"])
    monkeypatch.setattr(KeyUse.objects.get_queryset().__class__, "update", fail)
    response: Any = Client().delete(f"/v1/api-keys/{issued.row.pk}", headers=issued.headers)
    assert response.status_code == 204
    assert [row["outcome"] for row in recorded()] == ["begun"]
    assert len(logbook.events("uses.not_completed")) == 1


def test_call_in_the_clear_is_redirected_and_asks_browsers_to_stay_away_from_it(
    issued: Issued, settings: Settings
) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 60
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS, settings.SECURE_HSTS_PRELOAD = True, False
    response = call(issued)
    assert (response.status_code, response["Location"]) == (301, "https://testserver/v1/whoami")
    response = Client().get(WHOAMI, headers=issued.headers, secure=True)
    assert (response.status_code, response["Strict-Transport-Security"]) == (200, "max-age=60; includeSubDomains")


# Too many failures


@pytest.fixture
def few_failures(settings: Settings) -> None:
    settings.KEYPORTAL_FAILURES_PER_SOURCE = 3


def refused(text: str, **environment: str) -> Any:
    return Client().get(WHOAMI, headers={"Authorization": f"Bearer {text}"}, **environment)  # type: ignore[arg-type] # the stubs know no WSGI names


def test_source_with_too_many_failures_is_told_when_to_come_back(
    few_failures: None, issued: Issued, django_assert_num_queries: Queries
) -> None:
    for _ in range(3):
        assert refused(of_nobody()).status_code == 401
    with django_assert_num_queries(0):
        response = refused(of_nobody())
    assert (response.status_code, response.json()["code"]) == (429, "too_many_failures")
    assert 0 < int(response["Retry-After"]) <= 60
    assert refused(of_nobody(), REMOTE_ADDR="192.0.2.9").status_code == 401


def test_key_that_was_good_here_works_on_from_a_source_with_too_many_failures(
    few_failures: None, issued: Issued
) -> None:
    assert call(issued).status_code == 200
    for _ in range(5):
        refused(of_nobody())
    assert refused(of_nobody()).status_code == 429
    assert call(issued).status_code == 200


def test_holder_is_not_locked_out_of_a_process_that_never_saw_the_key(issued: Issued, settings: Settings) -> None:
    settings.KEYPORTAL_FAILURES_PER_PREFIX = 2
    assert call(issued, REMOTE_ADDR="192.0.2.7").status_code == 200
    uses.flush()
    for module in (hashing, budgets, verification):
        module.forget_all()
    for number in range(4):
        refused(with_secret(issued, f"{number}" * 26), REMOTE_ADDR=f"198.51.100.{number}")
    assert refused(issued.text, REMOTE_ADDR="198.51.100.99").status_code == 429
    assert call(issued, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_who_finds_argon2_full_is_charged_nothing(
    issued: Issued, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "check", lambda *_, **__: hashing.Check.FULL)
    for _ in range(30):
        assert call(issued).status_code == 503
    monkeypatch.undo()
    assert call(issued).status_code == 200


def test_database_that_cannot_tell_who_proved_the_key_refuses_as_before(
    issued: Issued, settings: Settings, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("gone")

    settings.KEYPORTAL_FAILURES_PER_PREFIX = 1
    monkeypatch.setattr(KeyUse.objects.get_queryset().__class__, "addresses_let_in", fail)
    refused(with_secret(issued))
    assert refused(issued.text, REMOTE_ADDR="198.51.100.99").status_code == 429
    assert len(logbook.events("verification.records_failed")) == 1


def test_revoked_key_in_a_loop_costs_no_query_and_is_told_why(
    issued: Issued, django_assert_num_queries: Queries
) -> None:
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    call(issued)
    with django_assert_num_queries(0):
        response: Any = call(issued)
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")


# What is logged


def test_every_call_with_a_key_logs_its_prefix(issued: Issued, logbook: Logbook) -> None:
    call(issued)
    [line] = logbook.events("request")
    assert {name: line[name] for name in ("method", "route", "status", "prefix", "address")} == {
        "method": "GET",
        "route": "v1/whoami",
        "status": 200,
        "prefix": issued.row.prefix,
        "address": "127.0.0.1",
    }


def test_every_miss_logs_why_and_the_prefix(issued: Issued, logbook: Logbook) -> None:
    revoked = with_secret(issued)
    for header in (f"Bearer {revoked}", f"Bearer {with_bad_checksum(issued)}", "Basic YTpi", "Bearer a, Bearer b"):
        Client().get(WHOAMI, headers={"Authorization": header})
    told = [(line["code"], line["prefix"]) for line in logbook.events("api_key.auth_failed")]
    assert told == [
        ("invalid_key", issued.row.prefix),
        ("invalid_key", ""),
        ("missing_credentials", ""),
        ("invalid_request", ""),
    ]
    assert len(logbook.events("request")) == 4


def test_exposure_is_logged(issued: Issued, logbook: Logbook) -> None:
    Client().get(WHOAMI, {"key": issued.text})
    [line] = logbook.events("api_key.exposed")
    assert (line["prefix"], line["code"], line["level"]) == (issued.row.prefix, "accepted", "warning")


def test_no_line_ever_holds_a_key(issued: Issued, logbook: Logbook) -> None:
    wrong = with_secret(issued, "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji")
    for text in (issued.text, wrong, with_bad_checksum(issued), issued.text[:-3], f'"{issued.text}"'):
        for header in (f"Bearer {text}", f"Basic {text}", text, f"Bearer {text}, Bearer {text}"):
            Client().get(f"/v1/{text}?key={text}", headers={"Authorization": header})
            Client().get(f"/v1/projects/{text}", headers={"Authorization": header, "X-Project-Id": text})
    assert len(logbook.events("request")) == 40
    for secret in (issued.key.secret, "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji"):
        for part in (secret, secret[:16], secret[-16:-6]):
            assert part not in logbook.text
            assert part not in everything_recorded()


# Who acts


def test_audit_rows_of_a_call_name_the_key_the_request_and_the_address(
    issue: Issue, bob: Person, project: Project
) -> None:
    issued = issue(bob, project, permissions=["keys:write"])
    response = Client().post(
        "/v1/api-keys",
        {"name": "child", "scope": "project", "permissions": ["keys:write"]},
        content_type="application/json",
        headers=issued.headers,
        REMOTE_ADDR="192.0.2.9",
    )
    assert response.status_code == 201
    row = AuditEvent.objects.latest("id")
    assert (row.actor_kind, row.actor_id, row.actor_label) == ("api_key", issued.row.pk, issued.row.label)
    assert (row.issuer_id, row.issuer_label) == (bob.user.pk, "bob@example.com")
    assert (row.request_id, row.address) == (response["X-Request-Id"], "192.0.2.9")
