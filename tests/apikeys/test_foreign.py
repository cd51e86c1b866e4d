import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from accounts.models import Team
from apikeys import actions, budgets, digests, foreign, hashing
from apikeys.foreign import Formats
from apikeys.hashing import Check
from apikeys.models import ApiKey, ApiKeyQuerySet
from apikeys.verification import Outcome, Verification, verify
from audit import uses
from audit.models import KeyUse
from tests.apikeys.logbook import Logbook
from tests.apikeys.presented import of_nobody
from tests.cast import NOON, Issued, Person, later

WHOAMI = "/v1/whoami"
TEXT = "AbCd1234.qN7ZrJ0bWkT3yXvLmPs5HdFgUe2iOc9A"
WRONG = TEXT[:-1] + "B"
Queries = Callable[[int], Any]
Import = Callable[..., ApiKey]


@pytest.fixture
def bring(bob: Person, team: Team) -> Import:
    """Import a key as someone would who has its text: `bring(TEXT, source="knox")`."""

    def bring(text: str = TEXT, length: int = 8, **changes: Any) -> ApiKey:
        wanted: dict[str, Any] = {
            "where": "line 2",
            "source": "drf-api-key",
            "prefix": text[:length],
            "digest": digests.of_text(text),
            "name": "nightly-export",
            "principal": bob.principal,
            "place": team,
            "environment": "live",
            "permissions": ("scan:read",),
            "created_at": NOON - timedelta(days=400),
            "expires_at": None,
        } | changes
        incoming = actions.Incoming(**wanted)
        imported = actions.import_keys(organization=team.organization, keys=[incoming], at=NOON)
        return imported.new[0]

    return bring


def outcome_of(text: str) -> Outcome:
    return verify(text, at=NOON).outcome


def call(header: str) -> Any:
    return Client().get(WHOAMI, headers={"Authorization": header})


# Verification


def test_imported_key_works_in_its_old_form_and_is_rehashed_on_first_use(bring: Import) -> None:
    row = bring()
    verdict = verify(TEXT, at=NOON)
    assert (verdict.outcome, verdict.prefix) == (Outcome.ACCEPTED, "AbCd1234")
    assert verdict.key is not None
    assert (verdict.key.id, verdict.key.label) == (row.pk, "AbCd1234")
    upgraded = ApiKey.objects.get().digest
    assert upgraded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert outcome_of(TEXT) is Outcome.ACCEPTED
    hashing.forget_all()
    assert outcome_of(TEXT) is Outcome.ACCEPTED
    assert ApiKey.objects.get().digest == upgraded
    assert outcome_of(WRONG) is Outcome.INVALID_KEY


def test_wrong_secret_of_an_imported_key_upgrades_nothing_and_is_charged(bring: Import) -> None:
    row = bring()
    assert verify(WRONG, at=NOON, source="203.0.113.7") == Verification(Outcome.INVALID_KEY, "AbCd1234")
    assert ApiKey.objects.get().digest == row.digest
    refusals = [verify(f"{WRONG[:-2]}{n:02}", at=NOON, source="203.0.113.7") for n in range(12)]
    assert (refusals[-1].outcome, refusals[-1].prefix) == (Outcome.TOO_MANY_FAILURES, "")
    assert outcome_of(TEXT) is Outcome.ACCEPTED


def test_text_of_nobody_tells_nothing_of_itself_and_is_charged_to_its_source(
    bring: Import, settings: Settings, logbook: Logbook
) -> None:
    bring()
    settings.KEYPORTAL_FAILURES_PER_SOURCE = 2
    text = "ghp_someone-elses-secret"
    verdicts = [verify(text, at=NOON, source="203.0.113.7") for _ in range(3)]
    assert [(verdict.outcome, verdict.prefix) for verdict in verdicts] == [
        (Outcome.INVALID_KEY, ""),
        (Outcome.INVALID_KEY, ""),
        (Outcome.TOO_MANY_FAILURES, ""),
    ]
    assert call(f"Bearer {text}").status_code == 401
    uses.flush()
    assert "ghp_" not in logbook.text + repr(list(KeyUse.objects.values_list()))


