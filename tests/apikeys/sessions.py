"""Calls of the API as a page of the portal makes them: with a session, and its CSRF token."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.test import Client

from tests.cast import Person

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


class Session:
    """A browser in which someone is signed in, which checks CSRF tokens, unlike the test client by itself."""

    def __init__(self, person: Person, *, signed_in_ago: timedelta = timedelta(0)) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(person.user, backend=BACKEND)
        session = self.client.session
        session["account_authentication_methods"] = [
            {"method": "password", "at": (datetime.now(UTC) - signed_in_ago).timestamp()}
        ]
        session["account_authentication_methods_user"] = session[SESSION_KEY]
        session.save()

    @property
    def token(self) -> dict[str, str]:
        """Return the header that proves that a page of the portal is asking."""
        self.client.get("/projects/")
        return {"X-CSRFToken": self.client.cookies["csrftoken"].value}

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(path, body, content_type="application/json", headers=self.token)

    def delete(self, path: str) -> Any:
        return self.client.delete(path, headers=self.token)
