"""Whatever is sent as a credential: the documented refusal, one line of log for it, and nothing of it left."""

import re
from dataclasses import dataclass

import pytest

from apikeys import keyformat
from tests.wire.conftest import Wire
from tests.wire.wire import (
    ACCEPTED,
    EXPOSED,
    FORGED,
    MALFORMED,
    MISSING,
    NO_HTTP,
    NOT_FOUND,
    REVOKED,
    SEVERAL,
    TOO_LARGE,
    WRONG,
    Expected,
    Log,
    exchange,
    judge,
    recomputed,
    repeated,
    request,
)

B = "Authorization: Bearer "


@dataclass(frozen=True, slots=True)
class Case:
    """A request for who the caller is, and what must come of it. `{key}` and its like are what `Keys` holds."""

    name: str
    headers: str
    expected: Expected
    line: str = "GET /v1/whoami"
    # What a character outside ASCII is on the wire; header values have no encoding of their own.
    encoding: str = "utf-8"


SCHEMES = [
    Case("as documented", f"{B}{{key}}", ACCEPTED),
    Case("scheme in lower case", "Authorization: bearer {key}", ACCEPTED),
    Case("scheme in upper case", "Authorization: BEARER {key}", ACCEPTED),
    Case("scheme in mixed case", "authorization: bEaReR {key}", ACCEPTED),
    Case("spaces around the value", "Authorization:   Bearer    {key}   ", ACCEPTED),
    Case("tabs around the value", "Authorization:\tBearer\t \t{key}\t", ACCEPTED),
    Case("no space after the colon", "Authorization:Bearer {key}", ACCEPTED),
    Case("header in upper case", "AUTHORIZATION: Bearer {key}", ACCEPTED),
    Case("no header", "", MISSING),
    Case("empty header", "Authorization:", MISSING),
    Case("header of spaces", "Authorization:    \t ", MISSING),
    Case("no scheme", "Authorization: {key}", MISSING),
    Case("scheme stuck to the value", "Authorization: Bearer{key}", MISSING),
    Case("scheme joined by a colon", "Authorization: Bearer:{key}", MISSING),
    Case("scheme joined by an equals sign", "Authorization: Bearer={key}", MISSING),
    Case("scheme joined by a slash", "Authorization: Bearer/{key}", MISSING),
    Case("quoted with its scheme", 'Authorization: "Bearer {key}"', MISSING),
    Case("scheme of GitHub", "Authorization: token {key}", MISSING),
    Case("scheme of others", "Authorization: ApiKey {key}", MISSING),
    Case("scheme in German", "Authorization: Träger {key}", MISSING),
    Case("scheme of look-alikes", "Authorization: Веаrеr {key}", MISSING),
    Case("scheme of wide letters", "Authorization: Ｂｅａｒｅｒ {key}", MISSING),
    Case("scheme twice", f"{B}Bearer {{key}}", MALFORMED),
    Case("scheme alone", "Authorization: Bearer", MALFORMED),
    Case("scheme and spaces", "Authorization: Bearer    ", MALFORMED),
    Case("Basic, as curl -u sends it", "Authorization: Basic {jwt}", MISSING),
    Case("Basic with the key", "Authorization: Basic {key}:", MISSING),
    Case("Digest", 'Authorization: Digest username="{token}", realm="keyportal", response="{token}"', MISSING),
    Case("Negotiate", "Authorization: Negotiate {jwt}==", MISSING),
    Case("AWS", "Authorization: AWS4-HMAC-SHA256 Credential={token}/20261120, Signature={token}", MISSING),
]
SEVERAL_AT_ONCE = [
    Case("header twice", f"{B}{{key}}\r\n{B}{{key}}", SEVERAL),
    Case("header twice, another key", f"{B}{{key}}\r\n{B}{{unknown}}", SEVERAL),
    Case("header twice, bogus first", f"{B}{{unknown}}\r\n{B}{{key}}", SEVERAL),
    Case("header twice in other cases", "authorization: Bearer {key}\r\nAUTHORIZATION: Bearer {key}", SEVERAL),
    Case("header and an empty one", f"{B}{{key}}\r\nAuthorization:", SEVERAL),
    Case("header and Basic", f"{B}{{key}}\r\nAuthorization: Basic {{token}}", SEVERAL),
    Case("Basic and header", f"Authorization: Basic {{token}}\r\n{B}{{key}}", SEVERAL),
    Case("a hundred headers but one", "\r\n".join([f"{B}{{key}}"] * 90), SEVERAL),
    Case("too many headers", "\r\n".join([f"{B}{{key}}"] * 101), TOO_LARGE),
    Case("joined by a comma", f"{B}{{key}}, Bearer {{key}}", SEVERAL),
    Case("two values", f"{B}{{key}},{{key}}", SEVERAL),
    Case("comma behind", f"{B}{{key}},", SEVERAL),
    Case("comma before", "Authorization: , Bearer {key}", SEVERAL),
    Case("joined by a semicolon", f"{B}{{key}}; Bearer {{key}}", MALFORMED),
    Case("joined by a space", f"{B}{{key}} {{key}}", MALFORMED),
    Case("header of underscores beside", f"{B}{{key}}\r\nAuthorization_: Bearer {{unknown}}", ACCEPTED),
    Case("header of the proxy beside", f"{B}{{key}}\r\nProxy-Authorization: Bearer {{unknown}}", ACCEPTED),
]
SPELLINGS = [
    Case("quoted", f'{B}"{{key}}"', MALFORMED),
    Case("in single quotes", f"{B}'{{key}}'", MALFORMED),
    Case("in angle brackets", f"{B}<{{key}}>", MALFORMED),
    Case("in braces", f"{B}{{{{key}}}}", MALFORMED),
    Case("as a parameter", f'{B}token="{{key}}"', MALFORMED),
    Case("as an assignment", f"{B}API_KEY={{key}}", MALFORMED),
    Case("a variable not filled in", f"{B}$KEYPORTAL_API_KEY", MALFORMED),
    Case("as JSON", f'{B}{{"key":"{{key}}"}}', MALFORMED),
    Case("ellipsis of the list", f"{B}{{label}}…", MALFORMED),
    Case("label alone", f"{B}{{label}}", MALFORMED),
    Case("prefix alone", f"{B}{{prefix}}", MALFORMED),
    Case("secret alone", f"{B}{{secret}}", MALFORMED),
    Case("space inside", f"{B}{{label}} _{{secret}}", MALFORMED),
    Case("tab inside", f"{B}{{label}}_\t{{secret}}", MALFORMED),
    Case("no-break space around", f"{B}\xa0{{key}}\xa0", MALFORMED, encoding="latin-1"),
    Case("no-break space for a space", "Authorization: Bearer\xa0{key}", MALFORMED, encoding="latin-1"),
    Case("next line for a space", "Authorization: Bearer\x85{key}", MALFORMED, encoding="latin-1"),
    Case("ideographic space around", f"{B}\u3000{{key}}\u3000", MALFORMED),
    Case("byte order mark before", f"{B}\ufeff{{key}}", MALFORMED),
    Case("zero-width space inside", f"{B}{{label}}_\u200b{{secret}}", MALFORMED),
    Case("soft hyphen inside", f"{B}{{label}}_\xad{{secret}}", MALFORMED, encoding="latin-1"),
    Case("right-to-left override before", f"{B}\u202e{{key}}", MALFORMED),
    Case("bidi isolates around", f"{B}\u2066{{key}}\u2069", MALFORMED),
    Case("combining mark behind", f"{B}{{key}}\u0301", MALFORMED),
    Case("emoji behind", f"{B}{{key}}\U0001f511", MALFORMED),
    Case("Cyrillic brand", f"{B}кр_org_live_{{prefix}}_{{secret}}", MALFORMED),
    Case("wide brand", f"{B}ｋｐ_org_live_{{prefix}}_{{secret}}", MALFORMED),
    Case("Arabic digits for the prefix", f"{B}kp_org_live_٠١٢٣٤٥٦٧_{{secret}}", MALFORMED),
    Case("superscript digits for the prefix", f"{B}kp_org_live_¹²³¹²³¹²_{{secret}}", MALFORMED, encoding="latin-1"),
    Case("umlauts for the prefix", f"{B}kp_org_live_äöüßéèêë_{{secret}}", MALFORMED, encoding="latin-1"),
    Case("bytes that are no UTF-8", f"{B}{{key}}\xff\xfe", MALFORMED, encoding="latin-1"),
    Case("percent-encoded underscores", f"{B}kp%5Forg%5Flive%5F{{prefix}}%5F{{secret}}", MALFORMED),
    Case("percent-encoded space", f"{B}%20{{key}}", MALFORMED),
    Case("percent-encoded line end", f"{B}{{key}}%0d%0a", MALFORMED),
    Case("plus for a space", "Authorization: Bearer+{key}", MISSING),
    Case("encoded word of mail", f"{B}=?utf-8?q?{{key}}?=", MALFORMED),
    Case("trailing slash", f"{B}{{key}}/", MALFORMED),
    Case("trailing full stop", f"{B}{{key}}.", MALFORMED),
    Case("trailing letter", f"{B}{{key}}0", MALFORMED),
    Case("trailing backslash n", f"{B}{{key}}\\n", MALFORMED),
    Case("trailing comment", f"{B}{{key}} # production", MALFORMED),
    Case("leading letter", f"{B}0{{key}}", MALFORMED),
    Case("key twice in one", f"{B}{{key}}{{key}}", MALFORMED),
    Case("SQL", f"{B}{{key}}' OR '1'='1' --", MALFORMED),
    Case("SQL wildcard", f"{B}kp_org_live_%_{{secret}}", MALFORMED),
    Case("format string", f"{B}%s%s%n{{key}}", MALFORMED),
    Case("log4j", f"{B}${{jndi:ldap://127.0.0.1/{{token}}}}", MALFORMED),
]
LENGTHS = [
    Case("1 byte", f"{B}k", MALFORMED),
    Case("51 bytes, the last cut off", f"{B}{{short_secret}}", MALFORMED),
    Case("127 bytes", f"{B}{'k' * 127}", MALFORMED),
    Case("128 bytes", f"{B}{'k' * 128}", MALFORMED),
    Case("129 bytes", f"{B}{'k' * 129}", MALFORMED),
    Case("129 bytes of key and zeros", f"{B}{{key}}{'0' * 76}", MALFORMED),
    Case("128 characters in 256 bytes", f"{B}{'é' * 128}", MALFORMED),
    Case("4 kB", f"{B}{'kp_org_live_' * 341}", MALFORMED),
    Case("almost 8 kB", f"{B}{'k' * 8100}", MALFORMED),
    Case("8 kB of spaces and a key", f"{B}{' ' * 8000}{{key}}", ACCEPTED),
    Case("8 kB of commas", f"{B}{{key}}{',' * 8000}", SEVERAL),
    Case("8 kB of schemes", f"Authorization: {'Bearer ' * 1100}", MALFORMED),
    Case("more than gunicorn reads", f"{B}{'k' * 8200}", TOO_LARGE),
    Case("much more than gunicorn reads", f"{B}{{key}}{'k' * 60_000}", TOO_LARGE),
]
KEYS_THAT_ARE_NONE = [
    Case("a key of nobody", f"{B}{{unknown}}", WRONG),
    Case("another's secret", f"{B}{{wrong}}", WRONG),
    Case("another's prefix", f"{B}{{swapped}}", WRONG),
    Case("publishable, checksum recomputed", f"{B}{{pk}}", WRONG),
    Case("of a project, checksum recomputed", f"{B}{{sk}}", WRONG),
    Case("of the test environment, checksum recomputed", f"{B}{{test}}", WRONG),
    Case("revoked", f"{B}{{revoked}}", REVOKED),
    Case("a kind that is none, checksum recomputed", f"{B}{{admin}}", MALFORMED),
    Case("an environment that is none, checksum recomputed", f"{B}{{prod}}", MALFORMED),
    Case("another installation's brand, checksum recomputed", f"{B}{{brand}}", MALFORMED),
    Case("without its kind, checksum recomputed", f"{B}{{no_kind}}", MALFORMED),
    Case("label in upper case, checksum recomputed", f"{B}{{shouted}}", MALFORMED),
    Case("joined by dashes, checksum recomputed", f"{B}{{dashed}}", MALFORMED),
    Case("prefix too long, checksum recomputed", f"{B}{{long_prefix}}", MALFORMED),
    Case("secret too long, checksum recomputed", f"{B}{{long_secret}}", MALFORMED),
    Case("last letter mistyped", f"{B}{{typo}}", MALFORMED),
    Case("cases of the letters swapped", f"{B}{{other_case}}", MALFORMED),
    Case("JWT", f"{B}{{jwt}}", FORGED),
    Case("JWT without a signature", f"{B}eyJhbGciOiJub25lIn0.{{token}}.", FORGED),
    Case("hexadecimal token", f"{B}{{token}}", MALFORMED),
    Case("the stored digest", f"{B}{{digest}}", SEVERAL),  # its parameters are joined by commas
    Case("the stored tag", f"{B}{{tag}}", MALFORMED),
    Case("null", f"{B}null", MALFORMED),
    Case("undefined", f"{B}undefined", MALFORMED),
    Case("object", f"{B}[object Object]", MALFORMED),
]
NO_HTTP_AT_ALL = [
    Case("folded before the value", "Authorization: Bearer\r\n {key}", NO_HTTP),
    Case("folded inside the value", f"{B}{{label}}_\r\n\t{{secret}}", NO_HTTP),
    Case("folded behind the value", f"{B}{{key}}\r\n ", NO_HTTP),
    Case("NUL inside", f"{B}{{label}}_\0{{secret}}", NO_HTTP),
    Case("NUL behind", f"{B}{{key}}\0", NO_HTTP),
    Case("escape inside", f"{B}{{label}}_\x1b[31m{{secret}}", NO_HTTP),
    Case("vertical tab around", f"{B}\x0b{{key}}\x0b", NO_HTTP),
    Case("form feed around", f"{B}\x0c{{key}}", NO_HTTP),
    Case("delete behind", f"{B}{{key}}\x7f", NO_HTTP),
    Case("bell behind", f"{B}{{key}}\a", NO_HTTP),
    Case("carriage return behind", f"{B}{{key}}\rX: y", NO_HTTP),
    Case("line feed behind", f"{B}{{key}}\nX: y", NO_HTTP),
    Case("space before the colon", "Authorization : Bearer {key}", NO_HTTP),
    Case("no colon", "Authorization Bearer {key}", NO_HTTP),
    Case("no name", ": Bearer {key}", NO_HTTP),
    Case("name in quotes", '"Authorization": Bearer {key}', NO_HTTP),
    Case("name of umlauts", "Authörization: Bearer {key}", NO_HTTP),
    Case("key for a name", "{key}: Bearer", MISSING),  # a name that gunicorn drops for its underscores
    Case("key for a method", "", NO_HTTP, line="{key} /v1/whoami"),
    Case("key behind the address", f"{B}{{key}}", NO_HTTP, line="GET /v1/whoami {secret}"),
]
ELSEWHERE = [
    Case("in the query", "", EXPOSED, line="GET /v1/whoami?api_key={key}"),
    Case("in the query, beside the header", f"{B}{{key}}", EXPOSED, line="GET /v1/whoami?access_token={key}"),
    Case("in the query, percent-encoded", "", EXPOSED, line="GET /v1/whoami?key=kp%5Forg%5Flive%5F{prefix}%5F{secret}"),
    Case("in the query, for a name", "", EXPOSED, line="GET /v1/whoami?{key}"),
    Case("in the query, a key of nobody", "", EXPOSED, line="GET /v1/whoami?key={unknown}"),
    Case("in the query, mistyped", "", MISSING, line="GET /v1/whoami?key={typo}"),
    Case("in the fragment", "", MISSING, line="GET /v1/whoami#{key}"),
    Case("in the path", "", MISSING, line="GET /v1/{key}"),
    Case("in the path, beside the header", f"{B}{{key}}", NOT_FOUND, line="GET /v1/{key}"),
    Case("in the path of a key", f"{B}{{key}}", NOT_FOUND, line="GET /v1/api-keys/{key}"),
    Case("before the host", "", MISSING, line="GET http://{key}@127.0.0.1/v1/whoami"),
    Case("in a cookie", "Cookie: api_key={key}; {key}={key}", MISSING),
    Case("in the session's cookie", "Cookie: keyportal_session={key}", MISSING),
    Case("in the CSRF cookie", "Cookie: csrftoken={key}", MISSING),
    Case("in X-Api-Key", "X-Api-Key: {key}", MISSING),
    Case("in Api-Key", "Api-Key: {key}", MISSING),
    Case("in X-Auth-Token", "X-Auth-Token: Bearer {key}", MISSING),
    Case("in Proxy-Authorization", "Proxy-Authorization: Bearer {key}", MISSING),
    Case("in X-Forwarded-Authorization", "X-Forwarded-Authorization: Bearer {key}", MISSING),
    Case("in the name with an underscore", "HTTP_AUTHORIZATION: Bearer {key}", MISSING),
    Case("in the user agent", "User-Agent: ci/1.0 ({key})", MISSING),
    Case("in the user agent, beside the header", f"{B}{{key}}\r\nUser-Agent: curl {{key}} {{jwt}}", ACCEPTED),
    Case("in the referrer", "Referer: https://ci.example/?key={key}", MISSING),
    Case("in X-Request-Id", f"{B}{{key}}\r\nX-Request-Id: {{key}}", ACCEPTED),
    Case("in X-Forwarded-For", f"{B}{{key}}\r\nX-Forwarded-For: {{key}}", ACCEPTED),
    Case("in X-Project-Id", f"{B}{{key}}\r\nX-Project-Id: {{key}}", Expected(422, "invalid_field")),
    Case(
        "in a parameter, mistyped", f"{B}{{key}}", Expected(422, "invalid_field"), line="GET /v1/api-keys?limit={typo}"
    ),
    Case(
        "for a cursor, mistyped", f"{B}{{key}}", Expected(422, "invalid_field"), line="GET /v1/api-keys?cursor={typo}"
    ),
    Case("beside a method that is none", f"{B}{{key}}", Expected(405, "method_not_allowed"), line="BREW /v1/whoami"),
]
CASES = [*SCHEMES, *SEVERAL_AT_ONCE, *SPELLINGS, *LENGTHS, *KEYS_THAT_ARE_NONE, *NO_HTTP_AT_ALL, *ELSEWHERE]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_credential_is_answered_as_documented_and_leaves_nothing(case: Case, wire: Wire) -> None:
    sent = bytes_of(case, wire)
    runs, log = wire.runs(), Log(wire.portal)
    answer = exchange(wire.portal, sent)
    judge(answer, case.expected, log, portal=wire.portal)
    assert repeated(sent, answer, log, case.expected) == []
    assert wire.runs() - runs <= case.expected.most_runs
    assert exchange(wire.portal, good_request(wire)).status == 200


