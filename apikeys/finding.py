"""Finding keys in the same time among 100 and among 100,000: a page of what is asked for, and how many there are.

What is rare is found through an index of its own, as the at most 1,000 keys that it is; what is not rare comes up soon
enough when keys are looked through from the newest on. Which of the two it is shows by itself: of what leads to keys,
no more than one id beyond 1,000 is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Count, F, Q

from accounts.principals import Principal
from accounts.rights import Right, holds
from apikeys.filters import KeyFilter
from apikeys.models import UNUSED_AFTER, ApiKey, ApiKeyQuerySet
from apikeys.models.conditions import attention_reasons, filter_condition, filter_parts, state_condition, state_parts

# What is more is "999+".
BOUND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for, among which keys, and when.

    :param keys: what the caller may manage, or those of one place among them.
    :param is_everything: whether that is all that the organization has.
    :param unused_after: as for `ApiKeyQuerySet.needing_attention`.
    """

    keys: ApiKeyQuerySet
    organization_id: UUID
    is_everything: bool
    asked: KeyFilter
    at: datetime
    unused_after: int | None

    @property
    def is_narrow(self) -> bool:
        return self.asked.is_narrowing or not self.is_everything


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: behind a key or before one; with neither, at the newest."""

    before: UUID | None = None
    after: UUID | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of keys, newest first, and whether there are some before and behind it."""

    keys: Sequence[ApiKey]
    has_newer: bool
    has_older: bool


# How many keys there are in each state, up to 1,000; None where nobody has counted, since they are too many.
Counts = Mapping[str, int | None]


def search_of(
    principal: Principal, asked: KeyFilter, *, at: datetime, unused_after: int | None = UNUSED_AFTER.days
) -> Search:
    """Return the search of a caller among all that they may manage."""
    return Search(
        keys=ApiKey.objects.visible_to(principal),
        organization_id=principal.organization_id,
        is_everything=holds(principal, Right.ORGANIZATION_SEE),
        asked=asked,
        at=at,
        unused_after=unused_after,
    )


def read_page(search: Search, cursor: Cursor, *, size: int) -> Found:
    """Read a page, in as many statements for few keys as for many."""
    pools = []
    if search.is_narrow:
        pools.append(_ids(_narrowed(search)))
    if search.asked.state:
        pools.append(_ids(_in_state(search, search.asked.state)))
    return _page(search, min(pools, key=len, default=None), cursor, size)


def read_table(search: Search, cursor: Cursor, *, size: int, states: Sequence[str]) -> tuple[Found, Counts]:
    """Read a page of one state, and how many keys each of some states has of what is looked for besides."""
    counts: Counts
    if search.is_narrow:
        pool = _ids(_narrowed(search))
        if _is_whole(pool):
            counts = _split(search, pool, states)
        else:
            counts = dict.fromkeys(states)
            pool = _ids(_in_state(search, search.asked.state))
    else:
        counts = count_states(search, states)
        pool = _ids(_in_state(search, search.asked.state))
    return _page(search, pool, cursor, size), counts


def count_states(search: Search, states: Sequence[str]) -> dict[str, int | None]:
    """Return how many keys of the whole organization each state has, up to 1,000."""
    return dict(zip(states, _bounded_counts([_in_state(search, state) for state in states]), strict=True))


def count_all(search: Search, asked: Mapping[str, KeyFilter]) -> dict[str, int]:
    """Return how many keys some filters find, each up to 1,000; in as many statements for few as for many."""
    pool = _ids(_narrowed(search)) if search.is_narrow else None
    if pool is not None and _is_whole(pool):
        keys = search.keys.filter(pk__in=pool)
        wanted = {name: Count("pk", filter=_condition(replace(search, asked=one))) for name, one in asked.items()}
        return dict(keys.order_by().aggregate(**wanted))
    return dict(
        zip(asked, _bounded_counts(_parts_of(replace(search, asked=one)) for one in asked.values()), strict=True)
    )


def _parts_of(search: Search) -> list[ApiKeyQuerySet]:
    """Return what is asked for as parts: those of the state, if it is all that is asked for."""
    if search.is_narrow:
        return [search.keys.filter(_condition(search))]
    return _in_state(search, search.asked.state)


def _condition(search: Search) -> Q:
    state = state_condition(search.asked.state, at=search.at, unused_after=search.unused_after)
    return filter_condition(search.asked, at=search.at) & state


def most_urgent(search: Search, *, size: int) -> list[ApiKey]:
    """Return the keys that someone should look at first: of each reason the most urgent ones."""
    pool = _ids(_narrowed(search)) if search.is_narrow else []
    if search.is_narrow and _is_whole(pool):
        keys = search.keys.filter(pk__in=pool).needing_attention(at=search.at, unused_after=search.unused_after)
    else:
        keys = search.keys.filter(pk__in=_first_of_each_reason(search, size))
    return list(keys.with_places().with_roles().most_urgent_first()[:size])


