import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client, RequestFactory

from apikeys.authentication import keys_in_query, path_without_keys, presented_key
from keyportal.http import Problem
from tests.apikeys.presented import of_nobody, with_bad_checksum, with_secret
from tests.cast import Issued, Person

WHOAMI = "/v1/whoami"
BARE = 'Bearer realm="keyportal"'
INVALID = 'Bearer realm="keyportal", error="invalid_token"'


def call(header: str | None, path: str = WHOAMI) -> Any:
    return Client().get(path, headers={} if header is None else {"Authorization": header})


def challenge_of(response: Any) -> tuple[int, str, str | None]:
    return response.status_code, response.json()["code"], response.get("WWW-Authenticate")


# The one credential

ACCEPTED = {
    "plain": "Bearer {key}",
    "lower-case scheme": "bearer {key}",
    "upper-case scheme": "BEARER {key}",
    "mixed-case scheme": "bEaReR {key}",
    "several spaces": "Bearer    {key}",
    "tab between": "Bearer\t{key}",
    "tab and spaces between": "Bearer \t {key}",
    "space after": "Bearer {key}  ",
    "tab after": "Bearer {key}\t",
    "space before": "  Bearer {key}",
    "tab before": "\tBearer {key}",
}
REFUSED = {
    "empty": ("", "missing_credentials", 401, BARE),
    "spaces": ("   ", "missing_credentials", 401, BARE),
    "basic": ("Basic YWxpY2U6c2VjcmV0", "missing_credentials", 401, BARE),
    "key alone": ("{key}", "missing_credentials", 401, BARE),
    "another scheme": ("Token {key}", "missing_credentials", 401, BARE),
    "scheme run into the key": ("Bearer{key}", "missing_credentials", 401, BARE),
    "colon": ("Bearer: {key}", "missing_credentials", 401, BARE),
    "no value": ("Bearer", "invalid_key", 401, INVALID),
    "no value but a space": ("Bearer ", "invalid_key", 401, INVALID),
    "space inside": ("Bearer {half} {rest}", "invalid_key", 401, INVALID),
    "tab inside": ("Bearer {half}\t{rest}", "invalid_key", 401, INVALID),
    "newline after": ("Bearer {key}\n", "invalid_key", 401, INVALID),
    "vertical tab after": ("Bearer {key}\x0b", "invalid_key", 401, INVALID),
    "no-break space after": ("Bearer {key}\xa0", "invalid_key", 401, INVALID),
    "twice the scheme": ("Bearer Bearer {key}", "invalid_key", 401, INVALID),
    "twice the key": ("Bearer {key} {key}", "invalid_key", 401, INVALID),
    "two by comma": ("Bearer {key}, Bearer {key}", "invalid_request", 400, None),
    "two by comma without a space": ("Bearer {key},Bearer {key}", "invalid_request", 400, None),
    "parameters of another scheme": ('Digest username="a", nonce="b"', "missing_credentials", 401, BARE),
    "basic and bearer": ("Basic YTpi, Bearer {key}", "invalid_request", 400, None),
    "trailing comma": ("Bearer {key},", "invalid_request", 400, None),
    "non-ASCII": ("Bearer kp_sk_live_é", "invalid_key", 401, INVALID),
    "non-ASCII after the key": ("Bearer {key}é", "invalid_key", 401, INVALID),
    "129 bytes": ("Bearer " + "x" * 129, "invalid_key", 401, INVALID),
    "a megabyte": ("Bearer " + "x" * 1_000_000, "invalid_key", 401, INVALID),
    "lower-cased key": ("Bearer {lower}", "invalid_key", 401, INVALID),
    "quoted": ('Bearer "{key}"', "invalid_key", 401, INVALID),
    "single-quoted": ("Bearer '{key}'", "invalid_key", 401, INVALID),
    "angle brackets": ("Bearer <{key}>", "invalid_key", 401, INVALID),
    "NUL after": ("Bearer {key}\0", "invalid_key", 401, INVALID),
    "NUL inside": ("Bearer {half}\0{rest}", "invalid_key", 401, INVALID),
    "placeholder": ("Bearer $KEYPORTAL_KEY", "invalid_key", 401, INVALID),
    "cut off": ("Bearer {half}", "invalid_key", 401, INVALID),
}


