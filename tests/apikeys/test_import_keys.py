"""Keys that real packages minted, taken over from their own tables and used as before."""

import csv
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import Organization, Project, Team
from apikeys import actions, digests, foreign, hashing
from apikeys.actions import NotImportable, import_keys
from apikeys.actions.importing import Incoming
from apikeys.models import ApiKey
from audit import uses
from audit.models import AuditEvent
from keyportal.names import KEY_PASTED
from tests import services
from tests.apikeys.audited import LogIsFull, Row, break_the_audit_log, everything_recorded, newest_changes, rows_of
from tests.apikeys.logbook import Logbook
from tests.apikeys.presented import of_nobody
from tests.cast import NOON, Person
from tests.conftest import POSTGRESQL_URL

ROOT = Path(__file__).parents[2]
SCHEMES = {"drf-api-key": "Api-Key", "knox": "Token", "authtoken": "Token"}
TEXT = "AbCd1234.qN7ZrJ0bWkT3yXvLmPs5HdFgUe2iOc9A"


@pytest.fixture(scope="session")
def old_system(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, dict[str, str]]]:
    """The old portal's database, on the kind of database of this run, and the keys that it minted."""
    server = os.environ.get(POSTGRESQL_URL)
    url = services.new_database(server) if server else f"sqlite:///{tmp_path_factory.mktemp('old')}/old.sqlite3"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.apikeys.old_system", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return url, json.loads(done.stdout)


@pytest.fixture
def bring(old_system: tuple[str, dict[str, dict[str, str]]], alice: Person) -> Callable[..., str]:
    """Run the command over one package's table: `bring("knox", "--dry-run")`; return what it said."""

    def bring(source: str, *more: str) -> str:
        wanted = ["import_keys", source, "--database-url", old_system[0], "--scope=org", "--permissions=scan:read"]
        return run(*wanted, *more)[1]

    return bring


