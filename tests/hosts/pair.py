"""Host A, where things are changed, and host B, which has to know of it at once."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.load import Call, Client
from tests.services import Portal

PASSWORD = "violet-harbor-7-pears-at-dusk"
ADMIN = "alice@orchard.example"
# A new key costs each process one run of argon2. How long that takes, or has to wait on a machine that does other
# things too, is not what is asked here.
CHEAP = {
    "KEYPORTAL_ARGON2_MEMORY_KIB": "64",
    "KEYPORTAL_ARGON2_TIME": "1",
    "KEYPORTAL_ARGON2_WAIT_MS": "5000",
    "WEB_CONCURRENCY": "2",
}

# One organization for each way to lose a right, so that none of them touches another's key.
_SETTLE = """
import json, sys
from django.utils import timezone
from accounts import actions as people
from accounts.models import Role
from accounts.principals import principal_of
from apikeys.actions import issue_key

at, found = timezone.now(), {}
for name in sys.stdin.read().split():
    organization = people.create_organization(name=name, at=at)
    root = people.create_user(email=f"root@{name}.example", password=None, at=at)
    root = people.add_to_organization(organization=organization, user=root, role=Role.SUPER_ADMIN, at=at)
    team = people.create_team(principal=principal_of(root), name="Crew", at=at)
    admin = people.create_user(email=f"admin@{name}.example", password=None, at=at)
    admin = people.add_to_team(team=team, user=admin, role=Role.TEAM_ADMIN, at=at)
    row, key = issue_key(
        principal=principal_of(admin.membership), name="settled", place=team, environment="live",
        permissions=["keys:read", "audit:read"], expires_at=None, at=at,
    )
    found[name] = {
        "key": key.reveal(), "key_id": str(row.pk), "organization_id": str(organization.pk),
        "user_id": str(admin.membership.user_id), "team_membership_id": str(admin.pk),
    }
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Issued:
    """A key, and when its issuer knew it."""

    id: str
    text: str
    at: float


class Pair:
    """Two portals that share a database, a Redis and a secret. Everything else each has for itself."""

    def __init__(self, directory: Path, *, database_url: str, secret_key: str, redis_url: str) -> None:
        self.database_url = database_url
        self.a, self.b = (Portal(directory / name, database_url=database_url) for name in ("a", "b"))
        for portal in self.both:
            portal.environment |= {"SECRET_KEY": secret_key, "REDIS_URL": redis_url, **CHEAP}
        self.admin_key = ""

    def furnish(self) -> "Pair":
        """Serve, with an organization and a key that may do everything in it."""
        self.a.start()
        self.b.start()
        self.a.manage("create_admin", ADMIN, "--organization", "Orchard", typed=f"{PASSWORD}\n")
        issued = self.a.manage("issue_key", "--name=admin", "--scope=org", "--permissions=*")
        self.admin_key = issued.stdout.strip()
        return self

    def stop(self) -> None:
        self.a.stop()
        self.b.stop()

    @property
    def both(self) -> tuple[Portal, Portal]:
        return self.a, self.b

    def settle(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Make an organization by each name, with a key of its team admin's, by a process of neither host."""
        printed = self.a.manage("shell", "-c", _SETTLE, typed=" ".join(names)).stdout
        found: dict[str, dict[str, str]] = json.loads(printed.splitlines()[-1])
        return found

    def issue(self, client: Client, name: str) -> Issued:
        """Issue a key over a kept connection to a host."""
        wanted = {"name": name, "scope": "org", "permissions": ["keys:read"], "environment": "live"}
        called = client.call("POST /v1/api-keys", self.admin_key, wanted)
        assert called.status == 201, called
        return Issued(called.body["id"], called.body["key"], called.ended)

    def revoke(self, client: Client, issued: Issued) -> Call:
        called = client.call(f"DELETE /v1/api-keys/{issued.id}", self.admin_key)
        assert called.status == 204, called
        return called

    def change(self, statement: str, values: dict[str, str]) -> None:
        """Change one row past both hosts, which hear of it nowhere but in the database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            assert connection.execute(statement, values).rowcount == 1

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()


def verdict(call: Call) -> tuple[int, str]:
    return call.status, call.code


def whoami(portal: Portal, key: str, *, source: str = "127.0.0.1") -> Call:
    """Ask a host once, over a connection of its own, which any of its workers may get."""
    with closing(Client(portal.port, source=source)) as client:
        return client.call("GET /v1/whoami", key)
