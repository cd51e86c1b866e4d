"""The providers of sign-ins, held to more than allauth holds them to.

The address they send people back to is built from configuration; what they answer is taken for an answer only where
it is one; and whom they name is named in the same way everywhere (OpenID Connect Core 1.0 §5.3.2).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import structlog
from allauth.account.internal.userkit import filter_users_by_email
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from requests import RequestException

from accounts.security import OIDC

log = structlog.get_logger("accounts")


class UnreadableAnswer(RequestException):
    """A provider answered with something that is no answer to what it was asked."""


@contextmanager
def readable() -> Iterator[None]:
    """Take whatever trips over a provider's answer for what it is: the provider's failure, and none of ours.

    :raises UnreadableAnswer: instead of what was raised.
    """
    try:
        yield
    except (AttributeError, ImproperlyConfigured, LookupError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, RequestException):
            raise
        raise UnreadableAnswer("The provider's answer cannot be read") from error


class Strict:
    """Mixed into an adapter of allauth's: its requests and answers, checked."""

    get_provider: Callable[[], Any]
    authorize_url: str
    access_token_url: str

    def get_callback_url(self, _request: HttpRequest, _app: Any) -> str:
        """Build the address from configuration: a request's Host is the sender's word, not ours."""
        return callback_url(self.get_provider().get_callback_url())

    def get_client(self, request: HttpRequest, app: Any) -> Any:
        with readable():
            for url in (self.authorize_url, self.access_token_url):
                if not url.startswith(("http://", "https://")):
                    raise ValueError("An endpoint has no address")
            return super().get_client(request, app)  # type: ignore[misc] # it is mixed into OAuth2Adapter

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> Any:
        with readable():
            return super().get_access_token_data(*args, **kwargs)  # type: ignore[misc] # it is mixed into that one, too

    def parse_token(self, data: Any) -> Any:
        with readable():
            return super().parse_token(data)  # type: ignore[misc] # it is mixed into that one, too

    def complete_login(self, *args: Any, **kwargs: Any) -> SocialLogin:
        with readable():
            login = super().complete_login(*args, **kwargs)  # type: ignore[misc] # it is mixed into that one, too
            _require_one_subject(login)
            _require_storable(login)
            return login


def held_to_it(provider: Any) -> Any:
    """Return a provider of allauth's with our checks around what it asks and is answered."""
    provider.oauth2_adapter_class = strict(provider.oauth2_adapter_class)
    provider.serialize = partial(_serialized, provider)
    return provider


def _serialized(provider: Any) -> dict[str, Any]:
    """Return what a sign-in that waits for its second step is continued by.

    allauth keeps the kind and the client id, which two OpenID Connect providers may have in common.
    """
    return {"id": provider.sub_id, "app.client_id": provider.app.client_id}


@cache
def strict(adapter_class: type[OAuth2Adapter]) -> type[OAuth2Adapter]:
    """Return allauth's adapter with our checks around it."""
    return type(f"Strict{adapter_class.__name__}", (Strict, adapter_class), {})


def callback_url(path: str) -> str:
    """Return the whole address to which a provider sends people back, as it has to be registered there."""
    return f"{settings.KEYPORTAL_URL}{path}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A provider as the page about them shows it: one that is switched on, or what switches it on."""

    id: str
    name: str
    callback_url: str
    variables: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    server_url: str = ""
    groups_claim: str = ""


def configured(request: HttpRequest) -> list[Listed]:
    """Return the providers that are switched on, as their buttons are listed."""
    return [_listed(provider) for provider in get_adapter().list_providers(request)]


def _listed(provider: Any) -> Listed:
    of_app: dict[str, Any] = provider.app.settings
    url = callback_url(provider.get_callback_url())
    server, claim = of_app.get("server_url", ""), of_app.get("groups_claim", "")
    return Listed(provider.sub_id, provider.name, url, server_url=server, groups_claim=claim)


def not_configured() -> list[Listed]:
    """Return what else can be switched on; there is always room for another OpenID Connect provider."""
    missing = [name for name in ("GitHub", "Google") if name.lower() not in settings.SOCIALACCOUNT_PROVIDERS]
    url = callback_url(reverse(f"{OIDC}_callback", kwargs={"provider_id": "id"}))
    prefix = "KEYPORTAL_OIDC_ID"
    needed = ("KEYPORTAL_OIDC=id", f"{prefix}_URL", *_variables(prefix))
    optional = tuple(f"{prefix}_{name}" for name in ("NAME", "GROUPS_CLAIM", "SCOPES", "ORIGINS"))
    return [*map(_switched_off, missing), Listed("any_oidc", "Any OpenID Connect provider", url, needed, optional)]


def _switched_off(name: str) -> Listed:
    key = name.lower()
    prefix = f"KEYPORTAL_{name.upper()}"
    # For a GitHub Enterprise Server of one's own.
    optional = (f"{prefix}_URL",) if key == "github" else ()
    return Listed(key, name, callback_url(reverse(f"{key}_callback")), _variables(prefix), optional)


def _variables(prefix: str) -> tuple[str, str]:
    return f"{prefix}_CLIENT_ID", f"{prefix}_CLIENT_SECRET"


def provider_ids() -> set[str]:
    """Return the ids of the providers that are switched on: those through which someone can sign in."""
    apps = settings.SOCIALACCOUNT_PROVIDERS.get(OIDC, {}).get("APPS", [])
    return (settings.SOCIALACCOUNT_PROVIDERS.keys() - {OIDC}) | {app["provider_id"] for app in apps}


def provider_failed(request: HttpRequest, provider: Any, error: Exception) -> HttpResponse:
    """Say that the provider is away, or makes no sense; what it answered goes into no log."""
    log.warning("provider.failed", provider=provider.sub_id, error=type(error).__name__)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return render(request, "socialaccount/authentication_error.html", {"provider": provider}, status=status)


def not_connected(request: HttpRequest) -> HttpResponse:
    """Answer whoever comes with an account that is nobody's here: in the same words whoever they claim to be."""
    return render(request, "account/signup_closed.html", status=HTTPStatus.FORBIDDEN)


def is_address_taken(email: str) -> bool:
    """Say whether an address is an account's, or waits to become one's."""
    return bool(filter_users_by_email(email))


def _require_one_subject(login: SocialLogin) -> None:
    """Refuse an answer that names nobody, or one person here and another there.

    allauth makes a text of whatever stands for the subject, so that everybody without one would be the same person.
    """
    extra = login.account.extra_data
    told = [extra[source] for source in ("userinfo", "id_token") if source in extra] or [extra]
    for claims in told:
        subject = claims.get("sub", claims.get("id"))
        is_whole = isinstance(subject, int) and not isinstance(subject, bool)
        if not (is_whole or isinstance(subject, str)) or str(subject) != login.account.uid:
            raise ValueError("The subject is missing, or not the same everywhere")


def _require_storable(login: SocialLogin) -> None:
    """Refuse what JSON may hold and a database may not: NUL, halves of surrogate pairs, and what is no number."""
    text = json.dumps([login.account.uid, login.account.extra_data], ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text:
        raise ValueError("The answer holds NUL")
    text.encode()
