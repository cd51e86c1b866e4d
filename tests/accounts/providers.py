"""GitHub, Google and two OpenID Connect providers at once, as a portal has them that switched them all on."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.socialaccount import providers
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.github.provider import GitHubProvider
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.google.provider import GoogleProvider
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.conf import settings as portal
from django.test import Client
from pytest_django import Settings

from tests import fake_providers
from tests.cast import Person
from tests.fake_providers import CLIENT_ID, CLIENT_SECRET, Provider

WAYS = {
    "github": "/github/login/",
    "google": "/google/login/",
    "acme": "/oidc/acme/login/",
    "key-cloak": "/oidc/key-cloak/login/",
}
APP = {"client_id": CLIENT_ID, "secret": CLIENT_SECRET}


def switched_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Start them, and switch them on."""
    with fake_providers.running() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = {
            "github": {"APPS": [APP], "OAUTH_PKCE_ENABLED": True},
            "google": {"APPS": [APP], "OAUTH_PKCE_ENABLED": True},
            "openid_connect": {
                "APPS": [oidc_app(provider, realm) for realm in ("acme", "key-cloak")],
                "OAUTH_PKCE_ENABLED": True,
            },
        }
        for kind in (GitHubProvider, GoogleProvider, OpenIDConnectProvider):
            monkeypatch.setitem(providers.registry.provider_map, kind.id, kind)
        for adapter, endpoints in ENDPOINTS.items():
            for name, path in endpoints.items():
                monkeypatch.setattr(adapter, name, provider.url + path)
        yield provider


ENDPOINTS: dict[type, dict[str, str]] = {
    GitHubOAuth2Adapter: {
        "authorize_url": fake_providers.GITHUB_AUTHORIZE,
        "access_token_url": fake_providers.GITHUB_TOKEN,
        "profile_url": fake_providers.GITHUB_USER,
        "emails_url": fake_providers.GITHUB_EMAILS,
    },
    GoogleOAuth2Adapter: {
        "authorize_url": fake_providers.GOOGLE_AUTHORIZE,
        "access_token_url": fake_providers.GOOGLE_TOKEN,
        "identity_url": fake_providers.GOOGLE_USER,
    },
}


def oidc_app(provider: Provider, realm: str) -> dict[str, Any]:
    settings = {"server_url": provider.server_url(realm), "groups_claim": "groups"}
    return APP | {"provider_id": realm, "name": realm.title(), "settings": settings}


def be(world: Provider, way: str, subject: str, **said: Any) -> None:
    """Let someone be signed in at a provider, who is asked for no consent."""
    if way == "github":
        world.github = {"id": int(subject), "login": "someone", **said}
    elif way == "google":
        world.google = {"sub": subject, **said}
    else:
        world.people[way] = {"sub": subject, **said}


def begin(client: Client, way: str, *, process: str = "login", to: str = "") -> str:
    """Leave for a provider, and return the address there."""
    response = client.post(f"{WAYS[way]}?process={process}&next={to}")
    assert response.status_code == 302, response.content
    return str(response["Location"])


def consent(address: str) -> str:
    """Consent there, and return the path of ours to which the browser is sent back."""
    answer = httpx.get(address)
    assert answer.status_code == 302
    back = answer.headers["location"]
    assert back.startswith(portal.KEYPORTAL_URL)
    return str(back.removeprefix(portal.KEYPORTAL_URL))


def through(client: Client, way: str, *, process: str = "login", to: str = "") -> Any:
    """Go all the way, and return what the portal answers at its end."""
    return client.get(consent(begin(client, way, process=process, to=to)))


def asked_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def connected(person: Person, way: str, subject: str) -> SocialAccount:
    return SocialAccount.objects.create(user=person.user, provider=way, uid=subject)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session
