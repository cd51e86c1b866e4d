"""Reading the tables of the packages that keys are brought along from, with plain SQL: none of them is needed here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from apikeys import digests
from apikeys.incoming import OldKey, Reading, UnreadableRow, as_moment
from keyportal.environment import Environment

# Of a token that has no public part: enough that no two of 100,000 are the same, and 112 random bits are left.
AUTHTOKEN_PREFIX_LENGTH = 12
AUTHTOKEN_LENGTH = 40
KNOX_PREFIX_LENGTH = 16
# Since knox 5 it is 15, and the digest another.
KNOX_4_PREFIX_LENGTH = 8
USER_TABLE = "auth_user"
_OLD = "old"

Row = Mapping[str, Any]


class UnreadableDatabase(Exception):
    """The old database, or the table in it, is not what it was said to be."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One package: its table, the columns of it that are read, and how a row becomes a key."""

    table: str
    columns: tuple[str, ...]
    as_key: Callable[[Row, str], OldKey]
    has_users: bool = True
    # Columns that only tables have whose digests cannot be checked, and why.
    unusable: tuple[tuple[str, str], ...] = ()


def read_tables(
    source: str, url: str, *, table: str = "", user_table: str = USER_TABLE, algorithm: str = "sha512"
) -> Reading:
    """Read the keys of a package from its own database.

    :param table: another table than the package's usual one, as a model of one's own has.
    :param algorithm: knox's `SECURE_HASH_ALGORITHM`.
    :raises UnreadableDatabase: if the database or the table cannot be read.
    """
    origin, reading = ORIGINS[source], Reading()
    with _opened(url) as connection:
        for row in _rows(connection, origin, table or origin.table, user_table):
            where = str(row["prefix"] if "prefix" in row else row.get("token_key", f"row {row['number']}"))
            try:
                reading.keys.append(origin.as_key({**row, "where": where}, algorithm))
            except (UnreadableRow, digests.UnknownDigest) as error:
                reading.reasons[where] = str(error)
    return reading


@contextmanager
def _opened(url: str) -> Iterator[BaseDatabaseWrapper]:
    """Open the old database for reading alone, and turn what goes wrong into a sentence."""
    handler = ConnectionHandler({"default": {}, _OLD: _read_only(url)})
    connection: BaseDatabaseWrapper = handler[_OLD]
    try:
        yield connection
    except Error as error:
        raise UnreadableDatabase(f"The old database cannot be read: {str(error).partition(chr(10))[0]}") from error
    finally:
        connection.close()


def _read_only(url: str) -> dict[str, Any]:
    try:
        config = Environment().database(url)
    except ImproperlyConfigured:
        config = {}
    if config.get("ENGINE") == "django.db.backends.sqlite3":
        path = Path(config["NAME"]).absolute()
        if not path.is_file():
            raise UnreadableDatabase(f"There is no file {path}.")
        return {**config, "NAME": f"{path.as_uri()}?mode=ro"}
    if config:
        options = {"connect_timeout": 10, "options": "-c default_transaction_read_only=on"}
        return {**config, "ENGINE": "django.db.backends.postgresql", "OPTIONS": options | config.get("OPTIONS", {})}
    raise UnreadableDatabase(
        "The old database's address must be like sqlite:///old.sqlite3 or postgresql://user:password@host:5432/name. "
        "From any other database, export a CSV file."
    )


def _rows(connection: BaseDatabaseWrapper, origin: Origin, table: str, user_table: str) -> Iterator[Row]:
    """Yield the rows of a table, and beside each the name, address and state of its user."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        found = _columns(connection, cursor, table)
        for column, reason in origin.unusable:
            if column in found:
                raise UnreadableDatabase(f"The table {table} {reason}.")
        if missing := [column for column in origin.columns if column not in found]:
            raise UnreadableDatabase(f"The table {table} has no column {', '.join(missing)}.")
        names = list(origin.columns)
        selected = [f"k.{quote(column)}" for column in names]
        joined = ""
        if origin.has_users:
            users = _columns(connection, cursor, user_table)
            of_users = [column for column in ("username", "email", "is_active") if column in users]
            names += of_users
            selected += [f"u.{quote(column)}" for column in of_users]
            key = quote(str(connection.introspection.get_primary_key_column(cursor, user_table)))
            joined = f" JOIN {quote(user_table)} u ON u.{key} = k.{quote('user_id')}"
        statement = f"SELECT {', '.join(selected)} FROM {quote(table)} k{joined} ORDER BY 1"  # noqa: S608 - names that are there, quoted
        cursor.execute(statement)
        for number, row in enumerate(cursor.fetchall(), start=1):
            yield {**dict(zip(names, row, strict=True)), "number": number}


def _columns(connection: BaseDatabaseWrapper, cursor: Any, table: str) -> set[str]:
    if table not in connection.introspection.table_names(cursor):
        raise UnreadableDatabase(f"The old database has no table {table}.")
    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} WHERE 1 = 0")  # noqa: S608 - a name that is there, quoted
    return {column[0] for column in cursor.description}


def _of_drf_api_key(row: Row, _algorithm: str) -> OldKey:
    return OldKey(
        source="drf-api-key",
        where=row["where"],
        prefix=row["prefix"],
        digest=digests.of_django(row["hashed_key"]),
        name=row["name"],
        created_at=as_moment(row["created"]),
        expires_at=as_moment(row["expiry_date"]),
        is_revoked=bool(row["revoked"]),
    )


def _of_knox(row: Row, algorithm: str) -> OldKey:
    return OldKey(
        source="knox",
        prefix=row["token_key"][:KNOX_PREFIX_LENGTH],
        digest=digests.of_knox(algorithm, row["digest"], is_of_bytes=len(row["token_key"]) == KNOX_4_PREFIX_LENGTH),
        expires_at=as_moment(row["expiry"]),
        **_of_user(row),
    )


def _of_authtoken(row: Row, _algorithm: str) -> OldKey:
    text = row["key"]
    if len(text) < AUTHTOKEN_LENGTH:
        raise UnreadableRow(f"a token of Django REST framework has {AUTHTOKEN_LENGTH} characters")
    return OldKey(
        source="authtoken",
        prefix=text[:AUTHTOKEN_PREFIX_LENGTH],
        digest=digests.of_text(text),
        **_of_user(row),
    )


def _of_user(row: Row) -> dict[str, Any]:
    """Return what a token takes from its user: who is disabled there cannot use it, and shall not here."""
    name = row.get("username") or row.get("email")
    return {
        "where": row["where"],
        "name": f"Token of {name}"[:100] if name else "",
        "owner": row.get("email") or "",
        "created_at": as_moment(row["created"]),
        "is_disabled": not row.get("is_active", True),
    }


ORIGINS: Final = {
    "drf-api-key": Origin(
        "rest_framework_api_key_apikey",
        ("prefix", "hashed_key", "name", "created", "revoked", "expiry_date"),
        _of_drf_api_key,
        has_users=False,
    ),
    "knox": Origin(
        "knox_authtoken",
        ("token_key", "digest", "created", "expiry", "user_id"),
        _of_knox,
        unusable=(("salt", "is of knox before 4.2, whose digests are salted; upgrade knox, then issue tokens anew"),),
    ),
    "authtoken": Origin("authtoken_token", ("key", "created", "user_id"), _of_authtoken),
}
