"""How long a password has to be, wherever it is chosen."""

import io
from typing import Any

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from accounts.models import User
from accounts.passwords import least_length
from tests.accounts.factored import with_app
from tests.accounts.scenes import text_of
from tests.cast import NOON, PASSWORD, Person

FOURTEEN, FIFTEEN = "quiet-heron-14", "quiet-heron-015"
EIGHT, SEVEN = "heron-8!", "heron-7"
CHANGE = "/account/password/change/"


def codes_of(password: str, user: User | None) -> list[str]:
    try:
        validate_password(password, user=user)
    except ValidationError as error:
        return [str(one.code) for one in error.error_list]
    return []


@pytest.mark.parametrize(
    ("password", "is_refused"), [(FOURTEEN, True), (FIFTEEN, False), (SEVEN, True), (EIGHT, True), ("x" * 129, True)]
)
def test_only_factor_has_fifteen_characters(dana: Person, password: str, is_refused: bool) -> None:
    assert bool(codes_of(password, dana.user)) is is_refused
    assert bool(codes_of(password, User(email="new@example.com"))) is is_refused


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        (SEVEN, ["password_too_short"]),
        (EIGHT, []),
        (FOURTEEN, []),
        ("password", ["password_too_common"]),
        ("heron" * 26, ["password_too_long"]),
    ],
)
def test_password_beside_a_second_factor_has_eight(dana: Person, password: str, codes: list[str]) -> None:
    with_app(dana)
    assert codes_of(password, dana.user) == codes


def change(client: Client, password: str) -> Any:
    return client.post(CHANGE, {"oldpassword": PASSWORD, "password1": password, "password2": password})


def test_form_says_the_number_that_counts_for_the_person(dana: Person, dana_client: Client) -> None:
    assert "At least 15 characters." in text_of(dana_client.get(CHANGE))
    with_app(dana)
    assert "At least 8 characters." in text_of(dana_client.get(CHANGE))


def test_short_password_is_known_as_short_until_a_longer_one_is_set(dana: Person, dana_client: Client) -> None:
    assert "must have at least 15 characters" in text_of(change(dana_client, EIGHT))
    with_app(dana)
    assert change(dana_client, EIGHT).status_code == 302
    user = User.objects.get(pk=dana.user.pk)
    assert (user.has_short_password, user.check_password(EIGHT)) == (True, True)
    user.set_password(FIFTEEN)
    assert not user.has_short_password
    user.set_unusable_password()
    assert not user.has_short_password


def test_person_without_password_has_no_short_one(db: None) -> None:
    user = User.objects.create_user("new@example.com", created_at=NOON)
    assert not user.has_short_password


def test_command_takes_no_short_password(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{FOURTEEN}\n"))
    with pytest.raises(CommandError, match="15 characters"):
        call_command("create_admin", "x@example.com", "--organization=X")
    assert not User.objects.exists()


def test_somebody_new_needs_fifteen() -> None:
    assert least_length() == 15
