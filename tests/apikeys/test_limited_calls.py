"""Limits where they are set, met and told: the actions, the API, the form, the key's page and the middleware."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Project, Team
from apikeys import actions, limits
from apikeys.actions import disable_key
from apikeys.limits import Limits
from apikeys.models import ApiKey
from apikeys.use_rows import REASONS
from audit import uses
from audit.models import AuditEvent, KeyUse
from keyportal.http import PROBLEMS
from tests.apikeys.audited import LogIsFull, break_the_audit_log
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import acting_as
from tests.apikeys.presented import with_secret
from tests.cast import NOON, Issued, Person, later

WHOAMI = "/v1/whoami"
TOLD = ("RateLimit-Policy", "RateLimit", "Retry-After")
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


def call(issued: Issued, path: str = WHOAMI, method: str = "get", **extra: Any) -> Any:
    return getattr(Client(), method)(path, headers=issued.headers, **extra)


def told(response: Any) -> dict[str, str]:
    return {name: response[name] for name in TOLD if name in response}


@pytest.fixture
def limited(issue: Issue, dana: Person, project: Project) -> Issued:
    return issue(dana, project, limits=Limits(per_minute=2, per_day=3))


# Calls


def test_answer_within_limits_says_what_is_left(noon: time_machine.Traveller, limited: Issued) -> None:
    response = call(limited)
    assert response.status_code == 200
    assert told(response) == {
        "RateLimit-Policy": '"minute";q=2;w=60, "day";q=3;w=86400',
        "RateLimit": '"minute";r=1;t=30, "day";r=2;t=43200',
    }


def test_call_over_the_limit_is_429_and_never_401(noon: time_machine.Traveller, limited: Issued) -> None:
    call(limited)
    call(limited)
    response = call(limited)
    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert (response.json()["code"], response.json()["title"]) == ("rate_limited", PROBLEMS["rate_limited"].title)
    assert told(response) == {
        "RateLimit-Policy": '"minute";q=2;w=60, "day";q=3;w=86400',
        "RateLimit": '"minute";r=0;t=30, "day";r=1;t=43200',
        "Retry-After": "30",
    }
    assert "WWW-Authenticate" not in response
    assert response["Cache-Control"] == "no-store"


def test_used_up_quota_lasts_until_midnight(noon: time_machine.Traveller, limited: Issued) -> None:
    for minutes in range(3):
        noon.move_to(later(minutes=minutes))
        assert call(limited).status_code == 200
    response = call(limited)
    assert (response.status_code, response.json()["code"]) == (429, "quota_exceeded")
    assert response["Retry-After"] == str(12 * 3600 - 120)
    noon.move_to(later(hours=12))
    assert call(limited).status_code == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v1/api-keys", "get", 403),
        ("/v1/nowhere", "get", 404),
        (WHOAMI, "post", 405),
        (f"/v1/projects/{UUID(int=7)}", "get", 404),
    ],
)
def test_every_answer_to_a_key_with_limits_tells_them_and_counts(
    limited: Issued, path: str, method: str, status: int
) -> None:
    responses = [call(limited, path, method) for _ in range(3)]
    assert [response.status_code for response in responses] == [status, status, 429]
    assert all(response["RateLimit-Policy"] and response["RateLimit"] for response in responses)


def test_key_that_is_refused_anyway_is_told_why_and_charged_nothing(limited: Issued) -> None:
    disable_key(api_key=limited.row, at=NOON)
    for _ in range(5):
        response = call(limited)
        assert (response.status_code, response.json()["code"]) == (401, "key_disabled")
        assert told(response) == {}
    assert len(limits.current()) == 0


def test_who_has_only_the_prefix_uses_up_nothing(limited: Issued) -> None:
    for _ in range(5):
        response: Any = Client().get(WHOAMI, headers={"Authorization": f"Bearer {with_secret(limited)}"})
        assert response.status_code == 401
        assert told(response) == {}
    assert call(limited).status_code == 200


def test_key_in_the_address_is_charged_nothing(limited: Issued) -> None:
    for _ in range(5):
        assert Client().get(WHOAMI, {"key": limited.text}).status_code == 400
    assert [call(limited).status_code for _ in range(3)] == [200, 200, 429]


def test_limit_that_is_changed_holds_from_the_next_call(noon: time_machine.Traveller, limited: Issued) -> None:
    assert [call(limited).status_code for _ in range(3)] == [200, 200, 429]
    ApiKey.objects.filter(pk=limited.row.pk).update(per_minute=None, per_day=None)
    response = call(limited)
    assert (response.status_code, told(response)) == (200, {})


def test_key_without_limits_is_told_nothing_and_counted_nowhere(
    issued: Issued, django_assert_num_queries: Queries
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("Nobody may be asked.")

    call(issued)
    limits.share(fail)
    try:
        with django_assert_num_queries(1):
            assert told(call(issued)) == {}
    finally:
        limits.share(None)
    assert len(limits.current()) == 0


def test_limited_call_costs_no_query_of_its_own(limited: Issued, django_assert_num_queries: Queries) -> None:
    call(limited)
    with django_assert_num_queries(1):
        assert call(limited).status_code == 200
    with django_assert_num_queries(1):
        assert call(limited).status_code == 429


# Records


def test_call_over_the_limit_is_a_refused_use_of_its_key(
    noon: time_machine.Traveller, limited: Issued, logbook: Logbook
) -> None:
    for _ in range(3):
        call(limited)
        noon.shift(timedelta(microseconds=1))
    uses.flush()
    found = [(use.outcome, use.is_refused, use.status, use.key_id, use.label) for use in KeyUse.objects.order_by("id")]
    key = (limited.row.pk, limited.row.label)
    assert found == [("accepted", False, 200, *key)] * 2 + [("rate_limited", True, 429, *key)]
    # Its credential is good, so it is no miss.
    assert logbook.events("api_key.auth_failed") == []


def test_call_over_the_limit_moves_no_last_use(noon: time_machine.Traveller, limited: Issued) -> None:
    call(limited)
    call(limited)
    noon.shift(10)
    assert call(limited).status_code == 429
    uses.flush()
    assert ApiKey.objects.get(pk=limited.row.pk).last_used_at == NOON


def test_flood_over_the_limit_is_recorded_in_few_rows(noon: time_machine.Traveller, limited: Issued) -> None:
    for _ in range(200):
        call(limited)
    uses.flush()
    assert sum(KeyUse.objects.values_list("count", flat=True)) == 200
    assert KeyUse.objects.count() < 100


def test_synchronous_record_of_a_refusal_is_written_before_the_answer(
    settings: Settings, noon: time_machine.Traveller, limited: Issued
) -> None:
    settings.KEYPORTAL_USE_RECORDING = "synchronous"
    statuses = [call(limited, "/v1/nowhere", "post").status_code for _ in range(3)]
    assert statuses == [404, 404, 429]
    assert [use.outcome for use in KeyUse.objects.order_by("id")] == ["not_found", "not_found", "rate_limited"]


@pytest.mark.parametrize("code", ["rate_limited", "quota_exceeded"])
def test_reason_is_told_in_words(code: str) -> None:
    assert REASONS[code].startswith("Over its")
    assert PROBLEMS[code].status == 429


# Issuing


def test_issue_key_with_limits_stores_and_records_them(dana: Person, project: Project, issue: Issue) -> None:
    issued = issue(dana, project, limits=Limits(per_second=5, per_day=1000))
    row = ApiKey.objects.get(pk=issued.row.pk)
    assert (row.per_second, row.per_minute, row.per_day) == (5, None, 1000)
    changes = AuditEvent.objects.get(target_id=str(row.pk)).changes
    assert changes["per_second"] == [None, 5]
    assert changes["per_day"] == [None, 1000]


def test_issue_key_with_limits_saves_nothing_if_the_audit_row_fails(
    dana: Person, project: Project, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        issue(dana, project, limits=Limits(per_minute=5))
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("asked", [None, Limits(per_day=5), Limits(per_minute=61), Limits(per_second=1, per_day=1000)])
def test_key_with_limits_hands_on_no_more_than_its_own(
    bob: Person, team: Team, issue: Issue, asked: Limits | None
) -> None:
    own = issue(bob, team, permissions=["keys:write", "projects:read"], limits=Limits(per_minute=60))
    with pytest.raises(actions.LimitsNotGrantable):
        _issue_with(own, team, asked)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("asked", [Limits(per_minute=60), Limits(1, 59, 5)])
def test_key_with_limits_hands_on_its_own_or_less(bob: Person, team: Team, issue: Issue, asked: Limits) -> None:
    own = issue(bob, team, permissions=["keys:write", "projects:read"], limits=Limits(per_minute=60))
    row = _issue_with(own, team, asked)
    assert (row.per_second, row.per_minute, row.per_day) == asked


def _issue_with(own: Issued, team: Team, asked: Limits | None) -> ApiKey:
    row, _key = actions.issue_key(
        principal=acting_as(own),
        name="deploy",
        place=team,
        environment="live",
        permissions=["projects:read"],
        expires_at=None,
        limits=asked,
        at=NOON,
    )
    return row


# The API


def post(issued: Issued, **members: Any) -> Any:
    body = {"name": "ci", "scope": "team", "team_id": str(issued.row.team_id), **members}
    return call(issued, "/v1/api-keys", "post", data=json.dumps(body), content_type="application/json")


@pytest.fixture
def writer(issue: Issue, bob: Person, team: Team) -> Issued:
    return issue(bob, team, permissions=["keys:read", "keys:write", "projects:read"])


def test_api_issues_a_key_with_limits_and_shows_them(writer: Issued) -> None:
    response = post(writer, per_second=10, per_minute=100, per_day=limits.MAX_LIMIT)
    assert response.status_code == 201
    shown = {name: response.json()[name] for name in Limits._fields}
    assert shown == {"per_second": 10, "per_minute": 100, "per_day": 1_000_000}
    found = call(writer, f"/v1/api-keys/{response.json()['id']}").json()
    assert {name: found[name] for name in Limits._fields} == shown


def test_api_issues_a_key_without_limits_unless_they_are_asked_for(writer: Issued) -> None:
    response = post(writer, per_minute=None)
    assert [response.json()[name] for name in Limits._fields] == [None, None, None]


@pytest.mark.parametrize("value", [0, -1, 1_000_001, 1.5, "10", True, 10**30])
@pytest.mark.parametrize("name", Limits._fields)
def test_api_refuses_what_is_no_limit(writer: Issued, name: str, value: Any) -> None:
    response = post(writer, **{name: value})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert response.json()["errors"][0]["field"].endswith(name)
    assert ApiKey.objects.count() == 1


def test_api_refuses_a_longer_time_that_allows_less(writer: Issued) -> None:
    response = post(writer, per_second=10, per_minute=9)
    assert response.status_code == 422
    message = "Give at least 10: a shorter time allows that many already."
    assert response.json()["errors"] == [{"field": "per_minute", "message": message}]


def test_api_lets_a_key_with_limits_hand_on_no_more(issue: Issue, bob: Person, team: Team) -> None:
    own = issue(bob, team, permissions=["keys:write", "projects:read"], limits=Limits(per_day=50))
    response = post(own, per_minute=10)
    assert (response.status_code, response.json()["code"]) == (403, "limits_not_grantable")
    assert post(own, per_day=50).status_code == 201


# Pages


def fill_in(project: Project, **fields: object) -> dict[str, object]:
    return {
        "issue_id": str(uuid4()),
        "name": "github-action-checkout-service",
        "scope": "project",
        "project": str(project.pk),
        "environment": "live",
        "permissions": ["projects:read"],
        "expiry": "90",
        **fields,
    }


def test_form_issues_a_key_with_limits(dana_client: Client, project: Project) -> None:
    response = dana_client.post(reverse("key-issue"), fill_in(project, per_second="", per_minute=60, per_day=1000))
    assert response.status_code == 200
    row = ApiKey.objects.get()
    assert (row.per_second, row.per_minute, row.per_day) == (None, 60, 1000)


@pytest.mark.parametrize("value", ["0", "-1", "1000001", "1.5", "many"])
def test_form_says_what_a_limit_is_and_shows_where(dana_client: Client, project: Project, value: str) -> None:
    response: Any = dana_client.post(reverse("key-issue"), fill_in(project, per_minute=value))
    assert response.status_code == 422
    assert "Give a whole number from 1 to 1,000,000." in response.text
    assert '<details class="more" open>' in response.text
    assert not ApiKey.objects.exists()


def test_form_refuses_a_longer_time_that_allows_less(dana_client: Client, project: Project) -> None:
    response: Any = dana_client.post(reverse("key-issue"), fill_in(project, per_second=10, per_day=9))
    assert response.status_code == 422
    assert "Give at least 10: a shorter time allows that many already." in response.text


def test_form_keeps_limits_closed_until_they_are_wanted(dana_client: Client, project: Project) -> None:
    response: Any = dana_client.get(reverse("key-issue"))
    assert '<details class="more">' in response.text
    response = dana_client.get(reverse("key-issue"), {"per_minute": "60"})
    assert '<details class="more" open>' in response.text
    assert 'name="per_minute" value="60"' in response.text


def test_key_page_shows_limits_where_there_are_any(
    dana_client: Client, issue: Issue, dana: Person, project: Project
) -> None:
    limited, free = issue(dana, project, limits=Limits(5, 100, 10_000)), issue(dana, project)
    page: Any = dana_client.get(reverse("key-detail", args=[limited.row.pk]))
    for text in ("Requests at most", "5 per second", "100 per minute", "10,000 per day"):
        assert text in page.text
    page = dana_client.get(reverse("key-detail", args=[free.row.pk]))
    assert "Requests at most" not in page.text


def test_strangers_see_no_limits(charlie_client: Client, limited: Issued) -> None:
    assert charlie_client.get(reverse("key-detail", args=[limited.row.pk])).status_code == 404


# Many at once


@pytest.mark.django_db(transaction=True)
def test_as_many_calls_as_allowed_are_let_in_when_all_come_at_once(
    issue: Issue, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, limits=Limits(per_day=40))
    call(issued)

    def one(_: int) -> int:
        try:
            return int(call(issued).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(one, range(160)))
    assert statuses == {200: 39, 429: 121}
