"""Hashing passwords in bounded memory: a few runs at once, and an honest answer to those who find no turn."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError
from django.conf import settings as product
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.db import connection
from django.test import Client
from pytest_django import Settings

from accounts import password_hashing
from accounts.models import Team, User
from accounts.password_hashing import BoundedArgon2PasswordHasher, HashingBusy
from accounts.setup_link import setup_link
from tests.accounts.mailbox import link_to
from tests.accounts.scenes import event_names, invited, text_of, together
from tests.cast import PASSWORD, Person

HASHER = "accounts.password_hashing.BoundedArgon2PasswordHasher"


@pytest.fixture(autouse=True)
def bounded(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [HASHER]
    settings.KEYPORTAL_PASSWORD_MEMORY_KIB, settings.KEYPORTAL_PASSWORD_TIME = 8, 1


class Runs:
    """How many runs of argon2 there were, and how many at the same moment at most."""

    def __init__(self) -> None:
        self.all = self.now = self.most = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._lock:
            self.all, self.now = self.all + 1, self.now + 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    counted = Runs()
    encode, verify = argon2.low_level.hash_secret, argon2.PasswordHasher.verify

    def counted_encode(*args: Any, **kwargs: Any) -> bytes:
        with counted.one():
            return encode(*args, **kwargs)

    def counted_verify(self: Any, *args: Any) -> bool:
        with counted.one():
            return bool(verify(self, *args))

    monkeypatch.setattr(argon2.low_level, "hash_secret", counted_encode)
    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted_verify)
    return counted


def sign_in(email: str, password: str = PASSWORD, *, address: str = "127.0.0.1") -> Any:
    return Client(REMOTE_ADDR=address).post("/account/sign-in/", {"login": email, "password": password})


def with_real_password(person: Person) -> None:
    User.objects.filter(pk=person.user.pk).update(password=make_password(PASSWORD))


def test_product_hashes_with_nineteen_mebibytes_two_passes_and_one_lane(settings: Settings) -> None:
    # What the tests' process was started with, before a fixture made it cheap.
    settings.KEYPORTAL_PASSWORD_MEMORY_KIB, settings.KEYPORTAL_PASSWORD_TIME = 19456, 2
    assert make_password(PASSWORD).startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert product.PASSWORD_RESET_TIMEOUT == 3600


def test_hash_matches_its_password_alone() -> None:
    encoded = make_password(PASSWORD)
    assert check_password(PASSWORD, encoded)
    assert not check_password(PASSWORD + "x", encoded)


@pytest.mark.parametrize("broken", ["argon2$argon2id$v=19$m=8,t=1,p=1$short", "argon2$", "argon2$argon2id$x"])
def test_hash_that_is_none_lets_nobody_in(broken: str) -> None:
    try:
        assert not BoundedArgon2PasswordHasher().verify(PASSWORD, broken)
    except HashingBusy as busy:
        assert isinstance(busy.__cause__, VerificationError)  # noqa: PT017 - the one or the other, by how it is broken


def test_hash_of_other_parameters_is_replaced_at_a_sign_in(alice: Person) -> None:
    old = Argon2PasswordHasher().encode(PASSWORD, "a salt of enough characters")
    User.objects.filter(pk=alice.user.pk).update(password=old)
    assert "m=102400,t=2,p=8" in old
    assert sign_in(alice.email).status_code == 302
    new = User.objects.get(pk=alice.user.pk).password
    assert new.startswith("argon2$argon2id$v=19$m=8,t=1,p=1$")
    assert check_password(PASSWORD, new)


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_sixty_four_sign_ins_at_once_are_all_answered_and_hash_two_at_a_time(
    alice: Person, runs: Runs, settings: Settings
) -> None:
    settings.KEYPORTAL_PASSWORD_PERMITS, settings.KEYPORTAL_PASSWORD_WAIT_MS = 2, 20_000
    with_real_password(alice)
    before = runs.all
    answers = together(64, lambda n: sign_in(f"n{n}@example.com", address=f"192.0.2.{n}").status_code)
    assert answers == [422] * 64
    assert (runs.all - before, runs.most) == (64, 2)


@pytest.mark.django_db(transaction=True)
def test_sign_ins_that_find_no_turn_are_told_to_try_again(alice: Person, runs: Runs, settings: Settings) -> None:
    with_real_password(alice)
    settings.KEYPORTAL_PASSWORD_PERMITS, settings.KEYPORTAL_PASSWORD_WAIT_MS = 1, 0
    answers = together(32, lambda n: sign_in(f"n{n}@example.com", address=f"192.0.2.{n}").status_code)
    assert set(answers) == {422, 503}
    assert runs.most == 1


@contextmanager
def no_turn() -> Iterator[None]:
    permits = password_hashing._permits(product.KEYPORTAL_PASSWORD_PERMITS)
    taken = [permits.acquire() for _ in range(product.KEYPORTAL_PASSWORD_PERMITS)]
    try:
        yield
    finally:
        for _ in taken:
            permits.release()


@pytest.fixture
def impatient(settings: Settings) -> None:
    settings.KEYPORTAL_PASSWORD_WAIT_MS = 0


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_sign_in_without_a_turn_blames_nobody_and_counts_for_nobody(alice: Person, impatient: None, email: str) -> None:
    with_real_password(alice)
    with no_turn():
        for _ in range(12):
            response = sign_in(email)
            assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "Try again in a moment" in text_of(response)
    assert "Nothing is wrong with your password" in text_of(response)
    assert event_names(event="user.sign_in_failed") == []
    assert sign_in(alice.email).status_code == 302


def test_other_pages_that_hash_ask_for_patience_too(alice_client: Client, alice: Person, impatient: None) -> None:
    with_real_password(alice)
    client = Client()
    client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD})
    changed = {"oldpassword": PASSWORD, "password1": "x" * 20 + "yz", "password2": "x" * 20 + "yz"}
    with no_turn():
        answers = [
            client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code,
            client.post("/account/password/change/", changed).status_code,
        ]
    assert answers == [503, 503]
    assert client.get("/").status_code == 200


def test_token_without_a_turn_is_a_problem(alice: Person, impatient: None) -> None:
    with_real_password(alice)
    body = {"email": alice.email, "password": PASSWORD}
    with no_turn():
        response = Client().post("/v1/auth/token", body, "application/json")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response["Retry-After"]


@pytest.mark.parametrize(
    ("place", "error"),
    [("PasswordHasher.verify", VerificationError("no memory")), ("hash", HashingError("no memory"))],
)
def test_memory_that_is_missing_is_no_wrong_password(
    monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    encoded = make_password(PASSWORD)

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(argon2.PasswordHasher, "verify", refuse)
    monkeypatch.setattr(argon2.low_level, "hash_secret", refuse)
    with pytest.raises(HashingBusy):
        check_password(PASSWORD, encoded) if place.endswith("verify") else make_password(PASSWORD)
    # The turn was given back.
    monkeypatch.undo()
    assert check_password(PASSWORD, encoded)


@pytest.fixture
def depths(db: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In how many transactions within the test's own each hash was made."""
    outside, seen = len(connection.savepoint_ids), []
    encode = BoundedArgon2PasswordHasher.encode

    def watched(self: Any, *args: Any) -> str:
        seen.append(len(connection.savepoint_ids) - outside)
        return encode(self, *args)

    monkeypatch.setattr(BoundedArgon2PasswordHasher, "encode", watched)
    return seen


