"""Keys as other systems wrote them down, before anyone has looked whether they can be had here."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apikeys import digests
from apikeys.foreign import MAX_PREFIX_LENGTH, MIN_PREFIX_LENGTH

REQUIRED_COLUMNS = ("prefix", "digest", "algorithm")
OPTIONAL_COLUMNS = (
    "name",
    "owner",
    "scope",
    "team",
    "project",
    "environment",
    "permissions",
    "created_at",
    "expires_at",
    "revoked",
)
# Of RFC 6750 §2.1, less what a spreadsheet would take for the beginning of a formula.
_PREFIX = re.compile(rf"[A-Za-z0-9._~/][A-Za-z0-9._~/+=-]{{{MIN_PREFIX_LENGTH - 1},{MAX_PREFIX_LENGTH - 1}}}")
_YES, _NO = {"1", "true", "t", "yes", "y"}, {"", "0", "false", "f", "no", "n"}


class UnreadableRow(ValueError):
    """A row that is no key. Its message is for the operator and repeats no digest."""


class UnreadableFile(ValueError):
    """A file that is no list of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldKey:
    """One key of another system. What is empty, the operator's options say."""

    source: str
    where: str  # it stands, such as "line 3"
    prefix: str
    digest: str = field(repr=False)  # in the stored form of `digests`
    name: str = ""
    owner: str = ""  # an email address
    scope: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    permissions: tuple[str, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    is_revoked: bool = False
    is_disabled: bool = False

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise UnreadableRow(
                f"a prefix is the first {MIN_PREFIX_LENGTH} to {MAX_PREFIX_LENGTH} characters of a key: "
                "letters, digits and . _ ~ / + = -"
            )


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: keys, and why the other rows are none, by where they stand."""

    keys: list[OldKey] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def read_csv(lines: Iterable[str]) -> Reading:
    """Read the keys of a CSV file (RFC 4180) whose first line names its columns.

    :raises UnreadableFile: if it has not the columns of such a file.
    """
    rows = csv.DictReader(lines, strict=True)
    reading = Reading()
    try:
        _check_columns(rows.fieldnames or ())
        for row in rows:
            where = f"line {rows.line_num}"
            try:
                reading.keys.append(_key_of(row, where))
            except (UnreadableRow, digests.UnknownDigest) as error:
                reading.reasons[where] = str(error)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableFile(f"After line {rows.line_num} this is no CSV file in UTF-8.") from error
    return reading


def as_moment(value: datetime | str | None) -> datetime | None:
    """Return a time as it was stored or written (ISO 8601), in UTC where it names no zone; None for nothing.

    :raises UnreadableRow: if a text is no time.
    """
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError as error:
        raise UnreadableRow("a time is written like 2026-02-18T09:30:00+00:00") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _check_columns(columns: Iterable[str]) -> None:
    found = list(columns)
    if missing := [name for name in REQUIRED_COLUMNS if name not in found]:
        raise UnreadableFile(f"The first line of the file must name the columns; missing: {', '.join(missing)}.")
    if set(found) - {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS} or len(set(found)) < len(found):
        known = ", ".join((*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS))
        raise UnreadableFile(f"The file has columns that mean nothing here, or one twice. There are: {known}.")


def _key_of(row: Mapping[str | None, str | list[str] | None], where: str) -> OldKey:
    if None in row or None in row.values():
        raise UnreadableRow("it has more or fewer fields than the first line")
    cells = dict.fromkeys(OPTIONAL_COLUMNS, "") | {str(name): str(value).strip() for name, value in row.items()}
    return OldKey(
        source="csv",
        where=where,
        prefix=cells["prefix"],
        digest=digests.stored_form(cells["algorithm"].lower(), cells["digest"]),
        name=cells["name"],
        owner=cells["owner"],
        scope=cells["scope"],
        team=cells["team"],
        project=cells["project"],
        environment=cells["environment"],
        permissions=tuple(_words(cells["permissions"])),
        created_at=as_moment(cells["created_at"]),
        expires_at=as_moment(cells["expires_at"]),
        is_revoked=_is_yes(cells["revoked"]),
    )


def _words(text: str) -> Iterator[str]:
    yield from filter(None, re.split(r"[\s,]+", text))


def _is_yes(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise UnreadableRow("revoked is yes or no")
    return text.lower() in _YES
