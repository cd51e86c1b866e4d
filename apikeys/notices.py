"""Telling people by mail what happened to keys that are theirs, in the transaction in which it happens.

A key's mails go to whoever answers for it: the steward of its service account, or its issuer. Who does something to
their own key gets the notice too, since somebody else may sit at their keyboard. Imported keys are no news.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from accounts.mailing import outbox
from accounts.models import ServiceAccount, User
from accounts.principals import Principal
from apikeys.models import ApiKey

# How many keys one mail names.
KEYS_NAMED = 10
OPERATOR = "the operator of this portal"


class _Event(NamedTuple):
    """One key that ended or was handed over, and who is to be told."""

    person: User
    api_key: ApiKey
    by: str
    reason: str
    at: datetime


_Tell = Callable[[Sequence[_Event]], None]
_gathered: ContextVar[list[tuple[_Tell, _Event]] | None] = ContextVar("gathered_notices", default=None)


def key_issued(api_key: ApiKey, principal: Principal, *, at: datetime) -> None:
    _put("key_issued", _keeper(api_key), api_key, _by(principal), at)


def key_rotated(
    api_key: ApiKey, successor: ApiKey, principal: Principal, *, is_leak: bool, is_new: bool, at: datetime
) -> None:
    told = {"successor": successor, "is_leak": is_leak, "is_new": is_new}
    _put("key_rotated", _keeper(api_key), api_key, _by(principal), at, **told)


def key_revoked(api_key: ApiKey, principal: Principal | None, *, reason: str, at: datetime) -> None:
    _take([(_tell_revoked, _Event(_keeper(api_key), api_key, _by(principal), reason, at))])


def keys_revoked(keys: Sequence[ApiKey], principal: Principal, *, reason: str, at: datetime) -> None:
    """Tell of very many keys, with one mail and next to no queries for each person."""
    accounts = ServiceAccount.objects.in_bulk({key.service_account_id for key in keys if key.service_account_id})
    keepers = {
        key.pk: accounts[key.service_account_id].steward_id if key.service_account_id else key.issuer_id for key in keys
    }
    people = User.objects.in_bulk(set(keepers.values()))
    by = _by(principal)
    _take([(_tell_revoked, _Event(people[keepers[key.pk]], key, by, reason, at)) for key in keys])


def key_handed_over(api_key: ApiKey, principal: Principal, *, at: datetime) -> None:
    """Tell who issued a key, and who answers for the service account that it acts for now."""
    people = {person.pk: person for person in (api_key.issuer, _keeper(api_key))}
    by = _by(principal)
    _take([(_tell_handed_over, _Event(person, api_key, by, "", at)) for person in people.values()])


@contextmanager
def together() -> Iterator[None]:
    """Write one mail for each person about all that ends or is handed over inside. The caller holds a transaction."""
    mark = _gathered.set([])
    try:
        yield
        events = _gathered.get() or []
    finally:
        _gathered.reset(mark)
    _take(events)


def _take(events: Sequence[tuple[_Tell, _Event]]) -> None:
    """Keep what is to be told together, or tell each person of all that is theirs."""
    if (gathered := _gathered.get()) is not None:
        gathered.extend(events)
        return
    groups: dict[tuple[_Tell, UUID], list[_Event]] = {}
    for tell, event in events:
        groups.setdefault((tell, event.person.pk), []).append(event)
    for (tell, _), their_events in groups.items():
        tell(their_events)


def _tell_revoked(events: Sequence[_Event]) -> None:
    person, api_key, by, reason, at = events[0]
    if len(events) == 1:
        _put("key_revoked", person, api_key, by, at, reason=reason)
    else:
        _put_many("keys_revoked", events, reason=reason)


def _tell_handed_over(events: Sequence[_Event]) -> None:
    accounts = sorted({str(event.api_key.service_account) for event in events})
    _put_many("keys_handed_over", events, accounts=accounts)


def _put(name: str, person: User, api_key: ApiKey, by: str, at: datetime, **told: Any) -> None:
    if not person.is_active:
        return
    context = {
        "api_key": api_key,
        "place": str(api_key.place),
        "account": api_key.service_account,
        "by": by,
        "at": at,
        "link": outbox.link("key-detail", api_key.pk),
    }
    outbox.put(name, to=person, context=context | told, at=at)


def _put_many(name: str, events: Sequence[_Event], **told: Any) -> None:
    person, _, by, _, at = events[0]
    if not person.is_active:
        return
    names = [event.api_key.name for event in events[:KEYS_NAMED]]
    context = {"count": len(events), "names": names, "more": len(events) - len(names), "by": by, "at": at}
    outbox.put(name, to=person, context=context | told | {"link": outbox.link("key-list")}, at=at)


def _keeper(api_key: ApiKey) -> User:
    """Return who answers for a key."""
    account: ServiceAccount | None = api_key.service_account
    return account.steward if account else api_key.issuer


def _by(principal: Principal | None) -> str:
    return principal.as_actor().label if principal else OPERATOR