def test_argon2_is_counted_where_only_it_can_tell(wire: Wire) -> None:
    other = keyformat.mint(keyformat.DEFAULT, kind_label="org", environment="live")
    guessed = recomputed(f"{wire.keys.texts['label']}_{other.secret[:26]}")
    runs = wire.runs()
    for _ in range(2):  # the second time it is remembered
        assert exchange(wire.portal, request("GET /v1/whoami", f"{B}{guessed}")).status == 401
        assert wire.runs() == runs + 1


def test_requests_on_one_connection_have_nothing_in_common(wire: Wire) -> None:
    bogus, good = (wire.keys.fill(f"{B}{name}") for name in ("{unknown}", "{key}"))
    lines = [good, bogus, "", good, f"{bogus}\r\nConnection: close"]
    sent = "".join(f"GET /v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n" + "\r\n" * bool(line) for line in lines)
    answer = exchange(wire.portal, sent.encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer.raw) == [b"200", b"401", b"401", b"200", b"401"]
    ids = re.findall(rb"X-Request-Id: (\S+)", answer.raw)
    assert len(set(ids)) == len(lines)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def bytes_of(case: Case, wire: Wire) -> bytes:
    return request(wire.keys.fill(case.line), wire.keys.fill(case.headers), encoding=case.encoding)


def good_request(wire: Wire) -> bytes:
    return request("GET /v1/whoami", wire.keys.fill(f"{B}{{key}}"))
