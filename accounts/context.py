"""What every page's frame needs."""

from typing import Any

from django.http import HttpRequest

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    """The theme that the person chose, or "" for the system's."""
    theme = request.COOKIES.get("theme", "")
    return {"theme": theme if theme in THEMES else ""}
