import pytest
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory
from pytest_django import Settings

from accounts.adapters import AccountAdapter
from audit.models import AuditEvent


@pytest.mark.pure
def test_nobody_signs_up_by_a_form(rf: RequestFactory) -> None:
    assert AccountAdapter().is_open_for_signup(rf.post("/account/signup/")) is False


@pytest.mark.pure
def test_limits_count_the_address_behind_the_proxies(rf: RequestFactory) -> None:
    request = rf.get("/", REMOTE_ADDR="10.0.0.1")
    request.client_address = "203.0.113.9"  # type: ignore[attr-defined] # as the middleware does
    assert AccountAdapter().get_client_ip(request) == "203.0.113.9"


@pytest.mark.pure
def test_reset_link_is_the_portals(rf: RequestFactory, settings: Settings) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    url = AccountAdapter(rf.get("/", headers={"host": "evil.example"})).get_reset_password_from_key_url("1a-b2-c3")
    assert url == "https://keys.example.com/account/password/reset/key/1a-b2-c3/"


def test_session_of_nobody_ends_off_the_record(rf: RequestFactory, db: None) -> None:
    request = rf.get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    logout(request)
    assert AuditEvent.objects.count() == 0
