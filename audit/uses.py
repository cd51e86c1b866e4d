"""Who used a key, when and from where: one record a request, kept in the process and written in batches.

A request only leaves its record here; a thread of this process writes what has gathered once a second, and what is
left when the process ends. Nothing is written twice: a batch carries the number that its writer gave it, in the same
transaction, so that one whose commit was never confirmed is known when it is sent again. Refusals of one kind are
stored one by one up to a point; beyond that a flood makes one row a minute, with their exact number in it.
"""

import atexit
import ipaddress
import os
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DataError, Error, IntegrityError, close_old_connections, connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from audit.addresses import place_of
from audit.models import KeyAddress, KeyUse, KeyUseHour, UseWriter
from audit.signals import uses_written
from keyportal import metrics

FLUSH_SECONDS = 1.0
END_SECONDS = 5.0
BATCH_SIZE = 1_000
MAX_WAITING = 10_000  # records, about 500 bytes each; only a database that takes no writes lets them gather
# Refusals of one source, prefix and outcome that are stored one by one in a minute; the rest are counted.
SINGLE_REFUSALS = 10
MAX_GROUPS = 2_000
PREFIXES_OF_A_SOURCE = 50

log = structlog.get_logger("audit.uses")
_MINUTE = timedelta(minutes=1)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


Kind = tuple[str | None, str, str]  # of refusals: source, prefix, outcome


class Use(NamedTuple):
    """One request with a key, or one refused. Of a refused text only the prefix is known to be no secret."""

    id: UUID
    at: datetime
    outcome: str
    is_refused: bool
    status: int
    prefix: str = ""
    key_id: UUID | None = None
    label: str = ""
    organization_id: UUID | None = None
    method: str = ""
    route: str = ""
    address: str | None = None
    user_agent: str = ""
    count: int = 1  # type: ignore[assignment] # a column's name; nobody counts what is in a record


class LastUse(NamedTuple):
    """When and from where a key was last let in, as far as one batch knows."""

    at: datetime
    address: str | None


class _Batch(NamedTuple):
    number: int
    uses: Sequence[Use]
    # Rows of counted refusals, which may be there already and then grow.
    counted: Sequence[Use]

    def __len__(self) -> int:
        return sum(use.count for use in (*self.uses, *self.counted))

    def halves(self) -> list[tuple[Sequence[Use], Sequence[Use]]]:
        """Return what it holds, which is rows of one kind, as two of half of them; nothing, if it is one row."""
        rows = self.uses or self.counted
        some, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        if not some:
            return []
        return [(some, []), (others, [])] if self.uses else [([], some), ([], others)]


class UseNotRecorded(Exception):
    """The use could not be written, and this installation answers nothing that it has not recorded."""


