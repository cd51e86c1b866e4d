"""What must hold of a portal's data whatever happened to it."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from psycopg import sql

from tests.faults.house import House, Rows, as_id


def violations(house: House) -> list[str]:
    """Return in sentences what does not hold; the portal may be running meanwhile."""
    with house.database() as rows:
        found = [*_states_without_evidence(rows), *_wrong_counts(rows, house.sent), *_damage(rows)]
        found += [f"a secret is in {place}" for place, data in _left_behind(house, rows) if _tells(house, data)]
    return found


def _states_without_evidence(rows: Rows) -> Iterator[str]:
    """Each state of a key has exactly one audit row, and there is none of a state that no key has."""
    keys = [(as_id(key_id), revoked_at) for key_id, revoked_at in rows.of("SELECT id, revoked_at FROM apikeys_apikey")]
    states = {("api_key.created", key_id) for key_id, _ in keys}
    states |= {("api_key.revoked", key_id) for key_id, revoked_at in keys if revoked_at}
    events = rows.of(
        "SELECT event, target_id FROM audit_event WHERE event IN ('api_key.created', 'api_key.revoked')",
    )
    recorded = Counter((event, as_id(target_id)) for event, target_id in events)
    yield from (f"{event} of {key_id} has no audit row" for event, key_id in states - set(recorded))
    yield from (f"{event} of {key_id} is recorded and is not so" for event, key_id in set(recorded) - states)
    yield from (
        f"{event} of {key_id} is recorded {count} times" for (event, key_id), count in recorded.items() if count > 1
    )


def _wrong_counts(rows: Rows, sent: int) -> Iterator[str]:
    """No request is on record twice, and none that was not sent; the hours say what the records say."""
    ids = rows.of("SELECT id FROM audit_key_use")
    if len(set(ids)) != len(ids):
        yield "two uses have one id"
    [(total,)] = rows.of("SELECT COALESCE(SUM(count), 0) FROM audit_key_use")
    if total > sent:
        yield f"{total} uses are on record of {sent} requests"
    by_record, by_hour = _by_record(rows), _by_hour(rows)
    for place in sorted({*by_record, *by_hour}):
        if by_record.get(place) != by_hour.get(place):
            yield f"of {place} the hours count {by_hour.get(place)}, the records {by_record.get(place)}"
    uses = "SELECT key_id, MAX(at) FROM audit_key_use WHERE NOT is_refused GROUP BY key_id"
    latest = {as_id(key_id): at for key_id, at in rows.of(uses)}
    for key_id, at in rows.of("SELECT id, last_used_at FROM apikeys_apikey WHERE last_used_at IS NOT NULL"):
        if at > latest[as_id(key_id)]:
            yield f"{key_id} was last used at {at}, and no use is so late"


def _by_record(rows: Rows) -> dict[tuple[UUID, bool], int]:
    """Return how many uses of each key the records tell; a refusal is of the key whose prefix was claimed."""
    found = rows.of(
        "SELECT apikeys_apikey.id, is_refused, SUM(count) FROM audit_key_use "
        "JOIN apikeys_apikey ON apikeys_apikey.prefix = audit_key_use.prefix GROUP BY apikeys_apikey.id, is_refused"
    )
    return {(as_id(key_id), bool(is_refused)): int(count) for key_id, is_refused, count in found}


def _by_hour(rows: Rows) -> dict[tuple[UUID, bool], int]:
    found = rows.of("SELECT key_id, SUM(uses), SUM(refusals) FROM audit_key_use_hour GROUP BY key_id")
    counts = {
        (as_id(key_id), is_refused): int(sums[is_refused]) for key_id, *sums in found for is_refused in (False, True)
    }
    return {place: count for place, count in counts.items() if count}


def _damage(rows: Rows) -> Iterator[str]:
    if not rows.is_postgresql:
        yield from (text for (text,) in rows.of("PRAGMA integrity_check") if text != "ok")
        yield from (f"foreign key: {row}" for row in rows.of("PRAGMA foreign_key_check"))


def _left_behind(house: House, rows: Rows) -> Iterator[tuple[str, bytes]]:
    """Return every byte of the portal's that outlives a request: its files, its log and its tables."""
    for path in house.portal.directory.rglob("*"):
        if path.is_file() and "static" not in path.parts:
            yield path.name, path.read_bytes()
    if house.cluster:
        yield "the server's log", (house.cluster.directory / "log").read_bytes()
        for (table,) in rows.of("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            with rows.connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
                yield table, b"".join(map(bytes, copy))


def left_in_files_of(house: House) -> list[str]:
    """Return the files of a stopped PostgreSQL, its write-ahead log among them, in which a secret is."""
    assert house.cluster
    files = [path for path in (house.cluster.directory / "data").rglob("*") if path.is_file()]
    return [str(path) for path in files if _tells(house, path.read_bytes())]


def _tells(house: House, data: bytes) -> bool:
    """Say whether bytes hold the random part of any key's secret, or one half of it."""
    randoms = [text[-32:-6].encode() for text in {*house.texts, *house.minted()}]
    return any(half in data for random in randoms for half in (random[:13], random[13:]))
