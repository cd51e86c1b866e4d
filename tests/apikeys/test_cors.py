"""What a web page may read of the answers to its calls: of marked endpoints, with a publishable key, and no more."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django.http import HttpRequest
from django.test import Client
from ninja import NinjaAPI

from accounts.models import Project
from apikeys import actions, cors
from apikeys.limits import Limits
from apikeys.models import ApiKey, ApiKeyQuerySet
from audit import uses
from audit.models import KeyUse
from keyportal.api import api
from keyportal.dispatch import _open_methods, open_to_pages
from tests.apikeys.logbook import Logbook
from tests.apikeys.presented import of_nobody, with_bad_checksum, with_secret
from tests.cast import NOON, Issued, Person, later
from tests.test_sweeps import PATHS, filled_in

WHOAMI = "/v1/whoami"
PAGE, OTHER = "https://shop.example.com", "https://other.example.com"
ASKED = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
# What pages may call today. An endpoint is added here when it is marked, and to docs/browser-keys.md.
OPEN = {("GET", "v1/whoami")}
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]


@pytest.fixture
def published(issue: Issue, dana: Person, project: Project) -> Issued:
    """A publishable key for the pages of one origin."""
    return issue(dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE])


def call(issued: Issued | None, origin: str | None = PAGE, path: str = WHOAMI, **headers: str) -> Any:
    sent = (issued.headers if issued else {}) | ({"Origin": origin} if origin else {}) | headers
    return Client().get(path, headers=sent)


def ask(path: str = WHOAMI, origin: str = PAGE, **headers: str) -> Any:
    return Client().options(path, headers={"Origin": origin, **ASKED, **headers})


def told(response: Any) -> dict[str, str]:
    """Return what a response tells of pages."""
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}


def assert_readable(response: Any) -> None:
    assert told(response) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Expose-Headers": (
            "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Key-Expires, Sunset"
        ),
    }
    assert response["Vary"] == "Origin"


# A publishable key


def test_page_of_an_allowed_origin_reads_the_answer(published: Issued) -> None:
    response = call(published)
    assert (response.status_code, response.json()["key"]["label"]) == (200, published.row.label)
    assert response.json()["issuer"] is None
    assert_readable(response)


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "http://shop.example.com",
        "https://shop.example.com:8443",
        "https://shop.example.com.evil.example",
        "https://SHOP.example.com",
        f"{PAGE}/",
        f"{PAGE}, {OTHER}",
        f"{PAGE} {OTHER}",
        "*",
    ],
)
def test_page_of_any_other_origin_is_refused_and_reads_nothing(published: Issued, origin: str) -> None:
    response = call(published, origin)
    assert (response.status_code, response.json()["code"]) == (403, "origin_not_allowed")
    assert told(response) == {}
    assert ApiKey.objects.get().in_browser_at is None


def test_refusal_for_its_origin_is_on_the_keys_record(published: Issued, dana_client: Client) -> None:
    call(published, OTHER)
    uses.flush()
    use = KeyUse.objects.get()
    assert (use.outcome, use.status, use.is_refused, use.key_id) == (
        "origin_not_allowed",
        403,
        True,
        published.row.pk,
    )
    text = dana_client.get(f"/keys/{published.row.pk}/uses/").content.decode()
    assert "From a page whose origin it does not allow" in text


def test_key_without_origins_is_for_no_page(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[])
    assert call(issued).json()["code"] == "origin_not_allowed"


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
def test_publishable_key_without_an_origin_is_let_in(published: Issued, headers: dict[str, str]) -> None:
    response = call(published, None, **headers)
    assert response.status_code == 200
    assert told(response) == {}


def test_page_reads_when_its_key_ends(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(
        dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE], expires_at=later(days=36_500)
    )
    response = call(issued)
    assert "Key-Expires" in response.headers
    assert_readable(response)


# Refusals that a page can read


def test_page_reads_that_its_key_was_revoked_disabled_or_expired(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project
) -> None:
    def made(**changes: Any) -> Issued:
        return issue(dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE], **changes)

    revoked, expired = made(), made(expires_at=later(days=1))
    actions.revoke_key(principal=None, api_key=revoked.row, at=NOON)
    noon.move_to(later(days=2))
    for issued, code in ((revoked, "key_revoked"), (expired, "key_expired")):
        response = call(issued)
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert_readable(response)


def test_page_reads_that_it_asked_too_often_and_when_to_come_back(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(
        dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE], limits=Limits(per_minute=1)
    )
    assert call(issued).status_code == 200
    response = call(issued)
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert response["Retry-After"]
    assert_readable(response)


def test_call_from_a_page_that_may_not_counts_against_no_limit(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(
        dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE], limits=Limits(per_minute=1)
    )
    for _ in range(3):
        assert call(issued, OTHER).status_code == 403
    assert call(issued).status_code == 200


def test_page_of_a_known_origin_reads_that_its_key_is_wrong(published: Issued) -> None:
    for text in (of_nobody(), with_secret(published), with_bad_checksum(published), "nonsense"):
        headers = {"Authorization": f"Bearer {text}", "Origin": PAGE}
        response: Any = Client().get(WHOAMI, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_key")
        assert_readable(response)
        assert told(Client().get(WHOAMI, headers=headers | {"Origin": OTHER})) == {}


def test_page_of_a_known_origin_reads_that_it_sent_no_key(published: Issued) -> None:
    response = call(None)
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")
    assert_readable(response)


def test_page_never_reads_an_answer_about_a_secret_key(published: Issued, issued: Issued) -> None:
    response = call(issued)
    assert response.json()["code"] == "secret_key_in_browser"
    assert told(response) == {}
    actions.revoke_key(principal=None, api_key=issued.row, at=NOON)
    response = call(issued)
    assert response.json()["code"] == "key_revoked"
    assert told(response) == {}


def test_session_is_shared_with_no_page(published: Issued, alice_client: Client) -> None:
    response: Any = alice_client.get(WHOAMI, headers={"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    assert told(response) == {}
    response = alice_client.options(WHOAMI, headers={"Origin": PAGE} | ASKED)
    assert told(response) == {}


# Preflights


def test_preflight_of_an_allowed_origin_is_answered(published: Issued) -> None:
    response = ask()
    assert (response.status_code, response.content) == (204, b"")
    assert told(response) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
        "Access-Control-Max-Age": "600",
    }
    assert response["Vary"] == "Origin"
    assert "Content-Type" not in response.headers
    assert response["X-Content-Type-Options"] == "nosniff"


def test_preflight_leaves_no_record(published: Issued) -> None:
    ask()
    uses.flush()
    assert not KeyUse.objects.exists()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (WHOAMI, {"Origin": OTHER}),
        (WHOAMI, {"Origin": "null"}),
        (WHOAMI, {"Access-Control-Request-Method": "POST"}),
        (WHOAMI, {"Access-Control-Request-Method": "get"}),
        (WHOAMI, {"Access-Control-Request-Method": ""}),
        ("/v1/projects", {}),
        ("/v1/api-keys", {}),
        ("/v1/nowhere", {}),
    ],
)
def test_any_other_preflight_is_answered_as_any_call_without_a_key(
    published: Issued, path: str, headers: dict[str, str]
) -> None:
    response = ask(path, **headers)
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")
    assert told(response) == {}


def test_question_that_comes_with_a_key_is_no_preflight(published: Issued) -> None:
    response = ask(**published.headers)
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert told(response) == {}


def test_preflight_with_a_key_in_the_address_is_refused_and_marks_it(issued: Issued, published: Issued) -> None:
    response = ask(f"{WHOAMI}?key={issued.text}")
    assert (response.status_code, response.json()["code"]) == (400, "key_in_query")
    assert ApiKey.objects.get(pk=issued.row.pk).exposed_at is not None


ENDINGS: dict[str, Callable[[Issued], object]] = {
    "revoked": lambda issued: actions.revoke_key(principal=None, api_key=issued.row, at=NOON),
    "disabled": lambda issued: ApiKey.objects.filter(pk=issued.row.pk).update(disabled_at=NOON),
    "expired": lambda issued: ApiKey.objects.filter(pk=issued.row.pk).update(expires_at=later(seconds=1)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_origins_of_keys_that_are_not_good_are_not_known(published: Issued, ending: str) -> None:
    ENDINGS[ending](published)
    assert told(ask()) == {}


def test_origins_of_secret_keys_are_not_known(issued: Issued) -> None:
    ApiKey.objects.filter(pk=issued.row.pk).update(allowed_origins=[PAGE])
    assert told(ask()) == {}


# What the origins cost


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock by which origins are read again."""
    now = [1000.0]
    monkeypatch.setattr("apikeys.cors.monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_origins_are_read_once_in_five_seconds_whoever_asks(
    published: Issued, clock: Callable[[float], None], django_assert_num_queries: Queries
) -> None:
    with django_assert_num_queries(1):
        for number in range(20):
            ask(origin=f"https://{number}.example.com")
            ask()
    clock(4.9)
    with django_assert_num_queries(0):
        assert ask().status_code == 204
    clock(0.2)
    with django_assert_num_queries(1):
        assert ask().status_code == 204


