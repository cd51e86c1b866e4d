"""The link that makes the first super admin."""

from django.conf import settings
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac


def setup_link() -> str:
    """Return the link: the same on every host and at every start, and void as soon as a user exists."""
    path = reverse("setup", args=[_token()])
    return f"{settings.KEYPORTAL_URL}{path}"


def is_setup_token(token: str) -> bool:
    return constant_time_compare(token, _token())


def _token() -> str:
    return salted_hmac("keyportal.setup", "the first super admin", algorithm="sha256").hexdigest()
