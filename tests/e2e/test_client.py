"""The client module in the pages of another origin: what works, what the browser withholds, and what is never sent."""

import json
import signal
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page, Request, expect

from tests.e2e.steps import call, demo_people, sign_in
from tests.services import Portal

# What the page does, as a page of a customer would; `report` keeps of an error what it says.
PAGE_SCRIPT = """
import { KeyportalClient, KeyportalError } from "%(portal)s/static/js/keyportal-client.js";
const report = (error) => ({
  name: error.name, message: error.message, code: error.code, status: error.status, detail: error.detail,
  requestId: error.requestId, retryAfter: error.retryAfter, isOurs: error instanceof KeyportalError,
});
window.ask = async (options) => {
  try { return await new KeyportalClient(options).whoami(); } catch (error) { return { error: report(error) }; }
};
window.ready = true;
"""
BY_HAND = """async ([url, key]) => {
  try {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${key}` } });
    return [response.status, await response.json()];
  } catch (error) { return [0, error.name]; }
}"""


class Keys(NamedTuple):
    """The keys of one shop: for its pages, for its pages but over its limit at once, and for its servers."""

    publishable: str
    limited: str
    secret: str
    secret_id: str


class Shop(NamedTuple):
    """A customer's site, under two origins, of which its key allows one."""

    allowed: str
    other: str


@pytest.fixture(scope="module")
def watched_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of these tests' own: they leave keys behind that need attention."""
    portal = Portal(tmp_path_factory.mktemp("client"), is_demo=True)
    try:
        yield portal.start()
    finally:
        portal.stop(number=signal.SIGINT)


