"""What the pages and the API tell of the uses of a key: the newest ones, page by page, and how many there were."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q, Sum

from apikeys.cors import ORIGIN_NOT_ALLOWED, SECRET_KEY_IN_BROWSER
from apikeys.limits import QUOTA_EXCEEDED, RATE_LIMITED
from apikeys.models import ApiKey
from apikeys.recording import BEGUN
from apikeys.verification import Outcome
from audit.models import KeyUse, KeyUseHour, KeyUseQuerySet
from keyportal import names
from keyportal.http import PROBLEMS

HOUR, DAY, MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
# Of the last day's uses, as many as a page can afford to look at.
BLAST_USES = 10_000
_MOMENT = timedelta(milliseconds=1)
# `<uuidstr:key_id>` in the pattern of an address.
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

# Why a request was refused, to whom the key belongs: the problem's title speaks to its sender.
REASONS: Mapping[str, str] = {
    Outcome.INVALID_KEY: "Wrong secret",
    Outcome.TOO_MANY_FAILURES: "Not checked: too many wrong keys from there",
    Outcome.KEY_REVOKED: "The key was revoked",
    Outcome.KEY_RETIRED: "The key had retired after its rotation",
    Outcome.KEY_EXPIRED: "The key had expired",
    Outcome.KEY_DISABLED: "The key was disabled",
    Outcome.ISSUER_GONE: "Its issuer had left",
    Outcome.SERVICE_ACCOUNT_STOPPED: "Its service account was stopped",
    Outcome.ORGANIZATION_SUSPENDED: "The organization was suspended",
    Outcome.NETWORK_NOT_ALLOWED: "From outside the networks it may come from",
    Outcome.PROJECT_ARCHIVED: "Its project is archived",
    Outcome.TEAM_ARCHIVED: "Its team is archived",
    Outcome.ENVIRONMENT_NOT_ACCEPTED: "The project does not accept its environment",
    SECRET_KEY_IN_BROWSER: "A secret key, and it came from a browser",
    ORIGIN_NOT_ALLOWED: "From a page whose origin it does not allow",
    Outcome.UNAVAILABLE: "The portal could not check it just then",
    RATE_LIMITED: "Over its limit of requests",
    QUOTA_EXCEEDED: "Over its quota of the day",
    BEGUN: "Begun; how it ended is not on record",
}


@dataclass(frozen=True, slots=True)
class UseRow:
    """A use as a table shows it. What the client sent is marked where it could not be seen."""

    use: KeyUse
    request: str
    answer: str
    user_agent: str


class UsePage(NamedTuple):
    """Some uses, newest first, and the id that the next page starts below; None on the last one."""

    uses: Sequence[KeyUse]
    next_before: UUID | None


class Totals(NamedTuple):
    """How often a key was let in and refused, by whole hours, the current one included."""

    day_uses: int
    day_refusals: int
    month_uses: int
    month_refusals: int


def uses_of(api_key: ApiKey) -> KeyUseQuerySet:
    """Return the uses of a key, newest first, and the refusals of whoever sent its prefix with another secret."""
    return KeyUse.objects.of_prefix(api_key.prefix).newest_first()


def read_page(rows: KeyUseQuerySet, *, before: UUID | None, size: int) -> UsePage:
    """Read the `size` newest uses that are older than `before`, in one query."""
    uses = list(rows.before(before)[: size + 1])
    return UsePage(uses[:size], uses[size - 1].id if len(uses) > size else None)


def totals(api_key: ApiKey, *, at: datetime) -> Totals:
    """Return what the last 24 hours and 30 days had, in one query of at most 720 rows."""
    is_today = Q(hour__gt=at - DAY)
    found = KeyUseHour.objects.filter(key_id=api_key.pk, hour__gt=at - MONTH).aggregate(
        day_uses=Sum("uses", filter=is_today, default=0),
        day_refusals=Sum("refusals", filter=is_today, default=0),
        month_uses=Sum("uses", default=0),
        month_refusals=Sum("refusals", default=0),
    )
    return Totals(**found)


def browser_use(api_key: ApiKey) -> UseRow | None:
    """Return the use in which a secret key was first seen in a browser, as long as it is on record."""
    at = api_key.in_browser_at
    if at is None:
        return None
    found = uses_of(api_key).matching(since=at, until=at + _MOMENT, is_refused=True).last()
    return use_row(found) if found else None


class BlastRadius(NamedTuple):
    """What would be cut off: how often a key was let in, and from how many addresses, in the last hour and day.

    Of very busy keys only the newest uses are looked at; then the numbers are the least that it can be.
    """

    hour_uses: int
    hour_addresses: int
    day_uses: int
    day_addresses: int
    is_at_least: bool


def blast_radius(api_key: ApiKey, *, at: datetime) -> BlastRadius:
    """Return who would notice if a key ended now, in one query."""
    rows = uses_of(api_key).matching(since=at - DAY, is_refused=False)
    newest = list(rows.values_list("at", "address")[:BLAST_USES])
    hour = [address for used_at, address in newest if used_at > at - HOUR]
    is_at_least = len(newest) == BLAST_USES
    return BlastRadius(len(hour), len(set(hour)), len(newest), len({a for _, a in newest}), is_at_least)


def use_row(use: KeyUse) -> UseRow:
    return UseRow(use, request_of(use), answer_of(use), names.with_unseen_marked(use.user_agent))


def request_of(use: KeyUse) -> str:
    """Return `GET /v1/api-keys/{key_id}`; nothing for a row that stands for several requests."""
    if not use.method:
        return ""
    return f"{names.with_unseen_marked(use.method)} {route_of(use) or 'an address that there is not'}"


def route_of(use: KeyUse) -> str:
    """Return the route as the reference writes it; nothing where there was none."""
    return "/" + _PARAMETER.sub(r"{\1}", use.route) if use.route else ""


def answer_of(use: KeyUse) -> str:
    """Return in words why a request was not answered as it asked; nothing if it was."""
    if use.outcome == Outcome.ACCEPTED:
        return ""
    problem = PROBLEMS.get(use.outcome)
    return REASONS.get(use.outcome) or (problem.title if problem else use.outcome)