def _first_of_each_reason(search: Search, size: int) -> list[UUID]:
    reasons = attention_reasons(at=search.at, unused_after=search.unused_after)
    orders = {"marked": [F("exposed_at").desc(nulls_last=True)], "expiring": [F("expires_at").asc()]}
    parts = [
        search.keys.filter(Q(organization_id=search.organization_id) & reason).order_by(*orders.get(name, []))
        for name, reason in reasons.items()
    ]
    return _ids(parts, each=size)


def _is_whole(pool: Sequence[UUID]) -> bool:
    return len(pool) <= BOUND


def _page(search: Search, pool: Sequence[UUID] | None, cursor: Cursor, size: int) -> Found:
    keys = search.keys.filter(pk__in=pool) if pool is not None and _is_whole(pool) else search.keys
    wanted = keys.filtered(search.asked, at=search.at, unused_after=search.unused_after)
    if cursor.after:
        found = _rows(wanted.after(cursor.after)[: size + 1])
        newer = found[:-size] if len(found) > size else []
        return Found(found[len(newer) :], has_newer=bool(newer), has_older=True)
    found = _rows(wanted.newest_first().before(cursor.before)[: size + 1])
    return Found(found[:size], has_newer=cursor.before is not None, has_older=len(found) > size)


def _rows(page: ApiKeyQuerySet) -> list[ApiKey]:
    """Read what a page has to show of its keys, newest first.

    Which keys they are is asked for alone: with all that is read along, SQLite would begin with the organization and
    sort all that it has, and PostgreSQL read the whole table for a page.
    """
    found = list(page.values_list("pk", flat=True))
    return list(ApiKey.objects.filter(pk__in=found).with_places().with_roles().newest_first())


def _split(search: Search, pool: Sequence[UUID], states: Sequence[str]) -> dict[str, int | None]:
    keys = search.keys.filter(pk__in=pool)
    wanted = {
        state: Count("pk", filter=state_condition(state, at=search.at, unused_after=search.unused_after))
        for state in states
    }
    return dict(keys.order_by().aggregate(**wanted))


# What leads to keys: parts of a query that are found each by itself


def _narrowed(search: Search) -> list[ApiKeyQuerySet]:
    most = BOUND + 1 if search.is_everything else None
    parts = filter_parts(search.asked, at=search.at, within=search.organization_id, most=most)
    return [search.keys.filter(part) for part in parts]


def _in_state(search: Search, state: str) -> list[ApiKeyQuerySet]:
    keys = ApiKey.objects.filter(organization_id=search.organization_id)
    return [keys.filter(part) for part in state_parts(state, at=search.at, unused_after=search.unused_after)]


def _ids(parts: Iterable[ApiKeyQuerySet], *, each: int = BOUND + 1) -> list[UUID]:
    """Return the ids that are in any of some parts: one more than 1,000 if there are more, in no order."""
    sql, parameters = _union(parts, each=each)
    rows = _read(f"{sql} LIMIT {BOUND + 1}" if each > BOUND else sql, parameters)
    return [value if isinstance(value, UUID) else UUID(value) for (value,) in rows]


def _bounded_counts(groups: Iterable[Iterable[ApiKeyQuerySet]]) -> list[int]:
    """Return how many keys each group of parts has, up to 1,000, in one statement."""
    unions = [_union(parts) for parts in groups]
    columns = ", ".join(f"(SELECT COUNT(*) FROM ({sql} LIMIT {BOUND}) AS u{n})" for n, (sql, _) in enumerate(unions))  # noqa: S608 - Django wrote them, and all values are parameters
    [row] = _read(f"SELECT {columns}", [value for _, parameters in unions for value in parameters])
    return list(row)


def _union(parts: Iterable[ApiKeyQuerySet], *, each: int = BOUND + 1) -> tuple[str, list[Any]]:
    """Return a statement for the ids of some parts, of each no more than it takes to know that they are many.

    Django's own `union` has no limits inside on SQLite.
    """
    selects, parameters = [], list[Any]()
    for number, part in enumerate(parts):
        try:
            sql, values = part.values("pk")[:each].query.sql_with_params()
        except EmptyResultSet:
            # Django knows that nothing can be found, and writes no statement.
            continue
        selects.append(f"SELECT * FROM ({sql}) AS p{number}")  # noqa: S608 - Django wrote it, and all values are parameters
        parameters += values
    return " UNION ".join(selects) or "SELECT NULL WHERE 1 = 0", parameters


def _read(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