@pytest.fixture(scope="module")
def shop(watched_portal: Portal) -> Iterator[Shop]:
    """A site that lets scripts and calls go to itself and the portal, and nowhere else."""
    files = {"/": ("text/html", "<!doctype html><title>Shop</title><script type=module src=/shop.js></script>")}
    files["/shop.js"] = ("text/javascript", PAGE_SCRIPT % {"portal": watched_portal.url})
    policy = f"default-src 'none'; script-src 'self' {watched_portal.url}; connect-src {watched_portal.url}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = files.get(self.path, ("", ""))
            self.send_response(HTTPStatus.OK if kind else HTTPStatus.NO_CONTENT)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield Shop(f"http://127.0.0.1:{server.server_port}", f"http://localhost:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def keys(watched_portal: Portal, shop: Shop) -> Keys:
    printed = watched_portal.manage("issue_key", "--name=root", "--scope=org", "--permissions=*").stdout
    root = next(word for word in printed.split() if word.startswith("kp_org_"))
    project = call(watched_portal, "/v1/projects", root).body["items"][0]["id"]

    def issue(name: str, **wanted: Any) -> dict[str, Any]:
        body = json.dumps({"name": name, "scope": "project", "project_id": project} | wanted)
        answer = call(watched_portal, "/v1/api-keys", root, "--json", body)
        assert answer.status == HTTPStatus.CREATED, answer
        return answer.body

    publishable = {"kind": "publishable", "allowed_origins": [shop.allowed]}
    secret = issue("shop-server", permissions=["projects:read"])
    return Keys(
        issue("shop-page", **publishable)["key"],
        issue("shop-page-limited", per_day=1, **publishable)["key"],
        secret["key"],
        secret["id"],
    )


@pytest.fixture
def sent(page: Page) -> list[Request]:
    """What the page sent to the API."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if "/v1/" in request.url else None)
    return found


@pytest.fixture
def ask(page: Page, watched_portal: Portal) -> Callable[..., dict[str, Any]]:
    """Open a page of the shop and let it ask who its key is."""

    def ask(origin: str, key: str, **options: Any) -> dict[str, Any]:
        page.goto(origin)
        page.wait_for_function("window.ready")
        answer: dict[str, Any] = page.evaluate(
            "(options) => ask(options)", {"key": key, "url": watched_portal.url} | options
        )
        return answer

    return ask


def test_page_of_an_allowed_origin_learns_who_its_key_is(
    shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]], sent: list[Request]
) -> None:
    answer = ask(shop.allowed, keys.publishable)
    assert answer["key"]["label"] == keys.publishable[:19]
    assert answer["issuer"] is None
    [request] = sent
    headers = request.all_headers()
    assert (headers["origin"], headers["sec-fetch-mode"]) == (shop.allowed, "cors")
    assert not {"cookie", "referer"} & set(headers)


def test_page_of_another_origin_is_stopped_by_the_browser(
    page: Page, shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]]
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    error = ask(shop.other, keys.publishable)["error"]
    assert (error["code"], error["status"], error["isOurs"]) == ("network_error", 0, True)
    assert "does not allow pages of this origin" in error["message"]
    assert any("blocked by CORS policy" in text for text in complaints)


def test_page_reads_the_whole_refusal(shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]]) -> None:
    ask(shop.allowed, keys.limited)
    error = ask(shop.allowed, keys.limited)["error"]
    assert (error["name"], error["code"], error["status"]) == ("KeyportalError", "quota_exceeded", 429)
    assert error["retryAfter"] > 0
    assert len(error["requestId"]) == 36
    assert error["message"] == "The daily quota of this API key is used up"
    assert "works again from midnight UTC" in error["detail"]


def test_mistyped_key_of_the_right_shape_is_told_so(shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]]) -> None:
    wrong = keys.publishable[:-1] + ("0" if keys.publishable[-1] != "0" else "1")
    error = ask(shop.allowed, wrong)["error"]
    assert (error["code"], error["status"]) == ("invalid_key", 401)


def test_anything_but_a_publishable_key_is_refused_before_a_request(
    shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]], sent: list[Request]
) -> None:
    organization = keys.secret.replace("kp_sk_", "kp_org_")
    for key in (keys.secret, organization, keys.publishable[:-10], f" {keys.publishable}", "", None, 7):
        error = ask(shop.allowed, key)["error"]
        assert error["name"] == "TypeError"
        assert "only those may be in a web page" in error["message"]
        assert not key or str(key) not in error["message"]
    assert sent == []


def test_client_takes_the_prefix_that_an_installation_has(
    shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]], sent: list[Request]
) -> None:
    error = ask(shop.allowed, keys.publishable, prefix="ss_pub_")["error"]
    assert error["name"] == "TypeError"
    assert sent == []
    # Well-formed there, and unknown here.
    error = ask(shop.allowed, "ss_pub_" + "a" * 40, prefix="ss_pub_")["error"]
    assert error["code"] == "invalid_key"


@pytest.mark.parametrize("url", ["", "keys.example.com", "javascript:alert(1)", "https://a:b@keys.example.com"])
def test_address_that_is_none_is_refused(
    shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]], sent: list[Request], url: str
) -> None:
    error = ask(shop.allowed, keys.publishable, url=url)["error"]
    assert (error["name"], error["message"]) == (
        "TypeError",
        "url is where the portal is, such as https://keys.example.com",
    )
    assert sent == []


def test_portal_that_does_not_answer_is_given_up(
    page: Page, shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]]
) -> None:
    page.route("**/v1/whoami", lambda _: None)
    error = ask(shop.allowed, keys.publishable, timeout=200)["error"]
    assert (error["code"], error["status"]) == ("timeout", 0)


@pytest.mark.parametrize("status", [200, 502])
def test_answer_that_is_none_of_the_portals_is_told_so(
    page: Page, shop: Shop, keys: Keys, ask: Callable[..., dict[str, Any]], status: int
) -> None:
    headers = {"Access-Control-Allow-Origin": shop.allowed}
    page.route("**/v1/whoami", lambda route: route.fulfill(status=status, body="<h1>", headers=headers))
    error = ask(shop.allowed, keys.publishable)["error"]
    assert (error["code"], error["status"]) == ("unexpected_answer", status)


def test_secret_key_sent_by_hand_is_never_readable_elsewhere(
    page: Page, watched_portal: Portal, shop: Shop, keys: Keys
) -> None:
    page.goto(shop.allowed)
    assert page.evaluate(BY_HAND, [f"{watched_portal.url}/v1/whoami", keys.secret]) == [0, "TypeError"]
    # This one is not even sent: the browser asks first, and endpoints that are not open to pages do not say yes.
    assert page.evaluate(BY_HAND, [f"{watched_portal.url}/v1/projects", keys.secret]) == [0, "TypeError"]


def test_secret_key_sent_by_hand_from_the_portals_own_page_is_refused_and_marked(
    page: Page, watched_portal: Portal, keys: Keys
) -> None:
    page.goto(f"{watched_portal.url}/account/sign-in/")
    status, body = page.evaluate(BY_HAND, ["/v1/projects", keys.secret])
    assert (status, body["code"]) == (403, "secret_key_in_browser")
    sign_in(page, watched_portal, demo_people(watched_portal)[0])
    page.goto(f"{watched_portal.url}/keys/{keys.secret_id}/")
    expect(page.get_by_text("This key was seen in a browser")).to_be_visible()
    expect(page.get_by_text("In a browser", exact=True)).to_be_visible()
    # From a server it works on, until someone revokes it.
    assert call(watched_portal, "/v1/projects", keys.secret).status == HTTPStatus.OK
