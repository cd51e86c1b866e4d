"""People with second factors, made by the real actions, and what their apps and passkeys would send."""

import json
import re
import time
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, generate_totp_secret, hotp_value
from django.test import Client

from accounts.actions import factors
from accounts.models import User
from tests.accounts.passkeys import SoftPasskey
from tests.cast import NOON, PASSWORD, Person

SIGN_IN = "/account/sign-in/"
SECOND_STEP = "/account/sign-in/second-step/"
PASSKEY_SIGN_IN = "/account/sign-in/passkey/"
OVERVIEW = "/account/factors/"
ADD_PASSKEY = "/account/factors/passkeys/add/"


def code_of(secret: str, *, step: int = 0) -> str:
    """Return what an app shows now, or so many half minutes later."""
    return str(format_hotp_value(hotp_value(secret.replace(" ", ""), int(time.time()) // 30 + step)))


def wrong_code(secret: str) -> str:
    """Return a code that is none of those that would be taken."""
    taken = {code_of(secret, step=step) for step in (-1, 0, 1)}
    return next(text for number in range(9) if (text := str(number) * 6) not in taken)


def with_app(person: Person) -> str:
    """Give someone an authenticator app, and return its secret."""
    secret = str(generate_totp_secret())
    factors.add_authenticator_app(user=person.user, secret=secret, step=0, at=NOON)
    return secret


def with_codes(person: Person) -> list[str]:
    """Give someone an authenticator app, and return the recovery codes that come with it."""
    return factors.add_authenticator_app(user=person.user, secret=str(generate_totp_secret()), step=0, at=NOON)


def options_of(response: Any) -> dict[str, Any]:
    """Return what a page asks of a browser's passkeys."""
    options: dict[str, Any] = json.loads(response.context["options"])
    return options


def add_passkey(client: Client, passkey: SoftPasskey) -> Any:
    """Set a passkey up on its page."""
    made = passkey.create(options_of(client.get(ADD_PASSKEY)))
    return client.post(ADD_PASSKEY, {"name": passkey.name, "credential": made})


def give_password(client: Client, person: Person, password: str = PASSWORD) -> Any:
    return client.post(SIGN_IN, {"login": person.email, "password": password})


def passkey_sign_in(client: Client, passkey: SoftPasskey, **more: str) -> Any:
    """Sign in with a passkey and nothing else."""
    asked = client.get(PASSKEY_SIGN_IN, headers={"Accept": "application/json"}).json()
    return client.post(PASSKEY_SIGN_IN, {"credential": passkey.get(asked["request_options"]), **more})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def kinds_of(user: User) -> list[str]:
    return [*Authenticator.objects.filter(user=user).order_by("id").values_list("type", flat=True)]


def shown_codes(response: Any) -> list[str]:
    """Return the recovery codes that a page shows."""
    found = re.search(r'id="recovery-codes"[^>]*>([^<]*)<', response.content.decode())
    return found[1].split() if found else []
