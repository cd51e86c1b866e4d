"""What every page's frame needs."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.factors import passkey_origin
from accounts.rights import RULES, holds

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    """The theme that was chosen, or "" for the system's; where passkeys work, or ""; whether it is a demo."""
    theme = request.COOKIES.get("theme", "")
    return {
        "theme": theme if theme in THEMES else "",
        "passkey_origin": passkey_origin(),
        "is_demo": settings.KEYPORTAL_DEMO,
        "may": _held(request),
    }


def _held(request: HttpRequest) -> dict[str, bool]:
    """Return which rights over the whole organization the person has: `people_see` and so on."""
    principal = getattr(request, "principal", None)
    if principal is None:
        return {}
    return {right.name.lower(): holds(principal, right) for right, rule in RULES.items() if not rule.is_of_team}
