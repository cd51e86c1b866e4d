"""The uses of a key, as its page and the API tell of them."""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.test import Client
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, Team
from apikeys import demo, use_rows
from apikeys.actions import revoke_key
from apikeys.models import ApiKey
from apikeys.verification import Outcome
from audit import uses
from audit.models import KeyUse, KeyUseHour
from audit.uses import SINGLE_REFUSALS, Use
from keyportal.api import api
from keyportal.http import PROBLEMS
from tests.apikeys.presented import with_secret
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
SignIn = Callable[[Person], Client]
FRAGMENT = {"HX-Request": "true"}


def use_of(issued: Issued, at: datetime = NOON, **said: Any) -> Use:
    known: dict[str, Any] = {
        "id": uuid7(nanoseconds=int(at.timestamp() * 1e9)),
        "outcome": "accepted",
        "is_refused": False,
        "status": 200,
        "prefix": issued.row.prefix,
        "key_id": issued.row.pk,
        "label": issued.row.label,
        "organization_id": issued.row.organization_id,
        "method": "GET",
        "route": "v1/api-keys/<uuidstr:key_id>",
        "address": "192.0.2.7",
        "user_agent": "curl/8.14.1",
    }
    return Use(at=at, **known | said)


def refusal_of(issued: Issued, at: datetime = NOON, **said: Any) -> Use:
    known = {"outcome": "invalid_key", "is_refused": True, "status": 401, "key_id": None, "label": ""}
    return use_of(issued, at, **known | said)


def write(*some: Use) -> None:
    for use in some:
        uses.record(use)
    uses.flush()


def page_of(issued: Issued) -> str:
    return f"/keys/{issued.row.pk}/"


def uses_page_of(issued: Issued) -> str:
    return f"/keys/{issued.row.pk}/uses/"


def shown(response: Any) -> list[str]:
    return [row.use.user_agent for row in response.context["uses"]]


# What requests leave


def test_requests_are_there_once_they_are_written(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client
) -> None:
    agent = {"User-Agent": "deploy-bot/1"}
    Client().get("/v1/whoami", headers=issued.headers | agent)
    Client().get("/v1/audit-events", headers=issued.headers | agent)
    Client().get("/v1/nothing", headers=issued.headers | agent)
    Client().get("/v1/whoami", headers={"Authorization": f"Bearer {with_secret(issued)}"} | agent)
    uses.flush()
    response: Any = dana_client.get(page_of(issued))
    rows = [(row.request, row.use.status, row.answer, row.user_agent) for row in response.context["uses"]]
    assert rows == [
        ("GET /v1/whoami", 401, "Wrong secret", "deploy-bot/1"),
        ("GET an address that there is not", 404, PROBLEMS["not_found"].title, "deploy-bot/1"),
        ("GET /v1/audit-events", 403, PROBLEMS["insufficient_scope"].title, "deploy-bot/1"),
        ("GET /v1/whoami", 200, "", "deploy-bot/1"),
    ]
    # Which it says beside them, as before.
    api_key = response.context["row"].api_key
    assert (api_key.last_used_at, api_key.last_used_ip) == (NOON, "127.0.0.1")
    assert response.context["totals"] == (3, 1, 3, 1)
    listed: Any = dana_client.get("/integrations/")
    [row] = listed.context["rows"]
    assert row.api_key.last_used_at == NOON


def test_revoked_key_that_is_still_sent_is_seen(
    noon: time_machine.Traveller, issued: Issued, dana: Person, dana_client: Client
) -> None:
    Client().get("/v1/whoami", headers=issued.headers)
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    Client().get("/v1/whoami", headers=issued.headers)
    uses.flush()
    response: Any = dana_client.get(page_of(issued))
    assert [row.answer for row in response.context["uses"]] == ["The key was revoked", ""]
    assert response.context["totals"] == (1, 1, 1, 1)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_verdict_has_words_for_the_owner(issued: Issued, outcome: Outcome) -> None:
    row = use_rows.use_row(KeyUse(outcome=outcome.value))
    assert bool(row.answer) is (outcome is not Outcome.ACCEPTED)
    assert "_" not in row.answer


def test_outcome_of_a_later_version_is_shown_by_its_code() -> None:
    assert use_rows.use_row(KeyUse(outcome="key_asleep")).answer == "key_asleep"


# The key's page


