"""What the rivals have in common: lean production settings, and how each is prepared.

They get every advantage that their documentation leaves open: JSON as the only renderer, no middleware at all, and
no probe of a kept connection.
"""

import secrets
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

from bench.database import databases


def configure(urlconf: str, *apps: str, **more: Any) -> None:
    """Set Django up for one rival: its apps, its REST_FRAMEWORK, and nothing that it does not need."""
    rest_framework = {
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    } | more.pop("REST_FRAMEWORK", {})
    settings.configure(
        ROOT_URLCONF=urlconf,
        SECRET_KEY=secrets.token_urlsafe(50),
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES=databases(),
        USE_TZ=True,
        TIME_ZONE="UTC",
        USE_I18N=False,
        MIDDLEWARE=[],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", *apps],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        REST_FRAMEWORK=rest_framework,
        **more,
    )
    django.setup(set_prefix=False)


def prepare() -> Any:
    """Make the tables and one user; return the user."""
    from django.contrib.auth.models import User

    call_command("migrate", verbosity=0)
    return User.objects.create_user("service", "service@example.com")
