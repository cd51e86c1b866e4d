"""What finding keys costs among 100 and among 100,000: `python -m bench.finding --db sqlite|postgresql`.

It fills two organizations of one database, one with few keys and one with many of the same mixture, and asks the page
and `GET /v1/api-keys` of both for the same things in turn. It prints Markdown: how many statements each took, the
median time, and how much longer it was among the many.
"""

import argparse
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command
from django.db import connection
from uuid_utils.compat import uuid7

from bench import report
from tests.services import PostgresCluster

if TYPE_CHECKING:
    from django.test import Client

    from accounts.models import OrganizationMembership
    from apikeys.models import ApiKey
    from audit.models import KeyAddress

WORDS = ("github", "action", "checkout", "billing", "deploy", "nightly", "report", "import", "sync", "worker", "mobile")
PERMISSIONS = ("projects:read", "keys:read", "deployments:read", "analysis:read")
RARE = "audit:read"
CHUNK = 5_000
NOW = datetime.now(UTC)

# What is asked, as the query of the address. Some of it holds for most keys, some for very few.
ASKED = {
    "nothing": "",
    "a word of many": "q=github",
    "a word of one": "q=unicorn",
    "two words": "q=github+deploy",
    "an issuer by name": "q=person3",
    "a label": "q={label}",
    "nothing that there is": "q=nowhere",
    "scope org (rare)": "scope=org",
    "team": "team={team}",
    "project": "project={project}",
    "issuer": "issuer=person3-{size}@example.com",
    "permission of many": "permission=keys:read",
    "permission of few": f"permission={RARE}",
    "created this week": "created_from={week}",
    "created years ago": "created_to={years}",
    "used today": "used_from={day}",
    "never used": "used=never",
    "not used for 90 days": "unused_days=90",
    "expires in 14 days": "expires_from={today}&expires_to={fortnight}",
    "never expires": "expires=never",
    "seen from one network": "seen_from=203.0.113.0/24",
    "seen from where many are": "seen_from=10.0.0.0/8",
    "project and permission": "project={project}&permission=keys:read",
}
STATES = ("active", "attention", "expired", "revoked")


@dataclass(frozen=True)
class Side:
    """One of the two organizations, with who asks."""

    size: int
    pages: "Client"
    calls: "Client"
    headers: dict[str, str]
    values: dict[str, str]