def test_key_page_shows_the_ten_newest(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client, issue: Issue, dana: Person, project: Project
) -> None:
    other = issue(dana, project, name="other")
    write(*(use_of(issued, later(minutes=number), user_agent=f"bot/{number}") for number in range(12)))
    write(use_of(other, later(hours=1), user_agent="other/1"))
    response: Any = dana_client.get(page_of(issued))
    assert shown(response) == [f"bot/{number}" for number in range(11, 1, -1)]
    assert f'href="{uses_page_of(issued)}"' in response.text
    assert "GET /v1/api-keys/{key_id}" in response.text


def test_key_page_counts_a_day_and_a_month(
    noon: time_machine.Traveller, issued: Issued, issue: Issue, dana: Person, project: Project, dana_client: Client
) -> None:
    other = issue(dana, project, name="other")
    hours = {
        0: (1200, 7),
        23: (34, 0),
        24: (5, 1),
        24 * 30 - 1: (1, 0),
        24 * 30: (1000, 1000),
    }
    for ago, (let_in, refused) in hours.items():
        for key_id, factor in ((issued.row.pk, 1), (other.row.pk, 3)):
            KeyUseHour.objects.create(
                key_id=key_id, hour=later(hours=-ago), uses=let_in * factor, refusals=refused * factor
            )
    write(use_of(issued, later(minutes=10)))
    noon.move_to(later(minutes=30))
    response: Any = dana_client.get(page_of(issued))
    assert response.context["totals"] == (1235, 7, 1241, 8)
    for text in ("1,235 accepted", "7 refused", "1,241 accepted", "8 refused"):
        assert text in response.text


def test_key_that_was_not_used_says_so(issued: Issued, dana_client: Client) -> None:
    for path in (page_of(issued), uses_page_of(issued)):
        response: Any = dana_client.get(path)
        assert response.context["uses"] == []
        assert "Not used yet" in response.text
    assert uses_page_of(issued) not in dana_client.get(page_of(issued)).content.decode()


def test_key_whose_uses_were_removed_does_not_say_that_it_was_never_used(issued: Issued, dana_client: Client) -> None:
    write(use_of(issued))
    KeyUse.objects.all().delete()
    for path in (page_of(issued), uses_page_of(issued), f"{uses_page_of(issued)}?outcome=accepted"):
        text = dana_client.get(path).content.decode()
        assert "No use is on record any more" in text
        assert "Not used yet" not in text


def test_several_refusals_are_one_row_with_their_number(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client
) -> None:
    write(*(refusal_of(issued, later(seconds=number)) for number in range(SINGLE_REFUSALS + 30)))
    response: Any = dana_client.get(uses_page_of(issued))
    many = next(row for row in response.context["uses"] if row.use.count > 1)
    assert (many.use.count, many.request, many.answer) == (30, "", "Wrong secret")
    assert "×30" in response.text
    assert "Requests within one minute" in response.text


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('"><img src=x onerror=alert(1)>', "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"),
        ("curl/8\u202egnp.exe", '<bdi class="break">curl/8\ufffdgnp.exe</bdi>'),
        ("a\u2066b\u200bc\u2028d", "a\ufffdb\ufffdc\ufffdd"),
        ("{{ request.user.email }}", "{{ request.user.email }}"),
    ],
    ids=ascii,
)
def test_what_a_client_calls_itself_is_shown_as_text(issued: Issued, dana_client: Client, sent: str, seen: str) -> None:
    write(use_of(issued, user_agent=sent, method="G\u202eT"))
    for path in (page_of(issued), uses_page_of(issued)):
        text = dana_client.get(path).content.decode()
        assert seen in text
        assert "\u202e" not in text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_pages_are_not_kept(issued: Issued, dana_client: Client) -> None:
    for path in (page_of(issued), uses_page_of(issued)):
        assert "no-store" in dana_client.get(path)["Cache-Control"]


@pytest.mark.parametrize("path", [page_of, uses_page_of])
def test_pages_cost_the_same_for_any_number_of_uses(
    noon: time_machine.Traveller,
    issued: Issued,
    bob: Person,
    sign_in_as: SignIn,
    django_assert_num_queries: Queries,
    path: Callable[[Issued], str],
) -> None:
    client = sign_in_as(bob)
    queries = 9 if path is page_of else 6
    for count in (1, 3):
        write(*(use_of(issued, later(minutes=number)) for number in range(KeyUse.objects.count(), count)))
        with django_assert_num_queries(queries):
            response: Any = client.get(path(issued))
        assert len(response.context["uses"]) == count


