"""What a team may have had before: a Django project with the three packages, in a process of its own.

`python -m tests.apikeys.old_system URL` makes their tables with their own migrations, mints keys with their own API,
has each package say that its keys are good, and prints the texts as JSON: by package, then by what became of them.
"""

import json
import sys
from datetime import timedelta

import django
from django.conf import settings
from django.core.management import call_command

from keyportal.environment import Environment


def configure(url: str) -> None:
    settings.configure(
        DATABASES={"default": Environment().database(url)},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "rest_framework",
            "rest_framework.authtoken",
            "rest_framework_api_key",
            "knox",
        ],
        SECRET_KEY="it signs nothing",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup(set_prefix=False)
    call_command("migrate", verbosity=0)


def mint() -> dict[str, dict[str, str]]:
    """Mint keys of each package."""
    # What follows needs the settings.
    from django.contrib.auth.models import User
    from rest_framework.authtoken.models import Token

    dana = User.objects.create_user("dana", "Dana@example.com")
    gone = User.objects.create_user("gone", "gone@example.com", is_active=False)
    return {
        "drf-api-key": _api_keys(),
        "knox": _knox_tokens(dana, gone),
        "authtoken": {"good": Token.objects.create(user=dana).key, "disabled": Token.objects.create(user=gone).key},
    }


def _api_keys() -> dict[str, str]:
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone
    from rest_framework_api_key.models import APIKey

    _, good = APIKey.objects.create_key(name="nightly-export")
    expired_row, expired = APIKey.objects.create_key(name="expired", expiry_date=timezone.now() - timedelta(days=1))
    APIKey.objects.filter(pk=expired_row.pk).update(created=timezone.now() - timedelta(days=9))
    _, revoked = APIKey.objects.create_key(name="revoked", revoked=True)
    # As the package itself kept them before its version 3, and still takes them.
    old_row, old = APIKey.objects.create_key(name="old")
    hashed = make_password(old, hasher="pbkdf2_sha256")
    APIKey.objects.filter(pk=old_row.pk).update(hashed_key=hashed)
    verdicts = [APIKey.objects.is_valid(text) for text in (good, expired, revoked, old)]
    if verdicts != [True, False, False, True]:
        raise SystemExit(f"djangorestframework-api-key says {verdicts} of its own keys")
    # It has just replaced the old digest by its new one.
    APIKey.objects.filter(pk=old_row.pk).update(hashed_key=hashed)
    return {"good": good, "expired": expired, "revoked": revoked, "old": old}


def _knox_tokens(dana: object, gone: object) -> dict[str, str]:
    from django.utils import timezone
    from knox.auth import TokenAuthentication
    from knox.models import AuthToken

    _, good = AuthToken.objects.create(user=dana, expiry=None)
    TokenAuthentication().authenticate_credentials(good.encode())
    row, expired = AuthToken.objects.create(user=gone, expiry=-timedelta(hours=1))
    AuthToken.objects.filter(pk=row.pk).update(created=timezone.now() - timedelta(days=9))
    _, disabled = AuthToken.objects.create(user=gone)
    return {"good": good, "expired": expired, "disabled": disabled}


if __name__ == "__main__":
    configure(sys.argv[1])
    json.dump(mint(), sys.stdout)
