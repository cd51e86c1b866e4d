"""One code, many senders at the same moment: it is good once, on either database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from accounts.actions import factors
from accounts.factors import KINDS
from tests.accounts.factored import (
    SECOND_STEP,
    code_of,
    give_password,
    is_signed_in,
    kinds_of,
    with_app,
    with_codes,
)
from tests.accounts.scenes import event_names, together
from tests.cast import NOON, Person

SENDERS = 32
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


@pytest.fixture(autouse=True)
def shared_cache(settings: Settings, transactional_db: None) -> Iterator[None]:
    """The cache is a table, as in a portal, and nobody is stopped for trying often."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_of_a_test"}
    }
    settings.ACCOUNT_RATE_LIMITS = False
    call_command("createcachetable", "cache_of_a_test")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE cache_of_a_test")


def before_the_second_step(person: Person) -> list[Client]:
    """Return browsers in which the person's password was typed."""
    clients = [Client() for _ in range(SENDERS)]
    for client in clients:
        assert give_password(client, person)["Location"] == SECOND_STEP
    return clients


def send_at_once(clients: list[Client], code: Callable[[int], str]) -> list[Any]:
    return together(len(clients), lambda number: clients[number].post(SECOND_STEP, {"code": code(number)}).status_code)


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_code_of_an_app_opens_one_session_of_many(dana: Person, step: int) -> None:
    secret = with_app(dana)
    clients = before_the_second_step(dana)
    code = code_of(secret, step=step)
    # The window may move on between the senders, and not by so much that a code of now falls out of it.
    answers = send_at_once(clients, lambda _: code)
    assert sorted(answers, key=str) == [302] + [422] * (SENDERS - 1)
    assert sum(is_signed_in(client) for client in clients) == 1
    assert event_names(event="user.signed_in") == ["user.signed_in"]


def test_recovery_code_opens_one_session_of_many(dana: Person) -> None:
    code = with_codes(dana)[0]
    clients = before_the_second_step(dana)
    answers = send_at_once(clients, lambda _: code)
    assert sorted(answers, key=str) == [302] + [422] * (SENDERS - 1)
    assert sum(is_signed_in(client) for client in clients) == 1
    assert event_names(event="recovery_codes.used") == ["recovery_codes.used"]


def test_each_recovery_code_opens_a_session_where_many_are_used_at_once(dana: Person) -> None:
    codes = with_codes(dana)
    clients = before_the_second_step(dana)[: len(codes)]
    assert send_at_once(clients, lambda number: codes[number]) == [302] * len(codes)
    assert len(event_names(event="recovery_codes.used")) == len(codes)


def test_app_is_added_once_by_many(dana: Person) -> None:
    cache.clear()
    answers = together(8, lambda _: len(with_app(dana)))
    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyHasApp"] * 7 + ["int"]
    assert kinds_of(dana.user) == ["totp", "recovery_codes"]


def test_two_last_factors_do_not_both_go_where_one_has_to_stay(dana: Person) -> None:
    with_app(dana)
    credential = {"id": "x", "rawId": "x"}
    factors.add_passkey(user=dana.user, name="Phone", credential=credential, at=NOON)
    dana.user.set_password("nine words")
    dana.user.save()
    ids = [*Authenticator.objects.filter(user=dana.user, type__in=KINDS).values_list("pk", flat=True)]
    answers = together(2, lambda number: factors.remove_factor(user=dana.user, factor_id=ids[number], at=NOON).type)
    assert sorted(type(answer).__name__ for answer in answers) == ["PasswordTooShortAlone", "str"]
