"""What these tests ask again and again: what is on record, what a page costs, who wins a race."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import actions
from accounts.models import Invitation, Role, Team, User
from audit.context import audit_context
from audit.models import AuditEvent
from tests.cast import NOON, Person

FRAGMENT = {"HX-Request": "true"}
ADDRESS = "198.51.100.7"


class LogIsFull(Exception):
    """The audit row could not be written."""


@contextmanager
def acting_as(person: Person, *, at: datetime = NOON) -> Iterator[None]:
    """Whatever the block does is done by this person, from an address, in a request."""
    with audit_context(actor=person.principal.as_actor(), request_id="r-1", address=ADDRESS, at=at):
        yield


def last_event(**which: Any) -> dict[str, Any]:
    """Return all that the newest audit row says, but what every row has anyway."""
    [row] = AuditEvent.objects.filter(**which).order_by("-id").values()[:1]
    return {name: value for name, value in row.items() if name not in {"id", "issuer_id", "issuer_label"}}


def by(person: Person, **said: Any) -> dict[str, Any]:
    """Return the row that a change by this person, under `acting_as`, must have left."""
    return {
        "at": NOON,
        "organization_id": person.membership.organization_id,
        "team_id": None,
        "project_id": None,
        "actor_kind": "user",
        "actor_id": person.user.pk,
        "actor_label": person.email,
        "request_id": "r-1",
        "address": ADDRESS,
    } | said


def event_names(**which: Any) -> list[str]:
    return [*AuditEvent.objects.filter(**which).order_by("id").values_list("event", flat=True)]


def queries_of(client: Client, url: str, **headers: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url, headers=headers)
    assert response.status_code == 200
    return len(captured)


def text_of(response: Any) -> str:
    """Return what a page says, without its markup."""
    plain = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(plain.split())


def shown_link(response: Any) -> str:
    """Return the link that the answer to inviting shows, to hand over."""
    [link] = re.findall(r'id="invitation-link" type="text" value="([^"]+)"', response.content.decode())
    return str(link)


def everything_in_sessions() -> str:
    return "\n".join(str(session.get_decoded()) for session in Session.objects.all())


def is_page(response: Any) -> bool:
    return b"<html" in response.content


def invited(person: Person, team: Team, email: str = "erin@example.com", **changes: Any) -> tuple[Invitation, str]:
    """Invite someone now; return the invitation and its link's token."""
    wanted: dict[str, Any] = {"role": Role.DEVELOPER, "at": timezone.now()} | changes
    return actions.invite(principal=person.principal, team=team, email=email, **wanted)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work` in so many threads that start at the same moment; return results, or what was raised instead."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        try:
            barrier.wait(timeout=20)
            return work(number)
        except Exception as error:  # noqa: BLE001 - what is raised is what the test looks at
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(one, range(count)))


def sign_in_old(client: Client, *, seconds: float = 3600) -> None:
    """Let the client's sign-in be so many seconds ago."""
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] = datetime.now(UTC).timestamp() - seconds
    session.save()


def without_password(person: Person) -> None:
    user = User.objects.get(pk=person.user.pk)
    user.set_unusable_password()
    user.save(update_fields=["password"])