def filled_in(template: str, issued: Issued) -> str:
    text = issued.text
    return template.format(key=text, half=text[:30], rest=text[30:], lower=text.lower())


@pytest.mark.parametrize("name", ACCEPTED)
def test_white_space_around_the_key_and_the_scheme_in_any_case_are_tolerated(issued: Issued, name: str) -> None:
    response = call(filled_in(ACCEPTED[name], issued))
    assert response.status_code == 200
    assert response.json()["key"]["label"] == issued.row.label


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_with_its_code_and_challenge(issued: Issued, name: str) -> None:
    template, code, status, challenge = REFUSED[name]
    response = call(filled_in(template, issued))
    assert challenge_of(response) == (status, code, challenge)
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert issued.key.secret not in response.text


def test_no_header_at_all_is_missing_credentials(db: None) -> None:
    assert challenge_of(call(None)) == (401, "missing_credentials", BARE)


def test_refusal_is_problem_details_and_nothing_more(db: None) -> None:
    response = call(None)
    request_id = response["X-Request-Id"]
    assert json.loads(response.content) == {
        "type": "http://127.0.0.1:8000/v1/docs#missing_credentials",
        "title": "No API key was sent",
        "status": 401,
        "detail": "Send the key in the header `Authorization: Bearer <key>`.",
        "instance": f"urn:uuid:{request_id}",
        "code": "missing_credentials",
        "request_id": request_id,
    }
    assert dict(response.items()) == {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "WWW-Authenticate": BARE,
        "X-Request-Id": request_id,
        "Content-Length": str(len(response.content)),
        "X-Content-Type-Options": "nosniff",
    }


def as_seen_from_outside(text: str, path: str = WHOAMI) -> tuple[int, dict[str, str], bytes]:
    """Return an answer's status, headers and body, less the request id, which is random."""
    response = call(f"Bearer {text}", path)
    request_id = response["X-Request-Id"]
    headers = {name: value.replace(request_id, "") for name, value in response.items()}
    return response.status_code, headers, response.content.replace(request_id.encode(), b"")


@pytest.mark.parametrize("path", [WHOAMI, "/v1/projects", "/v1/nowhere"])
def test_unknown_prefix_wrong_secret_and_bad_checksum_look_the_same(
    issued: Issued, wrong_secret: str, path: str
) -> None:
    answers = [
        as_seen_from_outside(text, path)
        for text in (of_nobody(), wrong_secret, with_bad_checksum(issued), "nonsense", "")
    ]
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)


@pytest.fixture
def wrong_secret(issued: Issued) -> str:
    return with_secret(issued)


@pytest.mark.pure
def test_presented_key_reads_the_header_and_nothing_else() -> None:
    request = RequestFactory().get("/v1/whoami?access_token=x", headers={"Authorization": " bearer\t abc "})
    assert presented_key(request) == "abc"
    with pytest.raises(Problem):
        presented_key(RequestFactory().post("/v1/whoami", {"access_token": "x"}))


# A key in the query string


def find(query: str) -> list[str]:
    return keys_in_query(RequestFactory().get(f"/v1/whoami?{query}"))


def test_keys_in_a_query_are_found_however_they_are_written() -> None:
    text = of_nobody()
    encoded = "".join(f"%{ord(character):02x}" for character in text)
    for query in (
        text,
        f"key={text}",
        f"{text}=1",
        f"a=b&token=Bearer%20{text}&c=d",
        f"key={encoded}",
        f"{encoded}",
        f"q=%7B%22key%22%3A%22{text}%22%7D",
        f"key={text}&again={text}",
    ):
        assert find(query) == [text]


def test_query_without_a_whole_key_holds_none() -> None:
    text = of_nobody()
    for query in ("", "key=", f"key={text[:-1]}", f"key={text[:19]}", "q=kp_sk_live_", "%00=%ff"):
        assert find(query) == []


