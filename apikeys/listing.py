"""The table of keys, as the Integrations page and each project's page show it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.http import urlencode

from accounts.principals import Principal
from apikeys.actions import may_revoke, may_rotate
from apikeys.filters import KeyFilter
from apikeys.finding import BOUND, Cursor, Found, Search, read_table
from apikeys.forms.filters import KeyFilterBar
from apikeys.health import Health, days, health_of
from apikeys.models import EXPIRES_SOON, ApiKey, ApiKeyQuerySet, Policy
from apikeys.rules import rules_of
from keyportal.http import MemberRequest

PAGE_SIZE = 25
TABS = {"active": "Active", "attention": "Needs attention", "expired": "Expired", "revoked": "Revoked"}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as its row shows it to one person at one moment."""

    api_key: ApiKey
    health: Health
    may_revoke: bool
    may_rotate: bool
    expires_soon: bool
    at: datetime
    is_issued_now: bool = False

    @property
    def expires_in(self) -> str:
        """How long it still works, in days: "in 2 months" would hide a month of 90 days."""
        span = self.api_key.ends_at - self.at if self.api_key.ends_at else None
        return f"in {days(span)}" if span and span > timedelta(0) else ""

    @property
    def may_disable(self) -> bool:
        return self.may_revoke and self.api_key.state_at(self.at) == "active"

    @property
    def may_enable(self) -> bool:
        return self.may_revoke and self.api_key.state_at(self.at) == "disabled"

    @property
    def scope_title(self) -> str:
        return str(self.api_key.place)


@dataclass(frozen=True, slots=True)
class Tab:
    value: str
    title: str
    count: int | None
    url: str
    is_current: bool

    @property
    def said(self) -> str:
        return said(self.count)


def said(count: int | None) -> str:
    """Say how many, or that they are more than anyone counts; nothing where nobody has."""
    if count is None:
        return ""
    return str(count) if count < BOUND else f"{BOUND - 1}+"


def key_row(api_key: ApiKey, principal: Principal, *, policy: Policy, at: datetime, issued: str = "") -> KeyRow:
    health = health_of(api_key, at=at, policy=policy)
    return KeyRow(
        api_key=api_key,
        health=health,
        may_revoke=not api_key.is_revoked and may_revoke(principal, api_key),
        may_rotate=api_key.state_at(at) == "active" and may_rotate(principal, api_key),
        expires_soon=bool(api_key.ends_at and at < api_key.ends_at <= at + EXPIRES_SOON),
        at=at,
        is_issued_now=str(api_key.pk) == issued,
    )


def key_table(
    request: MemberRequest, keys: ApiKeyQuerySet, *, at: datetime, is_everything: bool = False
) -> dict[str, Any]:
    """Return the context of the table: the tab, filters and page that the URL asks for.

    :param is_everything: whether `keys` are all that the organization has.
    """
    rules = rules_of(request.principal.organization_id)
    bar = KeyFilterBar(request.GET, principal=request.principal, catalogue=rules.catalogue)
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "active"
    is_valid = bar.is_valid()
    search = Search(
        keys=keys if is_valid else keys.none(),
        organization_id=request.principal.organization_id,
        is_everything=is_everything,
        asked=replace(bar.filter if is_valid else KeyFilter(), state=tab),
        at=at,
        unused_after=rules.policy.warn_unused_after,
    )
    found, counts = read_table(search, _cursor(request), size=PAGE_SIZE, states=tuple(TABS))
    issued = request.GET.get("issued", "")
    return {
        "rows": [
            key_row(api_key, request.principal, policy=rules.policy, at=at, issued=issued) for api_key in found.keys
        ],
        "tabs": [_tab(value, counts[value], bar.parameters, is_current=value == tab) for value in TABS],
        "tab": tab,
        "bar": bar,
        "is_valid": is_valid,
        "query": bar.cleaned_data.get("q", ""),
        "has_any": search.asked.is_narrowing or not is_valid or any(count != 0 for count in counts.values()),
        "query_string": urlencode({"state": tab, **bar.parameters}),
        **_pager(found, {"tab": tab, **bar.parameters}),
    }


def _cursor(request: MemberRequest) -> Cursor:
    """Return where the page begins; what is no key's id asks for the newest."""
    return Cursor(before=_key_id(request.GET.get("before", "")), after=_key_id(request.GET.get("after", "")))


def _key_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _pager(found: Found, parameters: dict[str, str]) -> dict[str, str]:
    """Return the addresses of the pages beside this one; empty where there is none."""
    if not found.keys:
        return {"newer_url": "", "older_url": ""}
    newer, older = str(found.keys[0].pk), str(found.keys[-1].pk)
    return {
        "newer_url": f"?{urlencode(parameters | {'after': newer})}" if found.has_newer else "",
        "older_url": f"?{urlencode(parameters | {'before': older})}" if found.has_older else "",
    }


def _tab(value: str, count: int | None, parameters: dict[str, str], *, is_current: bool) -> Tab:
    return Tab(value, TABS[value], count, f"?{urlencode({'tab': value} | parameters)}", is_current)
