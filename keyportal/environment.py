"""The environment, from which the settings of an installation are read."""

import re
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

DATABASES = {"postgres", "postgresql", "sqlite"}
# The providers of mail that Anymail speaks to by itself, and what each has to be told.
MAIL_PROVIDERS = {
    "brevo": ["API_KEY"],
    "mailersend": ["API_TOKEN"],
    "mailgun": ["API_KEY"],
    "mailjet": ["API_KEY", "SECRET_KEY"],
    "mailtrap": ["API_TOKEN"],
    "mandrill": ["API_KEY"],
    "postal": ["API_KEY", "API_URL"],
    "postmark": ["SERVER_TOKEN"],
    "resend": ["API_KEY"],
    "scaleway": ["SECRET_KEY", "PROJECT_ID"],
    "sparkpost": ["API_KEY"],
    "unisender_go": ["API_KEY", "API_URL"],
}
# Seconds to connect, and to wait for an answer.
MAIL_PROVIDER_TIMEOUT = (10, 10)

# As a browser's policy takes it, where a space or a semicolon would begin something else.
_WEB_ADDRESS = re.compile(r"https?://[^\s;,'\"/?#@]+(/[^\s;,'\"]*)?")


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

    def web_address(self, name: str, *, default: str = "") -> str:
        """Return the whole address of something on the web, without a slash at its end.

        :raises ImproperlyConfigured: if it is none.
        """
        return _web_address(name, self.str(name, default=default))

    def web_addresses(self, name: str) -> list[str]:
        """Return several, joined by commas; none by default.

        :raises ImproperlyConfigured: if one of them is none.
        """
        return [_web_address(name, text) for text in self.list(name, default=[])]

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

    def anymail(self, provider: str) -> dict[str, Any]:
        """Return Django's settings for a provider of mail, with all that KEYPORTAL_ANYMAIL_… says of it.

        :raises ImproperlyConfigured: if it is not known, or something that it needs is not set.
        """
        if provider not in MAIL_PROVIDERS:
            raise ImproperlyConfigured(f"KEYPORTAL_ANYMAIL must be one of {', '.join(MAIL_PROVIDERS)}")
        prefix = "KEYPORTAL_ANYMAIL_"
        named = {name: value for name, value in self.ENVIRON.items() if name.startswith(prefix) and value}
        told = {name.removeprefix(prefix): value for name, value in named.items()}
        if missing := [prefix + name for name in MAIL_PROVIDERS[provider] if name not in told]:
            raise ImproperlyConfigured(f"KEYPORTAL_ANYMAIL={provider} needs {' and '.join(missing)}")
        settings = {f"{provider.upper()}_{name}": value for name, value in told.items()}
        return {
            "EMAIL_BACKEND": f"anymail.backends.{provider}.EmailBackend",
            "ANYMAIL": settings | {"REQUESTS_TIMEOUT": MAIL_PROVIDER_TIMEOUT},
        }


def _web_address(name: str, text: str) -> str:
    if not _WEB_ADDRESS.fullmatch(text.strip()):
        raise ImproperlyConfigured(f"{name} must be a whole address such as https://login.example.com")
    return text.strip().rstrip("/")