def test_several_keys_are_found_once_each() -> None:
    first, second = of_nobody(), of_nobody()
    assert find(f"a={first}&b={second}&c={first}") == [first, second]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/integrations/?q={key}", "/integrations/?q={label}"),
        ("/integrations/?q={key}&tab=all&tab=x", "/integrations/?q={label}&tab=all&tab=x"),
        ("/integrations/?{key}=1", "/integrations/?{label}=1"),
        ("/a%3Fb/?q={key}", "/a%3Fb/?q={label}"),
    ],
)
def test_page_address_keeps_the_label_of_a_key(path: str, expected: str) -> None:
    text = of_nobody()
    request = RequestFactory().get(path.format(key=text))
    assert path_without_keys(request) == expected.format(label=text[:19])


@pytest.mark.parametrize("query", ["q={key}", "q={encoded}"])
def test_page_that_is_asked_for_with_a_key_is_asked_for_with_its_label_instead(
    issued: Issued, dana_client: Client, query: str
) -> None:
    encoded = quote(issued.text).replace("_", "%5F")
    response: Any = dana_client.get("/integrations/?" + query.format(key=issued.text, encoded=encoded))
    assert (response.status_code, response["Location"]) == (302, f"/integrations/?q={issued.row.label}")
    found: Any = dana_client.get(response["Location"])
    assert [row.api_key.pk for row in found.context["rows"]] == [issued.row.pk]


def test_page_of_another_host_is_never_redirected_to(db: None) -> None:
    response = Client().get(f"/?q={of_nobody()}", PATH_INFO="//evil.example/")
    assert response["Location"].startswith("/%2Fevil.example/?q=kp_sk_live_")


# Where a key counts


def test_key_is_nothing_to_a_page(issued: Issued) -> None:
    response = Client().get("/integrations/", headers=issued.headers)
    assert (response.status_code, response["Location"]) == (302, "/account/sign-in/?next=/integrations/")


def test_key_wins_over_a_session(issued: Issued, alice: Person, sign_in_as: Callable[[Person], Client]) -> None:
    client = sign_in_as(alice)
    assert client.get(WHOAMI).json()["kind"] == "user"
    assert client.get(WHOAMI, headers=issued.headers).json()["kind"] == "api_key"


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic YTpi", ""])
def test_bad_header_is_not_saved_by_a_session(
    alice: Person, sign_in_as: Callable[[Person], Client], header: str
) -> None:
    assert sign_in_as(alice).get(WHOAMI, headers={"Authorization": header}).status_code == 401


def test_session_cookie_of_nobody_is_missing_credentials(db: None) -> None:
    client = Client()
    client.cookies["keyportal_session"] = "made up"
    response: Any = client.get(WHOAMI)
    assert challenge_of(response) == (401, "missing_credentials", BARE)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
def test_openapi_document_needs_nothing(db: None, headers: dict[str, str]) -> None:
    response = Client().get("/v1/openapi.json", headers=headers)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json()["openapi"].startswith("3.1")


UNKNOWN = ["/v1/nowhere", "/v1/", "/v1/api-keys/", "/v1/api-keys/not-an-id", "/v1/projects/../x", "/v1//whoami"]


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_address_is_404_with_a_good_key_and_401_without(issued: Issued, path: str) -> None:
    response: Any = Client().get(path, headers=issued.headers)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response["Content-Type"] == "application/problem+json"
    assert challenge_of(call(None, path)) == (401, "missing_credentials", BARE)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("post", "/v1/whoami", "GET"),
        ("put", "/v1/api-keys", "GET, POST"),
        ("patch", "/v1/projects", "GET"),
        ("options", "/v1/projects", "GET"),
        ("head", "/v1/whoami", "GET"),
    ],
)
def test_method_that_is_not_taken_is_a_problem_that_names_those_that_are(
    issued: Issued, method: str, path: str, allow: str
) -> None:
    response: Any = getattr(Client(), method)(path, headers=issued.headers)
    assert response.status_code == 405
    assert response["Content-Type"] == "application/problem+json"
    assert response["Allow"] == allow
    if method != "head":
        assert response.json()["code"] == "method_not_allowed"
