import threading
from dataclasses import replace

import pytest

from audit.context import (
    ANONYMOUS,
    SYSTEM,
    Actor,
    Context,
    NoAuditContext,
    audit_context,
    current,
    happening_in,
    set_actor,
)
from tests.audit.happenings import BOB, NOON, ORGANIZATION, OTHER_ORGANIZATION


def test_context_is_the_systems_where_none_runs() -> None:
    assert current() == Context(actor=SYSTEM, request_id="", address=None, at=None)


def test_context_holds_what_it_was_given_and_ends_with_the_block() -> None:
    with audit_context(actor=BOB, request_id="r-1", address="192.0.2.7", at=NOON):
        assert current() == Context(actor=BOB, request_id="r-1", address="192.0.2.7", at=NOON)
    assert current() == Context()


def test_context_ends_with_the_block_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), audit_context(actor=BOB):
        raise ZeroDivisionError
    assert current() == Context()


def test_set_actor_names_the_actor_and_keeps_the_rest() -> None:
    with audit_context(actor=ANONYMOUS, request_id="r-1", address="192.0.2.7", at=NOON):
        set_actor(BOB)
        assert current() == Context(actor=BOB, request_id="r-1", address="192.0.2.7", at=NOON)


def test_set_actor_ends_with_the_inner_context() -> None:
    with audit_context(actor=ANONYMOUS):
        with audit_context(actor=SYSTEM):
            set_actor(BOB)
        assert current().actor == ANONYMOUS
    assert current().actor == SYSTEM


def test_set_actor_is_refused_where_it_would_outlive_the_request() -> None:
    with pytest.raises(NoAuditContext):
        set_actor(BOB)
    assert current().actor == SYSTEM


def test_happening_in_names_the_organization_and_keeps_the_rest() -> None:
    with audit_context(actor=BOB, request_id="r-1", address="192.0.2.7", at=NOON):
        before = current()
        with happening_in(ORGANIZATION):
            assert current() == replace(before, organization_id=ORGANIZATION)
            with happening_in(OTHER_ORGANIZATION):
                assert current().organization_id == OTHER_ORGANIZATION
            assert current().organization_id == ORGANIZATION
        assert current() == before


def test_happening_in_works_where_no_context_runs_and_ends_when_it_fails() -> None:
    seen = []
    with pytest.raises(ZeroDivisionError), happening_in(ORGANIZATION):
        seen.append(current() == Context(organization_id=ORGANIZATION) and 1 / 0)
    assert (seen, current()) == ([], Context())


def test_context_belongs_to_one_thread() -> None:
    met, seen = threading.Barrier(2, timeout=10), {}

    def act(name: str) -> None:
        with audit_context(actor=ANONYMOUS, request_id=name):
            met.wait()
            set_actor(Actor("user", label=name))
            met.wait()
            seen[name] = current()

    threads = [threading.Thread(target=act, args=(name,)) for name in ("first", "second")]
    with audit_context(actor=BOB):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert current() == Context(actor=BOB)
    assert seen == {name: Context(actor=Actor("user", label=name), request_id=name) for name in ("first", "second")}


def test_context_of_a_new_thread_is_the_systems() -> None:
    seen = []
    with audit_context(actor=BOB):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [Context()]