def test_new_key_is_known_within_five_seconds(
    issue: Issue, dana: Person, project: Project, clock: Callable[[float], None]
) -> None:
    assert ask().status_code == 401
    issue(dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE])
    assert ask().status_code == 401
    clock(5)
    assert ask().status_code == 204


def test_origins_that_cannot_be_read_are_as_they_were(
    published: Issued, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("gone")

    assert ask().status_code == 204
    monkeypatch.setattr(ApiKeyQuerySet, "live_origins", fail)
    clock(5)
    assert ask().status_code == 204
    assert ask().status_code == 204
    [line] = logbook.events("cors.origins_not_read")
    assert line["reason"] == "OperationalError"


def test_more_origins_than_are_read_are_logged(
    issue: Issue, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    monkeypatch.setattr(cors, "MOST_LISTS", 2)
    for number in range(3):
        origins = [f"https://{number}.example.com"]
        issue(dana, project, kind="publishable", permissions=[], allowed_origins=origins)
    known = [ask(origin=f"https://{number}.example.com").status_code for number in range(3)]
    assert sorted(known) == [204, 204, 401]
    assert len(logbook.events("cors.too_many_origins")) == 1


def test_same_list_of_many_keys_is_read_once(issue: Issue, dana: Person, project: Project) -> None:
    for _ in range(3):
        issue(dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE, OTHER])
    assert ApiKey.objects.live_origins(at=NOON, most=10) == [[PAGE, OTHER]]


def test_who_comes_while_origins_are_read_goes_by_the_last_ones(
    published: Issued, clock: Callable[[float], None], django_assert_num_queries: Queries
) -> None:
    assert ask().status_code == 204
    clock(5)
    with cors._live._lock, django_assert_num_queries(0):
        assert ask().status_code == 204


def test_who_waited_while_origins_were_read_does_not_read_them_again(
    published: Issued, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Queries
) -> None:
    times = iter([1000.0, 1000.0, 1000.0, 2000.0, 1001.0])
    monkeypatch.setattr("apikeys.cors.monotonic", lambda: next(times))
    assert cors._live.have(PAGE)
    with django_assert_num_queries(0):
        assert cors._live.have(PAGE)


def test_call_of_a_page_with_its_key_asks_for_no_origins(published: Issued, django_assert_num_queries: Queries) -> None:
    call(published)
    with django_assert_num_queries(1):
        assert call(published).status_code == 200


def test_secret_key_without_an_origin_is_told_nothing_of_pages(issued: Issued) -> None:
    response = call(issued, None)
    assert response.status_code == 200
    assert told(response) == {}
    assert "Vary" not in response.headers


# The mark


def test_mark_counts_by_method_where_ninja_serves_several() -> None:
    other = NinjaAPI(urls_namespace="marked")

    @other.get("/things")
    def read(request: HttpRequest) -> str:
        return "read"

    @other.post("/things")
    @open_to_pages
    def write(request: HttpRequest) -> str:
        return "write"

    views = [entry.callback for entry in other.urls[0] if str(entry.pattern) == "things"]
    assert [_open_methods(view) for view in views] == [{"POST"}, {"POST"}]


# Nothing else is shared: every address, every method


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_only_marked_endpoints_are_shared_with_pages(published: Issued, method: str) -> None:
    shared, with_credentials = {}, []
    for path in PATHS:
        url = filled_in(path)
        asked = {"Origin": PAGE} | ASKED | {"Access-Control-Request-Method": method}
        answers = [
            Client().generic("OPTIONS", url, headers=asked),
            Client().generic(method, url, headers=published.headers | {"Origin": PAGE}),
            Client().generic(method, url, headers={"Origin": PAGE}),
        ]
        shared[path] = [bool(told(response)) for response in answers]
        with_credentials += [path for one in answers if "Access-Control-Allow-Credentials" in one.headers]
    assert shared == {path: [(method, path) in OPEN] * 3 for path in PATHS}
    assert with_credentials == []


def test_document_and_sweep_know_the_same_operations() -> None:
    paths: dict[str, Any] = api.get_openapi_schema()["paths"]
    assert {(method.upper(), path.removeprefix("/")) for path, of in paths.items() for method in of} >= OPEN
    # `PATHS` writes the parameters as Django does.
    assert {re.sub(r"<[^>]*>", "{}", path) for path in PATHS} >= {re.sub(r"{[^}]*}", "{}", path[1:]) for path in paths}
