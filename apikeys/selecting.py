"""The keys that a bulk operation is about: exactly which, how many of them are in use, and what is left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Q
from django.utils.crypto import salted_hmac

from accounts.principals import Principal
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.models.conditions import state_condition
from apikeys.rules import rules_of

# All of them end in one transaction.
MOST_KEYS = 10_000
SHOWN = 100
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a filter finds at a moment.

    :param key_ids: the keys that would end, oldest first; of more than 10,000 only that they are more.
    :param digest: names exactly these keys, and which of them are disabled; it cannot be made up.
    :param disabled: how many of them are disabled already.
    :param used_today: how many of them were used in the last day.
    :param of_service_accounts: how many of them act for a service account, whoever issued them.
    :param not_allowed: how many more live keys there are, that are not the caller's to end.
    :param ended: how many more there are that have ended already.
    """

    key_ids: Sequence[UUID]
    digest: str
    disabled: int
    used_today: int
    of_service_accounts: int
    not_allowed: int
    ended: int

    @property
    def count(self) -> int:
        return len(self.key_ids)

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST_KEYS


@dataclass(frozen=True, slots=True)
class Examples:
    """The newest of each kind, at most 100, as a page shows them."""

    keys: Sequence[ApiKey]
    not_allowed: Sequence[ApiKey]
    ended: Sequence[ApiKey]


def select(principal: Principal, asked: KeyFilter, *, at: datetime) -> Selection:
    """Return what a filter finds among the keys that the caller sees, in three queries."""
    found, live = _found(principal, asked, at), _is_live(at)
    columns = ("pk", "disabled_at", "last_used_at", "service_account_id")
    rows = list(selected(principal, asked, at=at).values_list(*columns)[: MOST_KEYS + 1])
    counts = found.order_by().aggregate(all=Count("pk"), live=Count("pk", filter=live))
    return Selection(
        key_ids=[key_id for key_id, *_ in rows],
        digest=digest_of((key_id, disabled_at) for key_id, disabled_at, *_ in rows),
        disabled=sum(disabled_at is not None for _, disabled_at, *_ in rows),
        used_today=sum(used_at is not None and used_at >= at - _DAY for _, _, used_at, _ in rows),
        of_service_accounts=sum(account_id is not None for *_, account_id in rows),
        not_allowed=max(counts["live"] - len(rows), 0) if len(rows) <= MOST_KEYS else 0,
        ended=counts["all"] - counts["live"],
    )


def selected(principal: Principal, asked: KeyFilter, *, at: datetime) -> ApiKeyQuerySet:
    """Return the keys that would end, oldest first, which is the order in which they are to be locked."""
    return _found(principal, asked, at).filter(_is_live(at)).endable_by(principal).order_by("pk")


def examples(principal: Principal, asked: KeyFilter, *, at: datetime) -> Examples:
    """Return what a page shows of a selection."""
    found, live = _found(principal, asked, at).with_places().newest_first(), _is_live(at)
    mine = selected(principal, asked, at=at)
    return Examples(
        keys=list(mine.with_places().newest_first()[:SHOWN]),
        not_allowed=list(found.filter(live).exclude(pk__in=mine.order_by().values("pk"))[:SHOWN]),
        ended=list(found.exclude(live)[:SHOWN]),
    )


def digest_of(rows: Iterable[tuple[UUID, datetime | None]]) -> str:
    """Return what names exactly these keys, in the states that they are in; they must come in their order."""
    text = "\n".join(f"{key_id} {'disabled' if disabled_at else 'active'}" for key_id, disabled_at in rows)
    return salted_hmac("apikeys.selecting", text, algorithm="sha256").hexdigest()


def _found(principal: Principal, asked: KeyFilter, at: datetime) -> ApiKeyQuerySet:
    # Only this state asks the organization's policy.
    is_asked = asked.state == "attention"
    unused_after = rules_of(principal.organization_id).policy.warn_unused_after if is_asked else None
    return ApiKey.objects.visible_to(principal).filtered(asked, at=at, unused_after=unused_after)


def _is_live(at: datetime) -> Q:
    return state_condition("active", at=at, unused_after=None)
