"""In which time zone a page tells its times."""

from collections.abc import Callable
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.models import User
from keyportal.http import PageRequest, is_api

UTC = "UTC"
# In the database of time zones, and not places where anyone lives.
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names that can be chosen, of the IANA time zone database as this machine has it."""
    return tuple(sorted((available_timezones() | {UTC}) - _NO_PLACES))


def zone_of(user: User) -> ZoneInfo:
    """Return the time zone that a person chose; UTC for one that this machine does not know, or no more."""
    return ZoneInfo(user.time_zone if user.time_zone in names() else UTC)


class TimeZoneMiddleware:
    """Tell a signed-in person's pages the time where they are. The API says UTC to everyone."""

    def __init__(self, get_response: Callable[[PageRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: PageRequest) -> HttpResponseBase:
        if is_api(request) or not request.user.is_authenticated or not request.user.time_zone:
            return self.get_response(request)
        with timezone.override(zone_of(request.user)):
            return self.get_response(request)