@pytest.fixture
def minted(old_system: tuple[str, dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    return old_system[1]


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str) -> tuple[str, list[str]]:
    """Return the sentence that ends the command, and the lines before it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(*arguments, stdout=out, stderr=err, no_color=True)
    assert out.getvalue() == ""
    assert ApiKey.objects.count() == 0
    return str(error.value), err.getvalue().splitlines()


def call(header: str) -> Any:
    return Client().get("/v1/whoami", headers={"Authorization": header})


# The real packages


@pytest.mark.parametrize(
    ("source", "name"),
    [("drf-api-key", "good"), ("drf-api-key", "old"), *[(source, "good") for source in ("knox", "authtoken")]],
)
def test_key_that_the_package_minted_works_as_before_and_is_rehashed_on_first_use(
    bring: Callable[..., str], minted: dict[str, dict[str, str]], logbook: Logbook, source: str, name: str
) -> None:
    text, scheme = minted[source][name], SCHEMES[source]
    assert call(f"{scheme} {text}").status_code == 401
    bring(source)
    row = ApiKey.objects.get(prefix=foreign.prefix_among(foreign.candidates(text)))
    assert hashing.is_foreign(row.digest)
    assert text not in repr(list(ApiKey.objects.values_list()))
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert call(f"{scheme} {wrong}").json()["code"] == "invalid_key"
    for header in (f"{scheme} {text}", f"{scheme} {text}", f"Bearer {text}"):
        response = call(header)
        assert (response.status_code, response.json()["key"]["label"]) == (200, row.label)
        assert ApiKey.objects.get(pk=row.pk).digest.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert call(f"{scheme} {wrong}").json()["code"] == "invalid_key"
    hashing.forget_all()
    assert call(f"{scheme} {text}").status_code == 200
    uses.flush()
    assert ApiKey.objects.get(pk=row.pk).last_used_at is not None
    for place in (logbook.text, everything_recorded(), repr(list(ApiKey.objects.values_list()))):
        assert text[16:] not in place


@pytest.mark.parametrize(
    ("source", "name", "code"),
    [
        ("drf-api-key", "expired", "key_expired"),
        ("drf-api-key", "revoked", "key_revoked"),
        ("knox", "expired", "key_expired"),
        ("knox", "disabled", "key_disabled"),
        ("authtoken", "disabled", "key_disabled"),
    ],
)
def test_key_that_the_package_would_refuse_is_refused_with_its_code(
    bring: Callable[..., str], minted: dict[str, dict[str, str]], source: str, name: str, code: str
) -> None:
    bring(source)
    response = call(f"{SCHEMES[source]} {minted[source][name]}")
    assert (response.status_code, response.json()["code"]) == (401, code)


def test_row_has_what_the_old_table_had(
    bring: Callable[..., str], minted: dict[str, dict[str, str]], alice: Person, organization: Organization
) -> None:
    bring("drf-api-key", "--environment=test")
    text = minted["drf-api-key"]["good"]
    row = ApiKey.objects.get(name="nightly-export")
    assert (row.prefix, row.label, row.imported_from) == (text[:8], text[:8], "drf-api-key")
    assert (row.scope, row.environment, row.permissions) == ("org", "test", ["scan:read"])
    assert (row.organization_id, row.issuer_id, row.kind) == (organization.pk, alice.user.pk, "secret")
    assert row.imported_at is not None
    assert timedelta() < row.imported_at - row.created_at < timedelta(minutes=10)
    expired = ApiKey.objects.get(name="expired")
    assert expired.expires_at is not None
    assert timedelta(days=1) < timezone.now() - expired.expires_at < timedelta(days=1, minutes=10)
    revoked = ApiKey.objects.get(name="revoked")
    assert (revoked.revoked_at, revoked.revoked_by) == (revoked.imported_at, None)
    assert revoked.revoke_reason == "It was revoked before it was imported from drf-api-key."


def test_each_key_has_its_audit_row(bring: Callable[..., str]) -> None:
    bring("knox")
    rows = [rows_of(api_key) for api_key in ApiKey.objects.all()]
    labels = list(ApiKey.objects.values_list("label", flat=True))
    assert rows == [[Row("api_key.imported", "create", label, "system", "system")] for label in labels]
    assert newest_changes(ApiKey.objects.all()[0].pk)["imported_from"] == [None, "knox"]


def test_the_same_import_again_leaves_everything_as_it_is(
    bring: Callable[..., str], minted: dict[str, dict[str, str]]
) -> None:
    assert bring("knox").splitlines() == [
        "3 keys were imported into Northwind from knox; 0 were there already.",
        "They work in every running process within 10 seconds.",
    ]
    assert call(f"Token {minted['knox']['good']}").status_code == 200
    before = list(ApiKey.objects.order_by("id").values())
    assert bring("knox") == "0 keys were imported into Northwind from knox; 3 were there already.\n"
    assert list(ApiKey.objects.order_by("id").values()) == before


def test_trial_says_what_would_happen_and_changes_nothing(bring: Callable[..., str]) -> None:
    before = AuditEvent.objects.count()
    said = bring("authtoken", "--dry-run")
    assert said == "2 keys would be imported into Northwind from authtoken; 0 were there already.\n"
    assert (ApiKey.objects.count(), AuditEvent.objects.count()) == (0, before)


def test_owner_of_a_token_is_the_member_with_the_users_address(
    old_system: tuple[str, Any], alice: Person, dana: Person, project: Project
) -> None:
    options = ["--scope=project", "--project=Checkout", "--permissions=scan:read", "--match-owners"]
    sentence, lines = refused("import_keys", "authtoken", "--database-url", old_system[0], *options)
    assert sentence == "Nothing was imported: 1 of 2 rows cannot be."
    assert [line.partition(": ")[2] for line in lines] == ["Nobody has an account with the address gone@example.com."]


def test_names_of_tokens_are_their_users(bring: Callable[..., str]) -> None:
    bring("knox")
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["Token of dana", *["Token of gone"] * 2]


# What is no old system


@pytest.mark.parametrize("source", SCHEMES)
def test_table_that_is_not_there_is_named(alice: Person, source: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite3"
    sqlite3.connect(path).close()
    sentence, _ = refused("import_keys", source, "--database-url", f"sqlite:///{path}", "--table=nothing")
    assert sentence == "The old database has no table nothing."


def test_table_without_the_columns_is_refused(alice: Person, tmp_path: Path) -> None:
    url = sqlite(tmp_path, "CREATE TABLE knox_authtoken (token_key text, digest text)")
    sentence, _ = refused("import_keys", "knox", "--database-url", url)
    assert sentence == "The table knox_authtoken has no column created, expiry, user_id."


def test_salted_tokens_of_old_knox_are_refused(alice: Person, tmp_path: Path) -> None:
    url = sqlite(tmp_path, "CREATE TABLE knox_authtoken (token_key text, digest text, salt text)")
    sentence, _ = refused("import_keys", "knox", "--database-url", url)
    assert "whose digests are salted" in sentence


def test_token_of_knox_4_works_though_its_digest_is_another(alice: Person, tmp_path: Path) -> None:
    token = "0a1b" * 16
    digest = hashlib.sha512(bytes.fromhex(token)).hexdigest()
    url = sqlite(
        tmp_path,
        "CREATE TABLE knox_authtoken (token_key text, digest text, created datetime, expiry datetime, user_id int)",
        "CREATE TABLE auth_user (id integer primary key, username text, is_active bool)",
        "INSERT INTO auth_user VALUES (7, 'dana', 1)",
        f"INSERT INTO knox_authtoken VALUES ('{token[:8]}', '{digest}', '2024-01-01 00:00:00', NULL, 7)",
    )
    run("import_keys", "knox", "--database-url", url, "--scope=org", "--permissions=scan:read")
    assert call(f"Token {token}").status_code == 200
    assert ApiKey.objects.get().digest.startswith("$argon2id$")
    assert call(f"Token {token}").status_code == 200


def test_rows_of_a_table_that_cannot_be_had_are_named_and_none_is_taken(alice: Person, tmp_path: Path) -> None:
    url = sqlite(
        tmp_path,
        "CREATE TABLE mine (prefix text, hashed_key text, name text, created text, revoked bool, expiry_date text)",
        f"INSERT INTO mine VALUES ('good1234', 'sha512$${'a' * 128}', 'x', '2024-01-01', 0, NULL)",
        f"INSERT INTO mine VALUES ('late1234', 'sha512$${'b' * 128}', 'x', 'yesterday', 0, NULL)",
        "INSERT INTO mine VALUES ('weak1234', 'md5$salt$x', 'x', '2024-01-01', 0, NULL)",
    )
    options = ["--table=mine", "--scope=org", "--permissions=scan:read"]
    sentence, lines = refused("import_keys", "drf-api-key", "--database-url", url, *options)
    assert sentence == "Nothing was imported: 2 of 3 rows cannot be."
    assert lines == [
        "late1234: a time is written like 2026-02-18T09:30:00+00:00",
        f"weak1234: the algorithm md5 is none of {', '.join(digests.ALGORITHMS)}",
    ]


def test_short_token_of_drf_is_refused_and_not_shown(alice: Person, tmp_path: Path) -> None:
    url = sqlite(
        tmp_path,
        "CREATE TABLE authtoken_token (key text, created text, user_id int)",
        "CREATE TABLE people (pk integer primary key, email text)",
        "INSERT INTO people VALUES (7, 'x@example.com')",
        "INSERT INTO authtoken_token VALUES ('a-short-secret', '2024-01-01', 7)",
    )
    _, lines = refused("import_keys", "authtoken", "--database-url", url, "--user-table=people")
    assert lines == ["row 1: a token of Django REST framework has 40 characters"]


def sqlite(directory: Path, *statements: str) -> str:
    path = directory / "old.sqlite3"
    old = sqlite3.connect(path)
    for statement in statements:
        old.execute(statement)
    old.commit()
    old.close()
    return f"sqlite:///{path}"


def test_old_database_is_read_and_never_written(db: None, tmp_path: Path) -> None:
    from apikeys.old_tables import UnreadableDatabase, _opened

    url = sqlite(tmp_path, "CREATE TABLE t (x int)")
    with pytest.raises(UnreadableDatabase, match="readonly database"), _opened(url) as old, old.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")


ADDRESSES = {
    "no file": ("sqlite:////nowhere/old.sqlite3", "There is no file /nowhere/old.sqlite3."),
    "another database": ("mysql://u:p@127.0.0.1/x", "The old database's address must be like sqlite:///old.sqlite3 or"),
    "nothing": ("", "csv needs a file; the others need --database-url or --database-url-file."),
    "away": ("postgresql://u:hush@127.0.0.1:1/x", "The old database cannot be read: "),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_address_of_no_database_is_refused_without_its_password(alice: Person, name: str) -> None:
    url, beginning = ADDRESSES[name]
    sentence, _ = refused("import_keys", "knox", "--database-url", url)
    assert sentence.startswith(beginning)
    assert "hush" not in sentence


def test_address_may_come_from_a_file(bring: Callable[..., str], old_system: tuple[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text(f"{old_system[0]}\n")
    run("import_keys", "knox", "--database-url-file", str(path), "--scope=org", "--permissions=scan:read")
    assert ApiKey.objects.count() == 3
    with pytest.raises(CommandError, match="address once"):
        bring("knox", "--database-url-file", str(path))
    with pytest.raises(CommandError, match="nowhere cannot be read"):
        run("import_keys", "knox", "--database-url-file", str(tmp_path / "nowhere"))


# The CSV file

HEADER = "prefix,digest,algorithm"
GOOD = f"AbCd1234,{digests.of_text(TEXT).partition(':')[2]},sha256"


def written(directory: Path, *lines: str, encoding: str = "utf-8") -> str:
    path = directory / "keys.csv"
    path.write_text("\n".join(lines), encoding=encoding)
    return str(path)


def test_csv_says_of_each_key_what_it_says_and_options_the_rest(
    alice: Person, dana: Person, project: Project, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        f"{HEADER},name,owner,scope,project,team,environment,permissions,created_at,expires_at,revoked",
        f'{GOOD},ci,DANA@example.com,project,Checkout,,test,"scan:read, report:download",2024-01-01,2099-01-01T00:00Z,',
        f"XyZ01234,{'a' * 64},sha256,,,,,,,,,,yes",
        encoding="utf-8-sig",
    )
    run("import_keys", "csv", file, "--scope=team", "--team=payments", "--permissions=scan:read")
    first, second = ApiKey.objects.order_by("id")
    assert (first.name, first.issuer_id, first.scope, first.project_id) == ("ci", dana.user.pk, "project", project.pk)
    assert (first.environment, first.permissions) == ("test", ["report:download", "scan:read"])
    assert [first.created_at.isoformat(), first.expires_at and first.expires_at.isoformat()] == [
        "2024-01-01T00:00:00+00:00",
        "2099-01-01T00:00:00+00:00",
    ]
    assert (second.name, second.issuer_id, second.team_id) == ("csv XyZ01234", alice.user.pk, project.team_id)
    assert (second.created_at, second.revoked_at) == (second.imported_at, second.imported_at)
    response = call(f"Bearer {TEXT}")
    assert (response.status_code, response.json()["key"]["label"]) == (200, "AbCd1234")
    assert call(f"Token {TEXT}").status_code == 401


def test_csv_may_come_from_stdin(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{HEADER}\n{GOOD}\n"))
    run("import_keys", "csv", "-", "--scope=org", "--permissions=scan:read")
    assert call(f"Bearer {TEXT}").status_code == 200


ROWS = {
    "fields missing": ("AbCd1234,x", "it has more or fewer fields than the first line"),
    "fields too many": (f"{GOOD},,,,,,,,,,,,", "it has more or fewer fields than the first line"),
    "short prefix": (
        f"AbC,{'a' * 64},sha256,,,,,,,,,,",
        "a prefix is the first 4 to 16 characters of a key: letters, digits and . _ ~ / + = -",
    ),
    "formula": (
        f"=AbCd,{'a' * 64},sha256,,,,,,,,,,",
        "a prefix is the first 4 to 16 characters of a key: letters, digits and . _ ~ / + = -",
    ),
    "no digest": (
        "AbCd1234,x,sha256,,,,,,,,,,",
        "this is no digest of sha256, or one that costs too much to check",
    ),
    "no time": (f"{GOOD},,,,,,,,soon,,", "a time is written like 2026-02-18T09:30:00+00:00"),
    "neither yes nor no": (f"{GOOD},,,,,,,,,,perhaps", "revoked is yes or no"),
    "nobody": (f"{GOOD},,zoe@example.com,,,,,,,,", "Nobody has an account with the address zoe@example.com."),
    "stranger": (
        f"{GOOD},,charlie@example.com,,,,,,,,",
        "charlie@example.com is not in Northwind; name another issuer",
    ),
    "no scope": (f"{GOOD},,,galaxy,,,,,,,", "a key is for the org alone, for one team, or for one project"),
    "team missing": (f"{GOOD},,,team,,,,,,,", "a key is for the org alone, for one team, or for one project"),
    "team too much": (f"{GOOD},,,org,,Payments,,,,,", "a key is for the org alone, for one team, or for one project"),
    "unknown team": (f"{GOOD},,,team,,Nobody,,,,,", "There is no team called Nobody."),
    "environment": (f"{GOOD},,,,,,staging,,,,", "the environment is one of live, test"),
    "a key as name": (f"{GOOD},{of_nobody()},,,,,,,,,", KEY_PASTED),
    "invisible name": (f"{GOOD},a\x00b,,,,,,,,,", "A name has 1 to 100 characters, and none that cannot be seen."),
    "future": (f"{GOOD},,,,,,,,2999-01-01,,", "was made in the future"),
    "expired first": (f"{GOOD},,,,,,,,2024-01-02,2024-01-01,", "expired before it was made"),
    "too much asked": (
        f"{GOOD},,dana@example.com,project,Checkout,,,scan:read keys:write,,,",
        "dana@example.com could not issue it: Your role there does not allow: keys:write.",
    ),
    "unknown permission": (
        f"{GOOD},,,,,,,galaxy:rule,,,",
        "alice@example.com could not issue it: Your role there does not allow: galaxy:rule.",
    ),
    "scope too wide": (
        f"{GOOD},,dana@example.com,,,,,,,,",
        "dana@example.com could not issue it: Your role does not allow keys of this scope there. Choose another.",
    ),
}
WIDE = f"{HEADER},name,owner,scope,project,team,environment,permissions,created_at,expires_at,revoked"


@pytest.mark.parametrize("name", ROWS)
def test_row_that_cannot_be_had_is_told_by_its_line_and_nothing_is_imported(
    alice: Person, dana: Person, charlie: Person, project: Project, tmp_path: Path, name: str
) -> None:
    row, reason = ROWS[name]
    file = written(tmp_path, WIDE, f"good1234,{'b' * 64},sha256,,,,,,,,,,", row)
    options = ["--organization=Northwind", "--scope=org", "--permissions=scan:read"]
    sentence, lines = refused("import_keys", "csv", file, *options)
    assert sentence == "Nothing was imported: 1 of 2 rows cannot be."
    assert lines == [f"line 3: {reason}"]


def test_every_bad_row_is_told_at_once(alice: Person, tmp_path: Path) -> None:
    bad = [f"AbCd1234,{'c' * 64},sha256", "x,y,z", f"later123,{'d' * 64},sha256,2999-01-01"]
    file = written(
        tmp_path, f"{HEADER},created_at", f"{GOOD},", *[f"{row}," if "2999" not in row else row for row in bad]
    )
    sentence, lines = refused("import_keys", "csv", file, "--scope=org", "--permissions=scan:read")
    assert sentence == "Nothing was imported: 3 of 4 rows cannot be."
    assert sorted(lines) == [
        "line 3: begins with the same characters as the key at line 2",
        f"line 4: the algorithm z is none of {', '.join(digests.ALGORITHMS)}",
        "line 5: was made in the future",
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--permissions=scan:read"], "it names no scope; say with --scope what such keys are for"),
        (["--scope=org"], "it names no permissions; say with --permissions what such keys may do"),
    ],
)
def test_what_neither_row_nor_option_says_is_asked_for(
    alice: Person, tmp_path: Path, options: list[str], reason: str
) -> None:
    _, lines = refused("import_keys", "csv", written(tmp_path, HEADER, GOOD), *options)
    assert lines == [f"line 2: {reason}"]


def test_organization_without_a_super_admin_needs_an_issuer(organization: Organization, tmp_path: Path) -> None:
    file = written(tmp_path, HEADER, GOOD)
    _, lines = refused("import_keys", "csv", file, "--scope=org", "--permissions=scan:read")
    assert lines == ["line 2: there is no super admin in Northwind; name another issuer"]


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "The first line of the file must name the columns; missing: prefix, digest, algorithm."),
    "no algorithm": (b"prefix,digest\n", "The first line of the file must name the columns; missing: algorithm."),
    "another column": (
        b"prefix,digest,algorithm,colour\n",
        "The file has columns that mean nothing here, or one twice.",
    ),
    "column twice": (b"prefix,digest,algorithm,name,name\n", "The file has columns that mean nothing here, or one"),
    "no UTF-8": (b"prefix,digest,algorithm\n\xff,a,b\n", "After line 0 this is no CSV file in UTF-8."),
    "open quote": (b'prefix,digest,algorithm\n"a,b,c\n', "After line 1 this is no CSV file in UTF-8."),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_no_list_of_keys_is_refused(alice: Person, tmp_path: Path, name: str) -> None:
    content, beginning = FILES[name]
    path = tmp_path / "keys.csv"
    path.write_bytes(content)
    sentence, _ = refused("import_keys", "csv", str(path), "--scope=org", "--permissions=scan:read")
    assert sentence.startswith(beginning)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say what the keys are from: drf-api-key, knox, authtoken, csv; or --report."),
        (["csv"], "csv needs a file; the others need --database-url or --database-url-file."),
        (["csv", "x", "--database-url=x"], "csv needs a file; the others need --database-url or --database-url-file."),
        (["knox"], "csv needs a file; the others need --database-url or --database-url-file."),
        (["csv", "/nowhere/keys.csv"], "/nowhere/keys.csv cannot be read: No such file or directory."),
    ],
)
def test_command_says_what_it_needs(alice: Person, arguments: list[str], sentence: str) -> None:
    assert refused("import_keys", *arguments)[0] == sentence


def test_import_that_someone_else_was_faster_with_is_refused(
    alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise IntegrityError

    monkeypatch.setattr(actions, "import_keys", fail)
    file = written(tmp_path, HEADER, GOOD)
    sentence, _ = refused("import_keys", "csv", file, "--scope=org", "--permissions=scan:read")
    assert sentence == "Someone else wrote one of these keys meanwhile. Nothing was imported."


# The report


def test_report_lists_imported_keys_that_nobody_has_used_since(alice: Person, charlie: Person, tmp_path: Path) -> None:
    names = {"aaaa1111": "seen", "bbbb2222": "=unseen", "cccc3333": "gone"}
    rows = [f"{prefix},{digest(prefix)},sha256,{name}" for prefix, name in names.items()]
    file = written(tmp_path, f"{HEADER},name", *rows)
    mine = ["--organization=Northwind"]
    run("import_keys", "csv", file, "--scope=org", "--permissions=scan:read", *mine)
    actions.revoke_key(principal=None, api_key=ApiKey.objects.get(name="gone"), at=timezone.now())
    assert call(f"Bearer {secret('aaaa1111')}").status_code == 200
    uses.flush()
    out, err = run("import_keys", "--report", *mine)
    header, *found = csv.reader(io.StringIO(out))
    assert header[:3] == ["label", "name", "imported_from"]
    assert [(row[0], row[1], row[2], row[6], row[7], row[8]) for row in found] == [
        ("bbbb2222", "'=unseen", "csv", "active", "alice@example.com", "Northwind"),
        ("cccc3333", "gone", "csv", "revoked", "alice@example.com", "Northwind"),
    ]
    assert err == "2 of 3 imported keys were not used since they were imported.\n"
    assert run("import_keys", "--report", "--organization=Elsewhere")[1].startswith("0 of 0 imported keys")


def secret(prefix: str) -> str:
    return prefix + "s" * 32


def digest(prefix: str) -> str:
    return digests.of_text(secret(prefix)).partition(":")[2]


# The action


@pytest.fixture
def incoming(bob: Person, team: Team) -> Callable[..., Incoming]:
    def incoming(text: str = TEXT, **changes: Any) -> Incoming:
        wanted: dict[str, Any] = {
            "where": "line 2",
            "source": "csv",
            "prefix": text[:8],
            "digest": digests.of_text(text),
            "name": "ci",
            "principal": bob.principal,
            "place": team,
            "environment": "live",
            "permissions": ("scan:read", "scan:read"),
            "created_at": NOON,
            "expires_at": None,
        } | changes
        return Incoming(**wanted)

    return incoming


def test_import_keys_saves_nothing_if_an_audit_row_fails(
    incoming: Callable[..., Incoming], organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        import_keys(organization=organization, keys=[incoming()], at=NOON)
    assert ApiKey.objects.count() == 0


def test_import_keys_takes_more_keys_than_one_query_asks_for(
    incoming: Callable[..., Incoming], organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apikeys.actions.importing._PREFIXES_AT_ONCE", 2)
    keys = [incoming(f"{n:08}" + "x" * 32) for n in range(5)]
    assert len(import_keys(organization=organization, keys=keys, at=NOON).new) == 5
    assert import_keys(organization=organization, keys=keys, at=NOON) == actions.Imported([], 5)


@pytest.mark.parametrize("other", [{"digest": digests.of_text("other")}, {"source": "knox"}])
def test_import_keys_never_takes_the_place_of_another_key(
    incoming: Callable[..., Incoming], organization: Organization, other: dict[str, str]
) -> None:
    import_keys(organization=organization, keys=[incoming()], at=NOON)
    with pytest.raises(NotImportable) as error:
        import_keys(organization=organization, keys=[incoming(**other)], at=NOON)
    assert error.value.reasons == {"line 2": "begins with the same characters as another key here"}


def test_import_keys_never_takes_the_place_of_a_key_of_ours_or_of_others(
    incoming: Callable[..., Incoming], issued: Any, organization: Organization, charlie: Person
) -> None:
    for prefix, place in ((issued.row.prefix, organization), (TEXT[:8], charlie.membership.organization)):
        keys = [incoming(prefix=prefix)]
        if place != organization:
            import_keys(organization=organization, keys=keys, at=NOON)
        with pytest.raises(NotImportable) as error:
            import_keys(organization=place, keys=keys, at=NOON)
        assert error.value.reasons == {"line 2": "begins with the same characters as another key here"}


def test_incoming_key_shows_no_digest(incoming: Callable[..., Incoming]) -> None:
    assert "sha256" not in repr(incoming())


@pytest.mark.parametrize("environment", ["live", "test"])
def test_import_keys_heeds_what_the_project_accepts(
    incoming: Callable[..., Incoming], organization: Organization, project: Project, environment: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_project SET environments = 'live'")
    project.refresh_from_db()
    keys = [incoming(place=project, environment=environment)]
    if environment == "live":
        assert import_keys(organization=organization, keys=keys, at=NOON).new[0].project_id == project.pk
        return
    with pytest.raises(NotImportable):
        import_keys(organization=organization, keys=keys, at=NOON)


@pytest.mark.parametrize("fields", [{"imported_from": "csv"}, {"imported_at": NOON}])
def test_database_holds_where_a_key_is_from_together_with_when_it_came(
    incoming: Callable[..., Incoming], organization: Organization, fields: dict[str, Any]
) -> None:
    [row] = import_keys(organization=organization, keys=[incoming()], at=NOON).new
    nothing = {"imported_from": "", "imported_at": None}
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=row.pk).update(**nothing | fields)


@pytest.mark.django_db(transaction=True)
def test_the_same_import_at_once_brings_each_key_once(
    transactional_db: None, incoming: Callable[..., Incoming], organization: Organization
) -> None:
    keys = [incoming(f"{n:08}" + "x" * 32) for n in range(5)]
    together = threading.Barrier(4)

    def run() -> str:
        together.wait(10)
        try:
            return f"{len(import_keys(organization=organization, keys=keys, at=NOON).new)} new"
        except IntegrityError:
            return "someone else was faster"
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(future.result(60) for future in [pool.submit(run) for _ in range(4)])
    late = "someone else was faster" if connection.vendor == "postgresql" else "0 new"
    assert "5 new" in outcomes
    assert set(outcomes) - {"5 new"} <= {late, "0 new"}
    assert ApiKey.objects.count() == AuditEvent.objects.filter(event="api_key.imported").count() == 5