def test_state_of_an_imported_key_is_told_to_its_holder(bring: Import) -> None:
    bring(expires_at=NOON - timedelta(days=1))
    bring("xyZ01234." + "q" * 32, is_revoked=True)
    bring("disabled." + "q" * 32, is_disabled=True)
    assert outcome_of(TEXT) is Outcome.KEY_EXPIRED
    assert outcome_of("xyZ01234." + "q" * 32) is Outcome.KEY_REVOKED
    assert outcome_of("disabled." + "q" * 32) is Outcome.KEY_DISABLED


def test_longest_prefix_that_is_there_is_meant(bring: Import) -> None:
    long, short = "deadbeef1234567" + "0" * 49, "deadbeef" + "f" * 32
    bring(long, 15, source="knox")
    bring(short, 8, source="authtoken")
    for text in (long, short):
        assert outcome_of(text) is Outcome.ACCEPTED


def test_prefix_of_a_key_of_ours_is_no_foreign_keys(bring: Import, issued: Issued) -> None:
    bring()
    before = hashing.runs()
    budgets.current().may_run_dummy()
    assert verify(f"{issued.row.prefix}.{'x' * 32}", at=NOON) == Verification(Outcome.INVALID_KEY)
    assert hashing.runs() == before


def test_what_cannot_be_looked_up_is_neither_right_nor_wrong(
    bring: Import, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("gone")

    bring()
    foreign.candidates(TEXT)
    monkeypatch.setattr(ApiKeyQuerySet, "imported_prefix", fail)
    assert verify(TEXT, at=NOON) == Verification(Outcome.UNAVAILABLE)
    assert [line["reason"] for line in logbook.events("verification.database_failed")] == ["OperationalError"]
    assert TEXT[:8] not in logbook.text


# What a text that is no key costs


def test_text_that_is_no_key_costs_no_query_where_nothing_was_imported(
    issued: Issued, django_assert_num_queries: Queries
) -> None:
    with django_assert_num_queries(0):
        assert outcome_of(TEXT) is Outcome.INVALID_KEY
        assert call(f"Token {issued.text}").json()["code"] == "missing_credentials"


def test_process_that_knows_nothing_yet_looks_once(db: None, django_assert_num_queries: Queries) -> None:
    foreign.forget_all()
    with django_assert_num_queries(1):
        for _ in range(3):
            assert outcome_of(TEXT) is Outcome.INVALID_KEY


def test_imported_key_costs_two_queries_until_it_is_known_and_one_then(
    bring: Import, django_assert_num_queries: Queries
) -> None:
    bring()
    verify(TEXT, at=NOON)
    hashing.forget_all()
    with django_assert_num_queries(2):
        verify(TEXT, at=NOON)
    with django_assert_num_queries(1):
        verify(TEXT, at=NOON)


@pytest.mark.parametrize("text", ["", "x" * 129, "AbCd1234 q", "AbCd1234,q", "AbCd1234\x00", "AbCd1234é", "AbCd1234"])
def test_text_that_no_header_holds_is_no_candidate(
    bring: Import, django_assert_num_queries: Queries, text: str
) -> None:
    bring()
    foreign.candidates(TEXT)
    with django_assert_num_queries(0):
        assert foreign.candidates(text) == []
        assert outcome_of(text) is Outcome.INVALID_KEY


# What a process knows of imported keys


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(foreign, "_memory", foreign._Memory(clock))
    return clock


def answers(monkeypatch: pytest.MonkeyPatch, *found: object) -> list[object]:
    """Let the database answer these, one look after the other; return those that are left."""
    left = list(found)

    def look(_: object) -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ApiKeyQuerySet, "imported_formats", look)
    return left


def test_formats_are_looked_up_again_after_ten_seconds(db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, [], [("knox", 15), ("csv", 8), ("drf-api-key", 8)])
    seen = []
    for moment in (1000.0, 1009.9, 1010.0, 1019.9):
        clock.now = moment
        seen.append(foreign._memory.formats())
    both = Formats((15, 8), frozenset({"knox", "csv", "drf-api-key"}))
    assert seen == [Formats(), Formats(), both, both]


