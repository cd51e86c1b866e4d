"""One cast for every test: two organizations, and people of each role, made by the real actions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import SESSION_KEY
from django.db import transaction
from django.test import Client

from accounts import actions as people
from accounts import activity
from accounts.models import Organization, OrganizationMembership, Project, Role, Team, User
from accounts.principals import Principal, principal_of
from apikeys import actions, budgets, cors, foreign, hashing, limits, presented, verification
from apikeys.keyformat import Key
from apikeys.models import ApiKey
from audit import uses
from audit.context import audit_context

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PASSWORD = "a sentence that nobody else would think of"


@dataclass(frozen=True)
class Person:
    """A member of the cast: who they are, and what they may do as a principal now."""

    membership: OrganizationMembership

    @property
    def user(self) -> User:
        return self.membership.user

    @property
    def email(self) -> str:
        return self.user.email

    @property
    def principal(self) -> Principal:
        """Read anew each time, so that a role changed by a test counts."""
        return principal_of(OrganizationMembership.objects.select_related("user").get(pk=self.membership.pk))


@dataclass(frozen=True)
class Issued:
    """A key with its row: `text` is what a client sends."""

    row: ApiKey
    key: Key

    @property
    def text(self) -> str:
        return self.key.reveal()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


@pytest.fixture
def noon() -> Iterator[time_machine.Traveller]:
    """It is noon, and stays noon until the test moves it."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def our_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' time is the database's too, except where the database's own is what a test is about."""
    if not request.node.get_closest_marker("server_time"):
        monkeypatch.setattr(presented, "server_time", lambda _epoch, at: at)


@pytest.fixture(autouse=True)
def fresh_memory() -> None:
    """What one test's keys left in the process is gone before the next."""
    for module in (activity, hashing, budgets, cors, limits, verification, uses):
        module.forget_all()
    foreign.know_of_none()


@pytest.fixture
def organization(db: None) -> Organization:
    return people.create_organization(name="Northwind", at=NOON)


@pytest.fixture
def team(organization: Organization) -> Team:
    return _team(organization, "Payments")


@pytest.fixture
def other_team(organization: Organization) -> Team:
    """A team of the same organization that neither bob nor dana is in."""
    return _team(organization, "Platform")


@pytest.fixture
def project(team: Team) -> Project:
    return _project(team, "Checkout")


@pytest.fixture
def other_project(other_team: Team) -> Project:
    return _project(other_team, "Deployments")


@pytest.fixture
def alice(organization: Organization) -> Person:
    """The super admin."""
    return _person("alice", organization, Role.SUPER_ADMIN)


@pytest.fixture
def bob(team: Team) -> Person:
    """An admin of the team."""
    return _person("bob", team.organization, Role.MEMBER, team, Role.TEAM_ADMIN)


@pytest.fixture
def dana(team: Team) -> Person:
    """A developer of the team."""
    return _person("dana", team.organization, Role.MEMBER, team, Role.DEVELOPER)


@pytest.fixture
def charlie(db: None) -> Person:
    """The outsider: super admin of another organization, who must see nothing of ours."""
    elsewhere = people.create_organization(name="Elsewhere", at=NOON)
    _project(_team(elsewhere, "Payments"), "Checkout")
    return _person("charlie", elsewhere, Role.SUPER_ADMIN)


@pytest.fixture
def issue() -> Callable[..., Issued]:
    """Issue a key as someone: `issue(bob, team, permissions=["keys:read"])`."""

    def issue(person: Person, place: Organization | Team | Project, **changes: Any) -> Issued:
        wanted: dict[str, Any] = {
            "name": "github-action-checkout-service",
            "environment": "live",
            "permissions": ["projects:read"],
            "at": NOON,
            "expires_at": None,
        } | changes
        with audit_context(actor=person.principal.as_actor(), at=wanted["at"]):
            row, key = actions.issue_key(principal=person.principal, place=place, **wanted)
        # As another process meets it, which did not issue it.
        hashing.forget_all()
        return Issued(row, key)

    return issue


def use(row: ApiKey, *, at: datetime = NOON, address: str | None = None) -> int:
    """Note a use of a key as a batch of uses does, and return whether that moved its last one."""
    with transaction.atomic():
        return ApiKey.objects.mark_used({row.pk: uses.LastUse(at, address)})


@pytest.fixture
def issued(issue: Callable[..., Issued], dana: Person, project: Project) -> Issued:
    """A project key of dana's that never expires."""
    return issue(dana, project)


@pytest.fixture
def sign_in_as() -> Callable[[Person], Client]:
    """Return a client with a session, opened a moment ago, that checks CSRF as a browser's would be."""

    def client_of(person: Person) -> Client:
        client = Client()
        client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        session = client.session
        session["account_authentication_methods"] = [
            {"method": "password", "at": datetime.now(UTC).timestamp(), "reauthenticated": True}
        ]
        session["account_authentication_methods_user"] = session[SESSION_KEY]
        session.save()
        # As of a sign-in by the form, so that no page's first request costs more than its second.
        activity.note(
            user_id=person.user.pk,
            session_key=str(session.session_key),
            address="127.0.0.1",
            user_agent="",
            at=datetime.now(UTC),
        )
        return client

    return client_of


@pytest.fixture
def alice_client(alice: Person, sign_in_as: Callable[[Person], Client]) -> Client:
    return sign_in_as(alice)


@pytest.fixture
def bob_client(bob: Person, sign_in_as: Callable[[Person], Client]) -> Client:
    return sign_in_as(bob)


@pytest.fixture
def dana_client(dana: Person, sign_in_as: Callable[[Person], Client]) -> Client:
    return sign_in_as(dana)


@pytest.fixture
def charlie_client(charlie: Person, sign_in_as: Callable[[Person], Client]) -> Client:
    return sign_in_as(charlie)


def later(**span: float) -> datetime:
    """Return a time after noon: `later(days=3)`."""
    return NOON + timedelta(**span)


def _team(organization: Organization, name: str) -> Team:
    founder = Principal(
        user_id=organization.pk, user_label="founder", organization_id=organization.pk, is_super_admin=True
    )
    return people.create_team(principal=founder, name=name, at=NOON)


def _project(team: Team, name: str) -> Project:
    founder = Principal(
        user_id=team.pk, user_label="founder", organization_id=team.organization_id, is_super_admin=True
    )
    return people.create_project(principal=founder, team=team, name=name, at=NOON)


def _person(
    name: str, organization: Organization, role: Role, team: Team | None = None, team_role: Role | None = None
) -> Person:
    user = people.create_user(email=f"{name}@example.com", password=PASSWORD, name=name.title(), at=NOON)
    membership = people.add_to_organization(organization=organization, user=user, role=role, at=NOON)
    if team and team_role:
        people.add_to_team(team=team, user=user, role=team_role, at=NOON)
    return Person(OrganizationMembership.objects.select_related("user", "organization").get(pk=membership.pk))