class Seeder:
    """An organization with keys that nobody issued one by one."""

    def __init__(self, size: int) -> None:
        # Here, since the database is known only once it runs, and models need it.
        from accounts import actions as people
        from accounts.models import Role
        from apikeys.models import ApiKey, KeyTerm
        from audit.models import KeyAddress

        self.api_key, self.key_term, self.key_address, self.size = ApiKey, KeyTerm, KeyAddress, size
        self.chance = random.Random(11)
        self.organization = people.create_organization(name=f"Of {size}", at=NOW)
        self.owner = self._member(people, "owner", Role.SUPER_ADMIN)
        self.people = [self._member(people, f"person{n}", Role.MEMBER) for n in range(20)]
        principal = self._principal()
        self.teams = [people.create_team(principal=principal, name=f"Team {n}", at=NOW) for n in range(5)]
        self.projects = [
            people.create_project(principal=principal, team=team, name=f"{team.name} project {n}", at=NOW)
            for team in self.teams
            for n in range(8)
        ]

    def _member(self, people: Any, name: str, role: Any) -> "OrganizationMembership":
        user = people.create_user(email=f"{name}-{self.size}@example.com", password=None, name=name.title(), at=NOW)
        membership: OrganizationMembership = people.add_to_organization(
            organization=self.organization, user=user, role=role, at=NOW
        )
        return membership

    def _principal(self) -> Any:
        from accounts.principals import principal_of

        return principal_of(self.owner)

    def fill(self) -> None:
        """Write the keys, what they are found by, and where they were seen."""
        from apikeys.models.terms import terms_of

        for first in range(0, self.size, CHUNK):
            numbers = range(first, min(first + CHUNK, self.size))
            say(f"  {first:,} of {self.size:,} keys")
            keys = [self._key(number) for number in numbers]
            self.api_key.objects.bulk_create(keys)
            self.key_term.objects.bulk_create(
                self.key_term(key=key, organization=self.organization, term=term)
                for key in keys
                for term in terms_of(key)
            )
            self.key_address.objects.bulk_create(place for key in keys for place in self._places(key))

    def _key(self, number: int) -> "ApiKey":
        chance, prefix = self.chance, f"{len(str(self.size)):02}{number:06}"
        age = timedelta(days=1000) * (1 - number / self.size)
        created = NOW - age
        kind = chance.random()
        rare = number % max(self.size // 4, 1) == 7
        key = self.api_key(
            id=uuid7(nanoseconds=int(created.timestamp() * 1e9)),
            name=" ".join(chance.sample(WORDS, 3)) + (" unicorn" if number == self.size // 2 else f" {number}"),
            prefix=prefix,
            label=f"kp_sk_live_{prefix}",
            digest="$none",
            scope="org" if rare else "team" if number % 5 == 0 else "project",
            permissions=[RARE] if rare else sorted(chance.sample(PERMISSIONS, 2)),
            organization=self.organization,
            team=None if rare or number % 5 else chance.choice(self.teams),
            project=chance.choice(self.projects) if not rare and number % 5 else None,
            issuer=chance.choice(self.people).user,
            created_at=created,
            expires_at=None if chance.random() < 0.3 else created + timedelta(days=chance.choice((90, 365, 1825))),
            last_used_at=None if chance.random() < 0.2 else NOW - age * chance.random() ** 3,
        )
        if kind < 0.2:
            key.revoked_at = created + age / 2
        elif kind < 0.25:
            key.rotated_at, key.settle_seconds, key.retires_at = created, 60, created + age / 2
        elif kind < 0.251:
            key.disabled_at = created
        elif kind < 0.2515:
            key.exposed_at = created
        return key

    def _places(self, key: "ApiKey") -> "Iterator[KeyAddress]":
        from audit.addresses import place_of

        if key.last_used_at is None:
            return
        address = f"10.{self.chance.randrange(256)}.{self.chance.randrange(256)}.7"
        for one in (address, "203.0.113.9") if self.chance.random() < 0.001 else (address,):
            yield self.key_address(
                key_id=key.pk,
                organization_id=self.organization.pk,
                place=place_of(one),
                address=one,
                first_seen=key.created_at,
                last_seen=key.last_used_at,
                uses=7,
            )

    def side(self) -> Side:
        """Return who asks: a super admin on the page, and a key of theirs on the API."""
        from django.test import Client

        from apikeys import actions

        pages, principal = Client(), self._principal()
        pages.force_login(self.owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        _, key = actions.issue_key(
            principal=principal,
            name="asks",
            place=self.organization,
            environment="live",
            permissions=["keys:read"],
            expires_at=None,
            at=NOW,
        )
        values = {
            "label": self.api_key.objects.filter(organization=self.organization).values_list("label", flat=True)[0],
            "team": str(self.teams[1].pk),
            "project": str(self.projects[3].pk),
            "size": str(self.size),
            **{
                name: (NOW - timedelta(days=days)).date().isoformat()
                for name, days in {"week": 7, "years": 990, "day": 0, "today": 0, "fortnight": -14}.items()
            },
        }
        return Side(self.size, pages, Client(), {"Authorization": f"Bearer {key.reveal()}"}, values)


def lines(sides: list[Side], rounds: int) -> Iterator[list[str]]:
    """Yield a line of the report for each thing that is asked, of the page and of the API."""
    asked = [(f"page, {name}", f"/integrations/?{query}") for name, query in ASKED.items()]
    asked += [(f"page, {state}", f"/integrations/?tab={state}") for state in STATES]
    asked += [(f"page, {state}, a word", f"/integrations/?tab={state}&q=github") for state in STATES[1:]]
    asked += [("overview", "/")]
    asked += [(f"API, {name}", f"/v1/api-keys?limit=25&{query}") for name, query in ASKED.items()]
    asked += [(f"API, {state}", f"/v1/api-keys?limit=25&state={state}") for state in STATES]
    for name, address in asked:
        say(f"  {name}")
        yield [name, *measured(sides, address, rounds)]


def measured(sides: list[Side], address: str, rounds: int) -> list[str]:
    """Ask both in turn, so that what else the machine does hits both alike."""
    from django.test.utils import CaptureQueriesContext

    times: dict[int, list[float]] = {side.size: [] for side in sides}
    statements = []
    for side in sides:
        with CaptureQueriesContext(connection) as captured:
            ask(side, address)
        statements.append(len(captured))
    for _ in range(rounds):
        for side in sides:
            started = time.perf_counter()
            ask(side, address)
            times[side.size].append(time.perf_counter() - started)
    few, many = (1e3 * statistics.median(times[side.size]) for side in sides)
    same = str(statements[0]) if len(set(statements)) == 1 else " / ".join(map(str, statements))
    return [same, f"{few:.1f}", f"{many:.1f}", f"{many / few:.2f}"]


def ask(side: Side, address: str) -> None:
    client, headers = (side.calls, side.headers) if address.startswith("/v1/") else (side.pages, {})
    response: Any = client.get(address.format(**side.values), headers=headers)
    assert response.status_code == 200, (address, response.status_code)


def say(text: str) -> None:
    """Tell who waits what is being done."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared_database(name: str) -> Iterator[None]:
    """Make Django ready, on an empty database of its own."""
    cluster = PostgresCluster() if name == "postgresql" else None
    with tempfile.TemporaryDirectory() as directory:
        try:
            if cluster:
                cluster.start()
                os.environ["DATABASE_URL"] = cluster.url
            os.environ |= {
                "DJANGO_SETTINGS_MODULE": "keyportal.settings",
                "SECRET_KEY": secrets.token_urlsafe(50),
                "KEYPORTAL_DATA_DIR": str(Path(directory)),
                "LOG_LEVEL": "ERROR",
            }
            django.setup(set_prefix=False)
            call_command("migrate", verbosity=0)
            call_command("collectstatic", verbosity=0, interactive=False)
            yield
            connection.close()
        finally:
            if cluster:
                cluster.stop()


def main() -> None:
    """Fill and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.finding", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--db", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--many", type=int, default=100_000, help="how many keys the second organization has")
    parser.add_argument("--rounds", type=int, default=20, help="how often each thing is asked")
    options = parser.parse_args()
    with prepared_database(options.db):
        from django.test.utils import override_settings

        from audit.context import SYSTEM, audit_context

        sides = []
        with audit_context(actor=SYSTEM), override_settings(ALLOWED_HOSTS=["*"]):
            for size in (100, options.many):
                seeder = Seeder(size)
                seeder.fill()
                sides.append(seeder.side())
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
            heads = ("asked", "statements", "ms of 100", f"ms of {options.many:,}", "ratio")
            print(report.table(heads, lines(sides, options.rounds)))


if __name__ == "__main__":
    main()