def test_database_that_is_away_leaves_what_was_known(db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    left = answers(monkeypatch, [("csv", 8)], OperationalError("gone"), [])
    for moment in (1000.0, 1010.0, 1019.9):
        clock.now = moment
        assert foreign._memory.formats() == Formats((8,), frozenset({"csv"}))
    assert left == [[]]
    clock.now = 1020.0
    assert foreign._memory.formats() == Formats()


def test_process_that_could_never_look_says_so(
    db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch, logbook: Logbook
) -> None:
    answers(monkeypatch, *[OperationalError("gone")] * 3, [])
    assert outcome_of(TEXT) is Outcome.UNAVAILABLE
    response = call(f"Bearer {TEXT}")
    assert (response.status_code, response.json()["code"]) == (503, "verification_unavailable")
    response = call(f"Token {TEXT}")
    assert (response.status_code, response.json()["code"]) == (503, "verification_unavailable")
    assert outcome_of(TEXT) is Outcome.INVALID_KEY


def test_one_thread_looks_while_the_others_go_on(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looking, done = threading.Event(), threading.Event()

    def look(_: object) -> list[tuple[str, int]]:
        looking.set()
        assert done.wait(10)
        return [("csv", 8)]

    monkeypatch.setattr(ApiKeyQuerySet, "imported_formats", look)
    foreign._memory.learn(Formats())
    clock.now = 1010.0
    other = threading.Thread(target=foreign._memory.formats)
    other.start()
    assert looking.wait(10)
    assert foreign._memory.formats() == Formats()
    done.set()
    other.join(10)
    assert foreign._memory.formats() == Formats((8,), frozenset({"csv"}))


def test_threads_of_a_process_that_knows_nothing_wait_for_the_first_to_look(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    looking, done = threading.Event(), threading.Event()

    def look(_: object) -> list[tuple[str, int]]:
        looks.append(1)
        looking.set()
        assert done.wait(10)
        return [("csv", 8)]

    monkeypatch.setattr(ApiKeyQuerySet, "imported_formats", look)
    seen: list[Formats] = []
    threads = [threading.Thread(target=lambda: seen.append(foreign._memory.formats())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert looking.wait(10)
    done.set()
    for thread in threads:
        thread.join(10)
    assert (len(looks), set(seen)) == (1, {Formats((8,), frozenset({"csv"}))})


# The scheme


@pytest.mark.parametrize(("source", "scheme"), foreign.SCHEMES.items())
def test_scheme_of_a_package_is_accepted_once_a_key_of_it_was_imported(bring: Import, source: str, scheme: str) -> None:
    assert call(f"{scheme} {TEXT}").json()["code"] == "missing_credentials"
    bring(source="csv")
    assert call(f"{scheme} {TEXT}").json()["code"] == "missing_credentials"
    bring("other123" + "x" * 32, source=source)
    for written in (scheme, scheme.title(), scheme.upper()):
        assert call(f"{written} {TEXT}").status_code == 200
    assert call(f"{scheme} {WRONG}").json()["code"] == "invalid_key"
    assert call(f"{scheme} {TEXT}, {scheme} {TEXT}").json()["code"] == "invalid_request"
    assert call(f"{scheme} {TEXT}, Bearer {TEXT}").json()["code"] == "invalid_request"
    assert call(f"Basic {TEXT}").json()["code"] == "missing_credentials"


def test_scheme_that_settings_name_is_accepted(issued: Issued, settings: Settings) -> None:
    settings.KEYPORTAL_KEY_SCHEMES = ["X-Key"]
    assert call(f"x-key {issued.text}").status_code == 200
    assert call(f"Token {issued.text}").status_code == 401


def test_refusals_of_imported_and_other_texts_look_the_same(bring: Import, issued: Issued) -> None:
    bring()
    bodies = set()
    for text in (WRONG, "nonsense", of_nobody(), "other123" + "x" * 32):
        response = call(f"Bearer {text}")
        request_id = response["X-Request-Id"].encode()
        bodies.add((response.status_code, response["WWW-Authenticate"], response.content.replace(request_id, b"")))
    assert len(bodies) == 1


# The page


def test_imported_key_counts_as_unused_since_its_import(bring: Import) -> None:
    bring()
    keys = ApiKey.objects.all()
    assert not keys.needing_attention(at=later(days=90)).exists()
    assert keys.needing_attention(at=later(days=91)).exists()


def test_page_of_an_imported_key_says_where_it_is_from(bring: Import, bob_client: Client) -> None:
    response = bob_client.get(f"/keys/{bring().pk}/")
    assert "from drf-api-key" in response.content.decode()


def test_digest_of_another_package_never_waits_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "matcher", lambda _: lambda _: 1 / 0)
    stored = digests.of_text(TEXT)
    assert hashing.check(TEXT, key_id=UUID(int=1), digest=stored) is Check.UNDECIDABLE
