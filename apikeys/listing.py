"""The table of keys, as the Integrations page and each project's page show it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.utils.http import urlencode

from accounts.principals import Principal
from apikeys.actions import may_revoke
from apikeys.health import Health, days, health_of
from apikeys.models import EXPIRES_SOON, ApiKey, ApiKeyQuerySet
from keyportal.http import MemberRequest

PAGE_SIZE = 25
TABS = {"active": "Active", "attention": "Needs attention", "expired": "Expired", "revoked": "Revoked"}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as its row shows it to one person at one moment."""

    api_key: ApiKey
    health: Health
    may_revoke: bool
    expires_soon: bool
    at: datetime
    is_issued_now: bool = False

    @property
    def expires_in(self) -> str:
        """How long it still works, in days: "in 2 months" would hide a month of 90 days."""
        span = self.api_key.expires_at - self.at if self.api_key.expires_at else None
        return f"in {days(span)}" if span and span > timedelta(0) else ""

    @property
    def scope_title(self) -> str:
        return str(self.api_key.place)


@dataclass(frozen=True, slots=True)
class Tab:
    value: str
    title: str
    count: int
    url: str
    is_current: bool


def key_row(api_key: ApiKey, principal: Principal, *, at: datetime, issued: str = "") -> KeyRow:
    health = health_of(api_key, at=at)
    return KeyRow(
        api_key=api_key,
        health=health,
        may_revoke=not api_key.is_revoked and may_revoke(principal, api_key),
        expires_soon=bool(api_key.expires_at and at < api_key.expires_at <= at + EXPIRES_SOON),
        at=at,
        is_issued_now=str(api_key.pk) == issued,
    )


def key_table(request: MemberRequest, keys: ApiKeyQuerySet, *, at: datetime) -> dict[str, Any]:
    """Return the context of the table: the tab, search and page that the URL asks for."""
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "active"
    query = request.GET.get("q", "").replace("\x00", "").strip()[:100]
    issued = request.GET.get("issued", "")
    found = keys.matching(query) if query else keys
    by_tab = {value: _in_tab(found, value, at) for value in TABS}
    rows = by_tab[tab].with_places().newest_first()
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return {
        "page": page,
        "rows": [key_row(api_key, request.principal, at=at, issued=issued) for api_key in page],
        "tabs": [_tab(value, by_tab[value].count(), query, is_current=value == tab) for value in TABS],
        "tab": tab,
        "query": query,
        "has_any": keys.exists(),
    }


def _in_tab(keys: ApiKeyQuerySet, tab: str, at: datetime) -> ApiKeyQuerySet:
    match tab:
        case "attention":
            return keys.needing_attention(at=at)
        case "expired":
            return keys.expired(at=at)
        case "revoked":
            return keys.revoked(at=at)
        case _:
            return keys.active(at=at)


def _tab(value: str, count: int, query: str, *, is_current: bool) -> Tab:
    url = f"?{urlencode({'tab': value} | ({'q': query} if query else {}))}"
    return Tab(value, TABS[value], count, url, is_current)
