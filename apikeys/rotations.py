"""What pages and the API tell of a rotation: which key replaces which, until when, and who still uses the old one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from accounts.principals import Principal
from apikeys.actions import may_revoke
from apikeys.models import ApiKey
from apikeys.use_rows import route_of
from apikeys.verification import Outcome
from audit.models import KeyUse
from keyportal import names

# How many of the newest uses are looked through, and how many users are told of.
USES_READ = 10_000
USERS_SHOWN = 50
# Generations on either side that a page tells of.
GENERATIONS = 20
_REFUSALS_READ = 200
_ENDED = (Outcome.KEY_RETIRED, Outcome.KEY_REVOKED)


@dataclass(slots=True)
class StillUser:
    """Someone who has used a key since it was rotated: one client at one address, on one route."""

    address: str | None
    user_agent: str
    method: str
    route: str
    last_seen_at: datetime
    uses: int = 0
    refusals: int = 0

    @property
    def request(self) -> str:
        return f"{names.with_unseen_marked(self.method)} {self.route}".strip()


class StillUsers(NamedTuple):
    """Who has used a key since it was rotated, latest first; `is_all` is False where there is more than was read."""

    users: Sequence[StillUser]
    is_all: bool


class Reappearance(NamedTuple):
    """Where a key came from that has a successor and had ended: whoever sends it has it from somewhere."""

    at: datetime
    address: str | None
    user_agent: str
    request: str


class Incident(NamedTuple):
    """A key that came again after it had ended, and where it did last, if that is on record."""

    old: ApiKey
    last: Reappearance | None


@dataclass(frozen=True, slots=True)
class RotationPanel:
    """What the page of a key tells of its latest rotation: as the old key, if it has a successor, or as the new one."""

    generations: Sequence[ApiKey]
    incidents: Sequence[Incident]
    old: ApiKey | None = None
    successor: ApiKey | None = None
    is_under_way: bool = False
    may_decide: bool = False
    reason: str = ""
    users: Sequence[StillUser] = ()
    is_all: bool = True


def rotation_panel(api_key: ApiKey, principal: Principal, *, at: datetime) -> RotationPanel:
    """Return what there is to tell; the key must have been read with its places."""
    generations = lineage(api_key)
    place = generations.index(api_key)
    old, successor = _latest_pair(generations, place)
    near = [key for key in (api_key, api_key.predecessor) if key and key.reappeared_at]
    incidents = [Incident(key, last_reappearance(key)) for key in near]
    if old is None or successor is None:
        return RotationPanel(generations, incidents)
    users, is_under_way = still_users(old), old.is_rotating_at(at)
    return RotationPanel(
        generations,
        incidents,
        old,
        successor,
        is_under_way,
        is_under_way and may_revoke(principal, old),
        _reason(old, at),
        users.users,
        users.is_all,
    )


def _latest_pair(generations: Sequence[ApiKey], place: int) -> tuple[ApiKey | None, ApiKey | None]:
    """Return the key and its successor, or its predecessor and itself, or nothing."""
    if place + 1 < len(generations):
        return generations[place], generations[place + 1]
    return (generations[place - 1], generations[place]) if place else (None, None)


def _reason(old: ApiKey, at: datetime) -> str:
    """Say why a key retires when it does."""
    if old.is_revoked:
        return "It was ended for good."
    if old.is_rotating_at(at) and _is_fixed(old):
        return "It works until then, whether its successor is used or not."
    if old.settled_at:
        return "Its successor is in use, so that it is needed no longer than this."
    if old.is_rotating_at(at):
        return "Its successor has not been used yet. Once it is, this key retires soon after."
    return "Its time was over."


def _is_fixed(old: ApiKey) -> bool:
    """Say whether no use of the successor brings the end forward, as after an extension."""
    if old.rotated_at is None or old.retires_at is None or old.settle_seconds is None:
        return False
    return old.rotated_at + timedelta(seconds=old.settle_seconds) >= old.retires_at


def still_users(old: ApiKey) -> StillUsers:
    """Return who has used a key since its rotation was begun, out of its newest uses, in one query."""
    fields = ("key_id", "address", "user_agent", "method", "route", "at", "is_refused", "count")
    rows = KeyUse.objects.of_prefix(old.prefix).matching(since=old.rotated_at).newest_first()[: USES_READ + 1]
    read = list(rows.values_list(*fields, named=True))
    users: dict[tuple[str | None, str, str, str], StillUser] = {}
    # What others send with the prefix and another secret is none of its uses.
    for row in [row for row in read[:USES_READ] if row.key_id == old.pk]:
        who = (row.address, row.user_agent, row.method, row.route)
        if who not in users:
            agent = names.with_unseen_marked(row.user_agent)
            users[who] = StillUser(row.address, agent, row.method, route_of(row), row.at)
        if row.is_refused:
            users[who].refusals += row.count
        else:
            users[who].uses += row.count
    return StillUsers(list(users.values())[:USERS_SHOWN], len(read) <= USES_READ and len(users) <= USERS_SHOWN)


def last_reappearance(old: ApiKey) -> Reappearance | None:
    """Return where a key that had ended came from last; None where that is on record no more."""
    rows = KeyUse.objects.of_prefix(old.prefix).filter(is_refused=True).newest_first()[:_REFUSALS_READ]
    for use in rows:
        if use.key_id == old.pk and use.outcome in _ENDED:
            agent = names.with_unseen_marked(use.user_agent)
            return Reappearance(use.at, use.address, agent, f"{use.method} {route_of(use)}".strip())
    return None


def lineage(api_key: ApiKey) -> list[ApiKey]:
    """Return the generations of a key, oldest first, itself among them; each that was not read along costs a query."""
    return [*reversed(list(_older(api_key))), api_key, *_newer(api_key)]


def _older(api_key: ApiKey) -> Iterator[ApiKey]:
    current: ApiKey | None = api_key
    for _ in range(GENERATIONS):
        current = current.predecessor if current else None
        if current is None:
            return
        yield current


def _newer(api_key: ApiKey) -> Iterator[ApiKey]:
    current: ApiKey | None = api_key
    for _ in range(GENERATIONS):
        current = getattr(current, "successor", None)
        if current is None:
            return
        yield current
