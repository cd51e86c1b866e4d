"""Whatever is sent as the body of a request for a key: a key, or the documented refusal; and nothing of it left."""

import json
from dataclasses import dataclass

import pytest

from tests.wire.conftest import Wire
from tests.wire.test_credentials import good_request
from tests.wire.wire import NO_HTTP, Expected, Log, exchange, judge, repeated

# argon2 makes the digest of the new key.
ISSUED = Expected(201, most_runs=1)
INVALID = Expected(422, "invalid_field")
NO_JSON = Expected(400, "invalid_request")
# The body was not there to be read: too much of it, or not all.
NO_BODY = Expected(400, "invalid_request", ("request.bad",))

JSON = "Content-Type: application/json\r\n"
LENGTH = f"{JSON}Content-Length: {{length}}"
CHUNKED = f"{JSON}Transfer-Encoding: chunked"
GOOD = '{"name": "from the wire", "scope": "org"}'
MANY = ("…",) * 18
NOBODYS_ID = "00000000-0000-7000-8000-000000000007"


@dataclass(frozen=True, slots=True)
class Case:
    """A body, and what must come of it; `fields` are those that the answer names as not valid."""

    name: str
    body: str | bytes
    expected: Expected
    fields: tuple[str, ...] = ()
    headers: str = LENGTH
    # The client goes away when it has sent this.
    is_cut_off: bool = False


def with_member(name: str, value: str) -> str:
    """Return the good body with this member, whose value is JSON as it is or something that ought to be."""
    members = {"name": '"from the wire"', "scope": '"org"'} | {name: value}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"


def chunks(*pieces: str, end: str = "0\r\n\r\n") -> str:
    return "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in pieces) + end


def wrong(member: str, *values: str, fields: tuple[str, ...] = ()) -> list[Case]:
    return [
        Case(f"{member} {value[:40]}", with_member(member, value), INVALID, fields or (member,)) for value in values
    ]


def right(member: str, *values: str) -> list[Case]:
    return [Case(f"{member} {value[:40]}", with_member(member, value), ISSUED) for value in values]