class Recorder:
    """What one process has to write. A forked child starts anew, with a thread of its own."""

    def __init__(self) -> None:
        self.id = uuid7()
        self._lock = threading.Lock()  # guards the next two
        self._waiting: list[Use] = []
        self._refusals = Refusals()
        self._flushing = threading.Lock()  # guards the next two
        self._batches: deque[_Batch] = deque()
        self._number = 0
        self._wake = threading.Event()
        self._is_ending = False
        self._thread: threading.Thread | None = None

    def add(self, use: Use) -> None:
        """Take a record; one for which there is no room is counted as lost."""
        with self._lock:
            if use.is_refused and not self._refusals.is_single(use):
                return
            if len(self._waiting) >= MAX_WAITING:
                metrics.USES_LOST.inc()
                return
            self._waiting.append(use)
            is_full = len(self._waiting) == BATCH_SIZE
        if is_full:
            self._wake.set()

    def is_single(self, use: Use) -> bool:
        """Say whether a refusal is to be stored by itself; otherwise it is now counted with others of its kind."""
        with self._lock:
            return self._refusals.is_single(use)

    def flush(self) -> None:
        """Write everything that waits. What comes meanwhile waits for the next time, or it would never end.

        :raises Error: of `django.db`, if it cannot be written now; it goes on waiting.
        """
        with self._flushing:
            try:
                # First what an earlier try has left, so that no more than that is ever taken out of the bounded list.
                self._write_batches()
                self._take()
                self._write_batches()
            finally:
                metrics.USE_BUFFER.set(self.waiting())

    def waiting(self) -> int:
        """Return how many requests are not written yet."""
        with self._lock:
            # A copy, since another thread may be writing them.
            return len(self._waiting) + sum(map(len, [*self._batches])) + self._refusals.counted()

    def _take(self) -> None:
        with self._lock:
            uses, self._waiting = self._waiting, []
            counted = self._refusals.take_counted()
        for start in range(0, len(uses), BATCH_SIZE):
            self._batches.append(self._batch(uses[start : start + BATCH_SIZE], []))
        if counted:
            self._batches.append(self._batch([], counted))

    def _write_batches(self) -> None:
        while self._batches:
            self._write(self._batches[0])
            self._batches.popleft()

    def _batch(self, uses: Sequence[Use], counted: Sequence[Use]) -> _Batch:
        self._number += 1
        return _Batch(self._number, uses, counted)

    def _write(self, batch: _Batch) -> None:
        try:
            _write_once(batch, writer_id=self.id)
        except (DataError, IntegrityError, ValueError, OverflowError) as error:
            # One of its rows is refused for good, and must not hold up all others. Any other error may pass: a
            # server that is read-only just now, or a table that a migration is still to make.
            if halves := batch.halves():
                self._batches.extend(self._batch(*half) for half in halves)
                return
            log.exception("uses.refused_by_database", count=len(batch), reason=type(error).__name__)
            metrics.USES_LOST.inc(len(batch))
        else:
            metrics.USES_WRITTEN.inc(len(batch))

    def ensure_running(self) -> None:
        """Start the thread that writes, in the process that has something to write."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._begin()

    def _begin(self) -> None:
        """Start the thread; where there is none to be had, the next record tries again. The caller holds the lock."""
        thread = threading.Thread(target=self._run, name="uses", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("uses.no_thread", reason=str(error))  # noqa: TRY400 - the sentence says it all
            return
        self._thread = thread
        atexit.register(self.end)

    def _run(self) -> None:
        was_written = True
        while not self._is_ending:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            error = self._try_to_flush()
            # Said once for each time that it begins; the metrics tell how much is waiting.
            if error and was_written:
                log.error("uses.not_written", reason=type(error).__name__)
            was_written = error is None
        connection.close()

    def _try_to_flush(self) -> Exception | None:
        """Write what waits, and return why not, if not."""
        try:
            close_old_connections()
            self.flush()
        except Exception as error:  # noqa: BLE001 - without this thread nothing would be written any more
            # What is wrong may be the connection itself, which then need not even close.
            with suppress(Error):
                connection.close()
            return error
        return None

    def end(self) -> None:
        """Write what is left, once no more can come; for so long as a restarting database may take."""
        self._is_ending = True
        self._wake.set()
        last_try_at = time.monotonic() + END_SECONDS
        while (error := self._try_to_flush()) and time.monotonic() < last_try_at:
            time.sleep(END_SECONDS / 20)
        if error:
            count = self.waiting()
            metrics.USES_LOST.inc(count)
            log.error("uses.lost", count=count, reason=type(error).__name__)
        else:
            # Its number is of no use any more; where it stays, `prune_uses` removes it.
            with suppress(Error):
                UseWriter.objects.filter(pk=self.id).delete()
        connection.close()


class Refusals:
    """How many refusals of one kind the running minute has seen, so that a flood is counted and not stored."""

    def __init__(self) -> None:
        self._minute = datetime.min.replace(tzinfo=UTC)
        self._begin_minute(self._minute)
        self._ended: list[Use] = []

    def is_single(self, use: Use) -> bool:
        minute = use.at.replace(second=0, microsecond=0)
        # A request that began in the minute before counts in this one: it must not begin that minute anew.
        if not timedelta() <= self._minute - minute <= _MINUTE:
            self._end_minute()
            self._begin_minute(minute)
        group = self._group(use)
        group.seen += 1
        if group.seen <= SINGLE_REFUSALS:
            return True
        group.counted += 1
        return False

    def take_counted(self) -> list[Use]:
        """Return the rows of what was counted since the last time, to be added to those with the same id."""
        rows, self._ended = self._ended, []
        for group in self._groups():
            if group.counted:
                rows.append(group.first._replace(count=group.counted))
                group.counted = 0
        return rows

    def _begin_minute(self, minute: datetime) -> None:
        self._minute = minute
        self._of_keys: dict[Kind, _Group] = {}
        self._of_strangers: dict[Kind, _Group] = {}
        self._prefixes: Counter[str | None] = Counter()

    def _groups(self) -> Iterator["_Group"]:
        return chain(self._of_keys.values(), self._of_strangers.values())

    def _end_minute(self) -> None:
        """Keep what was counted until it is taken; as bounded as all else, where nothing is."""
        rows = self.take_counted()
        self._ended = rows[:MAX_WAITING]
        metrics.USES_LOST.inc(sum(use.count for use in rows[MAX_WAITING:]))

    def counted(self) -> int:
        return sum(use.count for use in self._ended) + sum(group.counted for group in self._groups())

    def _group(self, use: Use) -> "_Group":
        """Return the group of a refusal.

        Keys have room of their own. Of strangers, one source has few prefixes to itself; the rest of what it sends, and
        what comes from too many sources at once, is counted together, so that nobody fills the room of others.
        """
        groups = self._of_keys if use.key_id else self._of_strangers
        kind = (use.address, use.prefix, use.outcome)
        if kind not in groups and not use.key_id and use.prefix:
            if self._prefixes[use.address] >= PREFIXES_OF_A_SOURCE:
                kind, use = (use.address, "", use.outcome), use._replace(prefix="")
            elif len(groups) < MAX_GROUPS:
                self._prefixes[use.address] += 1
        if kind not in groups and len(groups) >= MAX_GROUPS:
            kind = (None, "", use.outcome)
            use = use._replace(address=None, prefix="", key_id=None, label="", organization_id=None)
        if kind not in groups:
            groups[kind] = _Group(use)
        return groups[kind]


class _Group:
    __slots__ = ("counted", "first", "seen")

    def __init__(self, first: Use) -> None:
        minute = first.at.replace(second=0, microsecond=0)
        self.first = first._replace(id=uuid7(), at=minute, method="", route="", user_agent="")
        self.seen = self.counted = 0


def _write_once(batch: _Batch, *, writer_id: UUID) -> None:
    """Write a batch, unless it was written by a transaction of whose end nobody heard."""
    with transaction.atomic():
        if _is_first_time(writer_id, batch.number):
            _write_rows(batch.uses, batch.counted)


def _is_first_time(writer_id: UUID, number: int) -> bool:
    """Take down the number of a batch; say no if it was taken down before. A transaction still in doubt is awaited."""
    [row] = _adapted([(writer_id, number, timezone.now())])
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_WRITERS} (id, batch, at) VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE "  # noqa: S608 - names of our own
            f"SET batch = EXCLUDED.batch, at = EXCLUDED.at WHERE {_WRITERS}.batch < EXCLUDED.batch",
            row,
        )
        return bool(cursor.rowcount == 1)


def _write_rows(uses: Sequence[Use], counted: Sequence[Use]) -> None:
    """Write records and all that follows from them. The caller holds a transaction."""
    if connection.vendor == "postgresql":
        statement = f"COPY {_TABLE} ({_COLUMNS}) FROM STDIN"
        # Django knows nothing of COPY, and would let the library's own errors through.
        with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
            for use in uses:
                copy.write_row(use)
    elif uses:
        statement = f"INSERT INTO {_TABLE} ({_COLUMNS}) VALUES ({_marks(len(Use._fields))})"  # noqa: S608 - names and marks of our own
        with connection.cursor() as cursor:
            cursor.executemany(statement, _adapted(uses))
    _upsert(_TABLE, _COLUMNS, "id", ["count"], counted)
    _upsert(
        _HOURS, "key_id, hour, uses, refusals", "key_id, hour", ["uses", "refusals"], _by_hour(_owned(uses, counted))
    )
    _upsert_addresses(_by_address(uses))
    if newest := _newest(uses):
        uses_written.send(sender=KeyUse, newest=newest)


_TABLE = KeyUse._meta.db_table
_HOURS = KeyUseHour._meta.db_table
_ADDRESSES = KeyAddress._meta.db_table
_WRITERS = UseWriter._meta.db_table
_COLUMNS = ", ".join(Use._fields)
_ROWS_PER_STATEMENT = 500


def _upsert(
    table: str, columns: str, key: str, added: Sequence[str], rows: Sequence[Sequence[Any]], latest: str = ""
) -> None:
    """Insert rows, or add to those that are there, and move a time forward. All names are this module's own."""
    sums = ", ".join(f"{name} = {table}.{name} + EXCLUDED.{name}" for name in added)
    if latest:
        sums += (
            f", {latest} = CASE WHEN {table}.{latest} < EXCLUDED.{latest} "
            f"THEN EXCLUDED.{latest} ELSE {table}.{latest} END"
        )
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[start : start + _ROWS_PER_STATEMENT]
        values = ", ".join([f"({_marks(len(some[0]))})"] * len(some))
        statement = f"INSERT INTO {table} ({columns}) VALUES {values} ON CONFLICT ({key}) DO UPDATE SET {sums}"  # noqa: S608 - names and marks of our own
        with connection.cursor() as cursor:
            cursor.execute(statement, [value for row in _adapted(some) for value in row])


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