def test_no_password_is_hashed_in_a_transaction_by_the_set_up(
    client: Client, depths: list[int], settings: Settings
) -> None:
    """A password that waits for its turn must not make everyone wait who writes."""
    told = {"organization_name": "Northwind", "email": "alice@example.com", "password": PASSWORD}
    assert client.post(setup_link().removeprefix(settings.KEYPORTAL_URL), told).status_code == 302
    assert depths == [0]


@pytest.mark.parametrize("is_mailed", [True, False])
def test_no_password_is_hashed_in_a_transaction_by_an_invitation(
    client: Client, bob: Person, team: Team, depths: list[int], is_mailed: bool
) -> None:
    _, token = invited(bob, team)
    client.get(link_to("erin@example.com") if is_mailed else f"/invitations/{token}/")
    depths.clear()
    assert client.post("/invitations/", {"name": "Erin", "password": PASSWORD}).status_code == 302
    assert depths == [0]


def test_no_password_is_hashed_in_a_transaction_by_a_change_or_a_reset(alice: Person, depths: list[int]) -> None:
    with_real_password(alice)
    client = Client()
    client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD})
    depths.clear()
    chosen = {"password1": "quite another sentence", "password2": "quite another sentence"}
    assert client.post("/account/password/change/", {"oldpassword": PASSWORD} | chosen).status_code == 302
    assert client.get("/").status_code == 200
    client.post("/account/password/reset/", {"email": alice.email})
    form = client.get(link_to(alice.email), follow=True)
    chosen = {"password1": "yet another sentence", "password2": "yet another sentence"}
    assert client.post(form.redirect_chain[-1][0], chosen).status_code == 302
    assert depths == [0, 0]


MEASURED = """
import resource, threading
import django
from django.conf import settings
from django.contrib.auth.hashers import make_password
django.setup()
settings.KEYPORTAL_PASSWORD_WAIT_MS = 60_000
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threading.Thread(target=print).start()
before = peak()
threads = [threading.Thread(target=make_password, args=("x",)) for _ in range(32)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(peak() - before)
"""


def test_memory_of_many_at_once_is_that_of_two_runs(tmp_path: Path) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "keyportal.settings",
        "KEYPORTAL_DATA_DIR": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    # KiB; without the bound it is some 500,000.
    assert int(done.stdout.split()[-1]) < 3 * 19_456