# All uses


def test_all_uses_are_page_or_fragment(issued: Issued, dana_client: Client) -> None:
    write(use_of(issued))
    page: Any = dana_client.get(uses_page_of(issued))
    assert page.templates[0].name == "apikeys/key_uses.html"
    assert "HX-Request" in page["Vary"]
    fragment: Any = dana_client.get(uses_page_of(issued), headers=FRAGMENT)
    assert fragment.templates[0].name == "apikeys/_use_pages.html"
    assert "<html" not in fragment.text
    assert "curl/8.14.1" in fragment.text


@pytest.mark.parametrize("path", [page_of, uses_page_of])
def test_stranger_sees_no_uses(
    issued: Issued, charlie_client: Client, dana: Person, other_project: Project, path: Callable[[Issued], str]
) -> None:
    write(use_of(issued))
    for headers in ({}, FRAGMENT):
        response = charlie_client.get(path(issued), headers=headers)
        assert response.status_code == 404
        assert "curl/8.14.1" not in response.content.decode()


def test_pages_of_uses_follow_each_other(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apikeys.views.detail.USES_A_PAGE", 2)
    write(*(use_of(issued, later(minutes=number), user_agent=f"bot/{number}") for number in range(5)))
    response: Any = dana_client.get(uses_page_of(issued))
    assert (shown(response), response.context["newest_url"]) == (["bot/4", "bot/3"], "")
    # What comes meanwhile shifts nothing.
    write(use_of(issued, later(hours=1), user_agent="new"))
    second: Any = dana_client.get(response.context["older_url"])
    assert (shown(second), second.context["newest_url"]) == (["bot/2", "bot/1"], uses_page_of(issued))
    third: Any = dana_client.get(second.context["older_url"])
    assert (shown(third), third.context["older_url"]) == (["bot/0"], "")
    assert shown(dana_client.get(third.context["newest_url"])) == ["new", "bot/4"]


@pytest.mark.parametrize(("outcome", "found"), [("", ["bad", "good"]), ("accepted", ["good"]), ("refused", ["bad"])])
def test_tabs_show_what_was_let_in_or_refused(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client, outcome: str, found: list[str]
) -> None:
    write(use_of(issued, user_agent="good"), refusal_of(issued, later(seconds=1), user_agent="bad"))
    response: Any = dana_client.get(uses_page_of(issued), {"outcome": outcome} if outcome else {})
    assert shown(response) == found
    assert [title for title, _, is_current in response.context["tabs"] if is_current] == [outcome.title() or "All"]


def test_tab_goes_along_from_page_to_page(
    noon: time_machine.Traveller, issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apikeys.views.detail.USES_A_PAGE", 1)
    for number in range(2):
        write(
            refusal_of(issued, later(minutes=number), user_agent=f"bad/{number}"),
            use_of(issued, later(minutes=number, seconds=1)),
        )
    response: Any = dana_client.get(uses_page_of(issued), {"outcome": "refused"})
    older: Any = dana_client.get(response.context["older_url"])
    assert (shown(response), shown(older)) == (["bad/1"], ["bad/0"])
    assert older.context["newest_url"] == f"{uses_page_of(issued)}?outcome=refused"


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({"outcome": "refused"}, 200, "No refusals on record"),
        ({"outcome": "accepted"}, 200, "Never let in"),
        ({"before": "01900000-0000-7000-8000-000000000000"}, 200, "No older uses"),
        ({"before": "1 OR 1=1"}, 422, "There is no such page of uses"),
        ({"outcome": "everything"}, 422, "There is no such page of uses"),
    ],
)
def test_page_with_nothing_on_it_says_why(
    issued: Issued, dana_client: Client, query: dict[str, str], status: int, says: str
) -> None:
    response: Any = dana_client.get(uses_page_of(issued), query)
    assert (response.status_code, response.context["uses"]) == (status, [])
    assert says in response.text


# The API


@pytest.fixture
def reader(issue: Issue, bob: Person, team: Team) -> Issued:
    """A team key that may read keys."""
    return issue(bob, team, permissions=["keys:read"], name="reader")


