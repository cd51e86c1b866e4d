import pytest
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

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


def test_session_of_nobody_ends_off_the_record(rf: RequestFactory, db: None) -> None:
    request = rf.get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    logout(request)
    assert AuditEvent.objects.count() == 0
