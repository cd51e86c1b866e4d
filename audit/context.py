"""Who is acting, in which request and from where, for as long as a block of code runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a user, api_key (with its issuer), service_account, the system, or anonymous."""

    kind: str
    id: UUID | None = None
    label: str = ""
    issuer_id: UUID | None = None
    issuer_label: str = ""


SYSTEM = Actor("system", label="system")
ANONYMOUS = Actor("anonymous", label="anonymous")


@dataclass(frozen=True, slots=True)
class Place:
    """Which organization, team and project something belongs to, which is what decides who may see it."""

    organization_id: UUID | None = None
    team_id: UUID | None = None
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What an audit row says beside the change. `at` is None unless history is being told: then the clock.

    `organization_id` is where it belongs if the row itself cannot tell, as that of a person who is about to join.
    """

    actor: Actor = SYSTEM
    request_id: str = ""
    address: str | None = None
    at: datetime | None = None
    organization_id: UUID | None = None


class NoAuditContext(RuntimeError):
    """An actor was set outside of any `audit_context`, so it would stay for the thread's next work."""


_running: ContextVar[Context | None] = ContextVar("audit_context", default=None)


def current() -> Context:
    """Return the running context. Outside of any, and in a thread of its own, that is the system's."""
    return _running.get() or Context()


class audit_context:  # noqa: N801 - it is used as a function, and a class since every request enters one
    """Make this the context of every audit row that the block writes."""

    __slots__ = ("_context", "_token")

    def __init__(
        self, *, actor: Actor = SYSTEM, request_id: str = "", address: str | None = None, at: datetime | None = None
    ) -> None:
        self._context = Context(actor, request_id, address, at)

    def __enter__(self) -> None:
        self._token = _running.set(self._context)

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)


def set_actor(actor: Actor) -> None:
    """Name the actor of the running context, once it is known; it ends with the context.

    :raises NoAuditContext: if no `audit_context` runs.
    """
    context = _running.get()
    if context is None:
        raise NoAuditContext("Call set_actor() inside `with audit_context():`.")
    # Spelled out: this is done for each call with a key, and `replace` takes five times as long.
    _running.set(Context(actor, context.request_id, context.address, context.at, context.organization_id))


@contextmanager
def happening_in(organization_id: UUID) -> Iterator[None]:
    """Let what the block writes belong to an organization, where the written row cannot tell."""
    token = _running.set(replace(current(), organization_id=organization_id))
    try:
        yield
    finally:
        _running.reset(token)