def asked(caller: Issued, key_id: UUID, **query: str) -> Any:
    return Client().get(f"/v1/api-keys/{key_id}/uses", query, headers=caller.headers)


def agents(response: Any) -> list[str]:
    return [item["user_agent"] for item in response.json()["items"]]


def test_api_tells_all_about_a_use(reader: Issued, issued: Issued) -> None:
    use = use_of(issued)
    write(use)
    response = asked(reader, issued.row.pk)
    assert response["Cache-Control"] == "no-store"
    assert response.json() == {
        "items": [
            {
                "id": str(use.id),
                "at": "2026-03-02T12:00:00Z",
                "event": "api_key.use",
                "actor_kind": "api_key",
                "key_id": str(issued.row.pk),
                "label": issued.row.label,
                "prefix": issued.row.prefix,
                "outcome": "accepted",
                "method": "GET",
                "route": "/v1/api-keys/{key_id}",
                "status": 200,
                "address": "192.0.2.7",
                "user_agent": "curl/8.14.1",
                "request_id": str(use.id),
                "count": 1,
            }
        ],
        "next_cursor": None,
    }


def test_api_tells_of_refusals_and_how_many_a_row_stands_for(reader: Issued, issued: Issued) -> None:
    write(*(refusal_of(issued, later(seconds=number)) for number in range(SINGLE_REFUSALS + 5)))
    items = asked(reader, issued.row.pk).json()["items"]
    assert use_rows.totals(issued.row, at=later(minutes=1)).day_refusals == SINGLE_REFUSALS + 5
    [many] = [item for item in items if item["count"] > 1]
    known = ("event", "outcome", "prefix", "label", "method", "route", "user_agent", "request_id", "count", "at")
    assert {name: many[name] for name in known} == {
        "event": "api_key.auth_failed",
        "outcome": "invalid_key",
        "prefix": issued.row.prefix,
        "label": "",
        "method": "",
        "route": "",
        "user_agent": "",
        "request_id": None,
        "count": 5,
        "at": "2026-03-02T12:00:00Z",
    }
    assert sum(item["count"] for item in items) == SINGLE_REFUSALS + 5


def test_api_holds_the_request_id_that_the_answer_had(reader: Issued, issued: Issued) -> None:
    first = Client().get("/v1/whoami", headers=issued.headers)
    refused = Client().get("/v1/whoami", headers={"Authorization": f"Bearer {with_secret(issued)}"})
    uses.flush()
    items = asked(reader, issued.row.pk).json()["items"]
    assert [item["request_id"] for item in items] == [refused["X-Request-Id"], first["X-Request-Id"]]


def test_api_has_pages_that_what_comes_does_not_shift(reader: Issued, issued: Issued) -> None:
    write(*(use_of(issued, later(minutes=number), user_agent=f"bot/{number}") for number in range(5)))
    first = asked(reader, issued.row.pk, limit="2")
    write(use_of(issued, later(hours=1), user_agent="new"))
    second = asked(reader, issued.row.pk, limit="2", cursor=first.json()["next_cursor"])
    third = asked(reader, issued.row.pk, limit="2", cursor=second.json()["next_cursor"])
    assert [agents(page) for page in (first, second, third)] == [["bot/4", "bot/3"], ["bot/2", "bot/1"], ["bot/0"]]
    assert third.json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["last", "bad", "good"]),
        ({"outcome": ""}, ["last", "bad", "good"]),
        ({"outcome": "accepted"}, ["last", "good"]),
        ({"outcome": "refused"}, ["bad"]),
        ({"since": "2026-03-02T12:01:00Z"}, ["last", "bad"]),
        ({"until": "2026-03-02T12:01:00Z"}, ["good"]),
        ({"since": "2026-03-02T13:01:00+01:00", "until": "2026-03-02T12:02:00Z"}, ["bad"]),
        ({"since": "2026-03-02T12:01:00Z", "outcome": "accepted"}, ["last"]),
        ({"since": "2030-01-01T00:00:00Z"}, []),
    ],
)
def test_api_filters_by_time_and_outcome(
    reader: Issued, issued: Issued, query: dict[str, str], found: list[str]
) -> None:
    write(
        use_of(issued, user_agent="good"),
        refusal_of(issued, later(minutes=1), user_agent="bad"),
        use_of(issued, later(minutes=2), user_agent="last"),
    )
    assert agents(asked(reader, issued.row.pk, **query)) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "x"),
        ("cursor", "x"),
        ("cursor", "x" * 65),
        ("cursor", base64.urlsafe_b64encode(b"short").decode()),
        ("since", "yesterday"),
        ("since", "2026-03-02T12:00:00"),
        ("until", "0001-01-01T00:00:00Z"),
        ("until", "9999-12-31T23:59:59Z"),
        ("outcome", "all"),
    ],
)
def test_api_names_the_query_that_makes_no_sense(reader: Issued, issued: Issued, name: str, value: str) -> None:
    response = asked(reader, issued.row.pk, **{name: value})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in response.json()["errors"]] == [name]