DOCUMENTS = [
    Case("as documented", GOOD, ISSUED),
    Case("white space around", f" \r\n\t{GOOD}\n\n", ISSUED),
    Case("empty", "", INVALID, ("body",)),
    Case("white space alone", "  \n", NO_JSON),
    Case("array", "[]", INVALID, ("body",)),
    Case("array of a good body", f"[{GOOD}]", INVALID, ("body",)),
    Case("string", '"{key}"', INVALID, ("body",)),
    Case("good body as a string", json.dumps(GOOD), INVALID, ("body",)),
    Case("number", "1", INVALID, ("body",)),
    Case("null", "null", INVALID, ("body",)),
    Case("true", "true", INVALID, ("body",)),
    Case("empty object", "{}", INVALID, ("name", "scope")),
    Case("cut off at the end", GOOD[:-1], NO_JSON),
    Case("cut off in a string", '{"name": "{key}', NO_JSON),
    Case("two documents", GOOD + GOOD, NO_JSON),
    Case("trailing comma", GOOD.replace("}", ",}"), NO_JSON),
    Case("single quotes", GOOD.replace('"', "'"), NO_JSON),
    Case("comment", f"/* {{key}} */{GOOD}", NO_JSON),
    Case("no quotes around a member", '{name: "{key}"}', NO_JSON),
    Case("member twice", '{"name": "one", "name": "two", "scope": "org"}', NO_JSON),
    Case("member twice, spelled differently", '{"name": "one", "na\\u006de": "two", "scope": "org"}', NO_JSON),
    Case("member twice further in", with_member("permissions", '[{"a": 1, "a": 2}]'), NO_JSON),
    Case("unknown member", with_member("nmae", '"{key}"'), INVALID, ("nmae",)),
    Case("key for a member", with_member("{key}", "1"), INVALID, ("…",)),
    Case("token for a member", with_member("{token}", "1"), INVALID, ("…",)),
    Case("empty member", with_member("", "1"), INVALID, ("…",)),
    Case("prototype for a member", with_member("__proto__", '{"scope": "org"}'), INVALID, ("__proto__",)),
    Case("member that is read only", with_member("prefix", '"a1B2c3D4"'), INVALID, ("prefix",)),
    Case("lone surrogate for a member", with_member("\\ud800", "1"), INVALID, ("body",)),
    Case("NUL for a member", with_member("\\u0000", "1"), INVALID, ("…",)),
    Case(
        "50,000 members",
        "{" + ",".join(f'"m{n}":1' for n in range(50_000)) + "}",
        INVALID,
        ("name", "scope", *"…" * 18),
    ),
    Case("100,000 arrays deep", "[" * 100_000 + "]" * 100_000, NO_JSON),
    Case("100,000 objects deep", '{"name":' * 100_000, NO_JSON),
    Case("100,000 arrays deep in a field", with_member("permissions", "[" * 100_000 + "]" * 100_000), NO_JSON),
    Case("900 arrays deep in a field", with_member("permissions", "[" * 900 + "]" * 900), INVALID, ("permissions.0",)),
    Case("3 MB", with_member("name", f'"{"{token}" + "a" * 3_000_000}"'), NO_BODY),
    Case("almost 1 MB", with_member("name", f'"{"a" * 1_000_000}"'), INVALID, ("name",)),
]
ENCODINGS = [
    Case("byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), NO_JSON),
    Case("UTF-16 with its mark", GOOD.encode("utf-16"), NO_JSON),
    Case("UTF-16, little end first", GOOD.encode("utf-16-le"), NO_JSON),
    Case("UTF-16, big end first", GOOD.encode("utf-16-be"), NO_JSON),
    Case("UTF-32", GOOD.encode("utf-32"), NO_JSON),
    Case("UTF-7", with_member("name", '"+AOk-"').encode("utf-7"), ISSUED),  # it is ASCII, and means what it says
    Case("Latin-1", with_member("name", '"élan"').encode("latin-1"), NO_JSON),
    Case("overlong UTF-8", with_member("name", '"?"').encode().replace(b"?", b"\xc0\xaf"), NO_JSON),
    Case("surrogate in UTF-8", with_member("name", '"?"').encode().replace(b"?", b"\xed\xa0\x80"), NO_JSON),
    Case("NUL in a string", with_member("name", '"a\0b"'), NO_JSON),
    Case("NUL behind", f"{GOOD}\0", NO_JSON),
    Case("gzip", b"\x1f\x8b\x08\x00" + bytes(20), NO_JSON, headers=f"Content-Encoding: gzip\r\n{LENGTH}"),
    Case("form", "name={key}&scope=org", NO_JSON, headers="Content-Length: {length}"),
    # What a body is, its bytes say. None of these could be sent across sites by a page: a key is needed.
    Case("no type", GOOD, ISSUED, headers="Content-Length: {length}"),
    Case("type of a form", GOOD, ISSUED, headers=LENGTH.replace("json", "x-www-form-urlencoded")),
    Case("type of a form with files", GOOD, ISSUED, headers=LENGTH.replace("application/json", "multipart/form-data")),
    Case("type of text", GOOD, ISSUED, headers=LENGTH.replace("application/json", "text/plain; charset=utf-16")),
    Case("charset hex", GOOD, ISSUED, headers=LENGTH.replace("json", "json; charset=hex")),
    Case("charset of nobody", GOOD, ISSUED, headers=LENGTH.replace("json", "json; charset={token}")),
]
FIELDS = [
    *wrong("name", "null", "1", "true", "[]", "{}", '["from the wire"]', "1.5", '""', '"   "'),
    *wrong("name", '"a\\u0000b"', '"a\\nb"', '"\\u007f"', '"\\ud800"', '"\\udc00\\ud800"', f'"{"a" * 101}"'),
    *wrong("name", '"\\u202egnp.yek"', '"a\\u200bb"', '"\\ufeffa"', '"a\\u2028b"', '"\\u00ad"'),
    *wrong("name", '"{key}"', '"ci, with {key} for now"', '"{typo}"', '"kp%5Forg%5Flive%5F{prefix}%5F{secret}"'),
    *wrong("name", '"kp_\\u006frg_live_{prefix}_{secret}"'),
    *right("name", '"the one after {label}"'),
    *right("name", '"日本語 🔑 ünïcödé"', '"\\ud83d\\udd11"', '"  spaces around  "', f'"{"é " * 50}"', '"e\\u0301"'),
    *right("name", '"<script>alert(1)</script>"', '"\'; DROP TABLE apikeys_apikey; --"', '"%s {0} ${x}"', '"null"'),
    *wrong("scope", "null", "1", "true", "[]", "{}", '"ORG"', '"org "', '""', '"{key}"', '["org"]'),
    Case("scope team without a team", with_member("scope", '"team"'), INVALID, ("team_id",)),
    Case("scope project without a project", with_member("scope", '"project"'), INVALID, ("project_id",)),
    *wrong("team_id", "1", "true", "[]", "{}", '""', '"x"', '"{key}"', f'"{NOBODYS_ID}"', f'"{{{{{NOBODYS_ID}}}}}"'),
    *wrong("project_id", "1", "1e3", "[]", "{}", '"../../etc/passwd"', '"{key}"', f'"{NOBODYS_ID}"'),
    *right("team_id", "null"),
    *right("project_id", "null"),
    Case(
        "team of nobody",
        f'{{"name": "a", "scope": "team", "team_id": "{NOBODYS_ID}"}}',
        Expected(404, "not_found"),
    ),
    Case(
        "project of nobody",
        f'{{"name": "a", "scope": "project", "project_id": "{NOBODYS_ID}"}}',
        Expected(404, "not_found"),
    ),
    *wrong("environment", "null", "0", "false", "[]", "{}", '"prod"', '"LIVE"', '""'),
    Case("another environment", with_member("environment", '"test"'), Expected(403, "environment_not_grantable")),
    *wrong("permissions", "null", "1", "true", "{}", '"*"', '"projects:read"', "[]", f"[{'1,' * 100}1]"),
    *wrong("permissions", "[null]", "[1]", "[[]]", "[{}]", '["{key}"]', '["projects:READ"]', fields=("permissions.0",)),
    *wrong("permissions", '["projects:read", ""]', '["*", "\\ud800"]', '["*", "**"]', fields=("permissions.1",)),
    *right("permissions", '["projects:read", "projects:read"]'),
    # What its issuer's role will allow later, a key cannot know.
    Case("permissions *", with_member("permissions", '["*"]'), Expected(403, "permission_not_grantable")),
    *wrong("expires_in_days", "0", "-1", "-0", "1826", "1e3", "1.0", "1.5", "1e400", "true", "false", '"5"', '""'),
    *wrong("expires_in_days", "[]", "[5]", "{}", "9" * 4000, "-" + "9" * 400, str(2**31), str(2**63), str(2**64)),
    *wrong("expires_in_days", "NaN", "Infinity", "-Infinity"),  # no JSON, but Python's, and so named like the others
    *right("expires_in_days", "1", "1825", "null"),
]
NUMBERS_THAT_ARE_NONE = [
    Case(f"number {value[:20]}", with_member("expires_in_days", value), NO_JSON)
    for value in ("nan", "+5", "05", "0x10", "5.", ".5", "1_000", "٥", "9" * 5000)
]
LENGTHS = [
    Case("in one piece", chunks(GOOD), ISSUED, headers=CHUNKED),
    Case("in many pieces", chunks(*GOOD), ISSUED, headers=CHUNKED),
    Case("in pieces with a trailer", chunks(GOOD, end="0\r\nX-Sum: {token}\r\n\r\n"), ISSUED, headers=CHUNKED),
    Case("no piece at all", chunks(), INVALID, ("body",), headers=CHUNKED),
    Case("pieces of 3 MB", chunks(*["a" * 100_000] * 30), NO_BODY, headers=CHUNKED),
    Case("piece of no length", "zz\r\n{key}\r\n0\r\n\r\n", NO_BODY, headers=CHUNKED),
    Case("piece of negative length", "-5\r\n{key}\r\n0\r\n\r\n", NO_BODY, headers=CHUNKED),
    Case("piece longer than it says", f"5\r\n{GOOD}\r\n0\r\n\r\n", NO_BODY, headers=CHUNKED),
    Case("piece of 16 exabytes", f"ffffffffffffffff\r\n{GOOD}", NO_BODY, headers=CHUNKED, is_cut_off=True),
    Case("pieces without an end", f"{len(GOOD):x}\r\n{GOOD}\r\n", NO_BODY, headers=CHUNKED, is_cut_off=True),
    Case("cut off in a piece", chunks(GOOD)[:20], NO_BODY, headers=CHUNKED, is_cut_off=True),
    Case("cut off", GOOD[:20], NO_BODY, headers=f"{JSON}Content-Length: 100", is_cut_off=True),
    Case("cut off, and whole by chance", GOOD, NO_BODY, headers=f"{JSON}Content-Length: 100", is_cut_off=True),
    Case("shorter than sent", GOOD, NO_JSON, headers=f"{JSON}Content-Length: 5"),
    Case("no length", GOOD, INVALID, ("body",), headers=JSON.rstrip()),
    Case("length of more than there is room for", GOOD, NO_BODY, headers=f"{JSON}Content-Length: {'9' * 30}"),
    Case("length of 5,000 digits", GOOD, NO_HTTP, headers=f"{JSON}Content-Length: {'9' * 5000}"),
    Case("negative length", GOOD, NO_HTTP, headers=f"{JSON}Content-Length: -5"),
    Case("length with a sign", GOOD, NO_HTTP, headers=f"{JSON}Content-Length: +5"),
    Case("length in hexadecimal", GOOD, NO_HTTP, headers=f"{JSON}Content-Length: 0x20"),
    Case("length in words", GOOD, NO_HTTP, headers=f"{JSON}Content-Length: {{key}}"),
    Case("two lengths", GOOD, NO_HTTP, headers=f"{LENGTH}\r\nContent-Length: 5"),
    Case("lengths in a list", GOOD, NO_HTTP, headers=f"{LENGTH}, 5"),
    Case("length and pieces", chunks(GOOD), NO_HTTP, headers=f"{LENGTH}\r\nTransfer-Encoding: chunked"),
    Case("pieces of pieces", chunks(GOOD), NO_HTTP, headers=f"{CHUNKED}, chunked"),
]
CASES = [*DOCUMENTS, *ENCODINGS, *FIELDS, *NUMBERS_THAT_ARE_NONE, *LENGTHS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_body_is_answered_as_documented_and_leaves_nothing(case: Case, wire: Wire) -> None:
    sent = body_of(case, wire)
    runs, log = wire.runs(), Log(wire.portal)
    answer = exchange(wire.portal, head_of(case, wire, sent) + sent, is_cut_off=case.is_cut_off)
    judge(answer, case.expected, log, portal=wire.portal)
    if case.fields:
        assert [error["field"] for error in answer.body["errors"]] == [*case.fields]
    assert repeated(sent, answer, log, case.expected) == []
    assert [secret for secret in wire.keys.secrets if secret in answer.raw + log.raw] == []
    assert wire.runs() - runs <= case.expected.most_runs
    assert exchange(wire.portal, good_request(wire)).status == 200


def test_bodies_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_key_that_was_issued_on_the_wire_is_in_its_answer_alone(wire: Wire) -> None:
    log = Log(wire.portal)
    sent = GOOD.encode()
    answer = exchange(wire.portal, head_of(CASES[0], wire, sent) + sent)
    key = answer.body["key"]
    assert answer.raw.count(key.encode()) == 1
    assert key[-32:-19].encode() not in log.raw
    assert key[-19:].encode() not in log.raw


def body_of(case: Case, wire: Wire) -> bytes:
    return case.body if isinstance(case.body, bytes) else wire.keys.fill(case.body).encode()


def head_of(case: Case, wire: Wire, sent: bytes) -> bytes:
    headers = wire.keys.fill(case.headers).replace("{length}", str(len(sent)))
    return wire.keys.fill(
        "POST /v1/api-keys HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Authorization: Bearer {{key}}\r\n{headers}\r\n\r\n"
    ).encode()