def _adapted(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return rows as the database takes them: SQLite has neither ids nor times."""
    if connection.vendor == "postgresql":
        return [list(row) for row in rows]
    return [[_sqlite_value(value) for value in row] for row in rows]


def _sqlite_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


Owners = Callable[[Collection[str]], Mapping[str, UUID]]
_owners_of: Owners | None = None


def ask_owners_of(owners_of: Owners) -> None:
    """Have refusals counted for the key whose prefix they named, though its secret was another; this tells whose."""
    global _owners_of  # noqa: PLW0603 - one value for the whole process is the point
    _owners_of = owners_of


def _owned(*some: Sequence[Use]) -> list[Use]:
    """Return uses with the key that each counts for. What is stored of one that did not get as far names none."""
    uses = [use for part in some for use in part]
    prefixes = {use.prefix for use in uses if use.prefix and not use.key_id}
    owners = _owners_of(prefixes) if _owners_of and prefixes else {}
    return [use if use.key_id else use._replace(key_id=owners.get(use.prefix)) for use in uses]


def _by_hour(uses: Iterable[Use]) -> list[tuple[UUID, datetime, int, int]]:
    """Return how often each key was let in and refused in each hour, in an order in which no two writers deadlock."""
    sums: dict[tuple[UUID, datetime], tuple[int, int]] = {}
    for use in uses:
        if use.key_id:
            hour = use.at.replace(minute=0, second=0, microsecond=0)
            let_in, refused = sums.get((use.key_id, hour), (0, 0))
            sums[use.key_id, hour] = (let_in, refused + use.count) if use.is_refused else (let_in + use.count, refused)
    return [(key_id, hour, *counts) for (key_id, hour), counts in sorted(sums.items())]


def _upsert_addresses(rows: Sequence[Sequence[Any]]) -> None:
    columns = "key_id, organization_id, place, address, first_seen, last_seen, uses"
    _upsert(_ADDRESSES, columns, "key_id, place", ["uses"], rows, latest="last_seen")


def _by_address(uses: Iterable[Use]) -> list[tuple[UUID, UUID, bytes, str, datetime, datetime, int]]:
    """Return from where each key came, with its own secret; in an order in which no two writers deadlock.

    A key that everyone has comes from everywhere, which tells nothing and has no end.
    """
    seen: dict[tuple[UUID, bytes], tuple[UUID, bytes, str, datetime, datetime, int]] = {}
    for use in uses:
        if use.key_id and use.organization_id and use.address and use.key_id not in _everyones:
            key = (use.key_id, place_of(use.address))
            _, _, _, first, last, count = seen.get(key, (None, None, None, use.at, use.at, 0))
            times = (min(first, use.at), max(last, use.at))
            seen[key] = (use.organization_id, key[1], use.address, *times, count + use.count)
    return [(key_id, *row) for (key_id, _), row in sorted(seen.items())]


_everyones: set[UUID] = set()


def is_everyones(key_id: UUID) -> None:
    """Keep no addresses of a key, since it is everyone's. Whoever records a use of it says so first."""
    _everyones.add(key_id)


def _newest(uses: Iterable[Use]) -> dict[UUID, LastUse]:
    newest: dict[UUID, LastUse] = {}
    for use in uses:
        if use.key_id and not use.is_refused and (use.key_id not in newest or newest[use.key_id].at < use.at):
            newest[use.key_id] = LastUse(use.at, use.address)
    return newest


_recorder = Recorder()
_is_serving = False


def start() -> None:
    """Write by a thread from now on, in this process and in those it forks. Without it, only `flush` writes."""
    global _is_serving  # noqa: PLW0603 - one value for the whole process is the point
    _is_serving = True


def is_synchronous() -> bool:
    return bool(settings.KEYPORTAL_USE_RECORDING == "synchronous")


def record(use: Use) -> None:
    """Keep a record until it is written, within about a second."""
    _recorder.add(use)
    if _is_serving:
        _recorder.ensure_running()


def write_now(use: Use) -> None:
    """Write a record before its request is answered, in the transaction that is open or one of its own.

    :raises UseNotRecorded: if it cannot be written.
    """
    if use.is_refused and not _recorder.is_single(use):
        if _is_serving:
            _recorder.ensure_running()
        return
    try:
        with transaction.atomic():
            _write_rows([use], [])
    except Error as error:
        log.error("uses.not_written", reason=type(error).__name__)  # noqa: TRY400 - the name says it all
        metrics.USES_LOST.inc()
        raise UseNotRecorded from error
    metrics.USES_WRITTEN.inc()


def complete_now(use: Use) -> None:
    """Put the end of a call into its record, which was written before it was carried out.

    It was, so a failure changes nothing: the record stays as one that began.
    """
    try:
        KeyUse.objects.filter(pk=use.id).update(outcome=use.outcome, status=use.status)
    except Error as error:
        log.error("uses.not_completed", reason=type(error).__name__)  # noqa: TRY400 - the name says it all


def flush() -> None:
    """Write what waits in this process now.

    :raises Error: of `django.db`, if it cannot be written; it goes on waiting.
    """
    _recorder.flush()


def forget_all() -> None:
    """Begin anew, for forked children and for tests."""
    global _recorder  # noqa: PLW0603 - one value for the whole process is the point
    _recorder = Recorder()


@lru_cache(maxsize=1024)
def plain_address(text: str) -> str | None:
    """Return an address that the column can hold, without a zone; the peer of a unix socket has none."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def plain_text(text: str, length: int) -> str:
    """Return the beginning of what a client said, without control characters, which PostgreSQL may not store."""
    return _CONTROLS.sub(" ", text[:length])


os.register_at_fork(after_in_child=forget_all)
