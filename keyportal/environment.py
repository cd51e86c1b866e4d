"""The environment, from which the settings of an installation are read."""

from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

DATABASES = {"postgres", "postgresql", "sqlite"}


class Environment(environ.Env):  # type: ignore[misc] # the library comes without types
    """Variables whose values make sense, or a sentence that stops the start.

    No sentence repeats an address, and none is chained to an error that does: it may hold a password.
    """

    def whole(self, name: str, *, default: int, least: int, most: int | None = None) -> int:
        """Return a whole number between bounds; an empty variable is one that is not set.

        :raises ImproperlyConfigured: for any other text.
        """
        text = self.str(name, default="").strip() or str(default)
        if not (text.isascii() and text.isdigit()) or int(text) < least or (most is not None and int(text) > most):
            bounds = f"{least} or more" if most is None else f"from {least} to {most}"
            raise ImproperlyConfigured(f"{name} must be a number, {bounds}, such as {default}")
        return int(text)

    def database(self, url: str) -> dict[str, Any]:
        """Return what Django's DATABASES takes.

        :raises ImproperlyConfigured: if the address is of no database that keyportal runs on.
        """
        try:
            is_known = urlsplit(url).scheme in DATABASES
            config: dict[str, Any] = self.db_url_config(url) if is_known else {}
        except ValueError:
            config = {}
        if config:
            return config
        raise ImproperlyConfigured(
            "DATABASE_URL must be like postgresql://user:password@host:5432/name; "
            "write a password's special characters as %XX"
        )

    def mail(self, url: str) -> dict[str, Any]:
        """Return Django's EMAIL_ settings.

        :raises ImproperlyConfigured: if the address is of no way to send mail.
        """
        try:
            config: dict[str, Any] = self.email_url_config(url)
        except (ImproperlyConfigured, ValueError):
            pass
        else:
            return config
        raise ImproperlyConfigured("EMAIL_URL must be like smtp+tls://user:password@mail.example.com:587")