@pytest.mark.parametrize("limit", ["1", "100"])
def test_api_takes_limits_to_their_ends(reader: Issued, issued: Issued, limit: str) -> None:
    assert asked(reader, issued.row.pk, limit=limit).status_code == 200


def test_api_needs_the_permission(issue: Issue, bob: Person, team: Team, issued: Issued) -> None:
    caller = issue(bob, team, permissions=["projects:read"])
    response = asked(caller, issued.row.pk)
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert "keys:read" in response.json()["detail"]


def test_api_tells_nothing_of_keys_that_the_caller_does_not_see(
    issue: Issue, bob: Person, alice: Person, charlie: Person, reader: Issued, project: Project, other_team: Team
) -> None:
    elsewhere = issue(charlie, Organization.objects.get(name="Elsewhere"))
    of_other_team = issue(alice, other_team)
    of_project = issue(bob, project, permissions=["keys:read"])
    write(*(use_of(each) for each in (elsewhere, of_other_team, reader)))
    for caller, key_id in (
        (reader, elsewhere.row.pk),
        (reader, of_other_team.row.pk),
        (reader, uuid4()),
        (of_project, reader.row.pk),
    ):
        response = asked(caller, key_id)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_api_answers_a_browser_of_a_member(issued: Issued, dana: Person, charlie: Person) -> None:
    write(use_of(issued))
    path = f"/v1/api-keys/{issued.row.pk}/uses"
    assert agents(Session(dana).get(path)) == ["curl/8.14.1"]
    assert Session(charlie).get(path).status_code == 404


def test_api_costs_the_same_for_any_number_of_uses(
    reader: Issued, issued: Issued, django_assert_num_queries: Queries
) -> None:
    asked(reader, issued.row.pk)
    for numbers in ([0], [1, 2]):
        write(*(use_of(issued, later(minutes=number)) for number in numbers))
        with django_assert_num_queries(3):
            assert len(asked(reader, issued.row.pk).json()["items"]) == numbers[-1] + 1


def test_api_documents_its_answers() -> None:
    operation = api.get_openapi_schema()["paths"]["/v1/api-keys/{key_id}/uses"]["get"]
    assert operation["operationId"] == "list_api_key_uses"
    assert set(map(str, operation["responses"])) == {"200", "400", "401", "403", "404", "422", "429", "503"}
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "key_id",
        "limit",
        "cursor",
        "outcome",
        "since",
        "until",
    ]


# The demo


def test_demo_shows_uses_of_its_keys(db: None) -> None:
    now = datetime.now(NOON.tzinfo)
    demo.seed(now)
    assert uses._recorder.waiting() == 0
    busy = ApiKey.objects.get(name="github-action-checkout-service")
    totals = use_rows.totals(busy, at=now)
    assert 30 <= totals.day_uses <= totals.month_uses <= 150
    newest = use_rows.uses_of(busy)[0]
    assert busy.last_used_at == newest.at == now - timedelta(days=0.01)
    assert busy.last_used_ip == newest.address
    revoked = ApiKey.objects.get(name="dana-laptop")
    assert revoked.revoked_at
    assert use_rows.uses_of(revoked)[0].outcome == "key_revoked"
    # None before its key was there, after its end, or yet to come.
    for api_key in ApiKey.objects.all():
        found = list(use_rows.uses_of(api_key))
        assert bool(found) is (api_key.last_used_at is not None)
        assert all(api_key.created_at <= use.at <= now for use in found)
        ended = api_key.revoked_at or api_key.expires_at
        assert not [use for use in found if ended and use.at >= ended and not use.is_refused]
    assert KeyUse.objects.filter(count__gt=1).get().outcome == "invalid_key"
