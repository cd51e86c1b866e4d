"""An example organization, so that a newcomer sees within a minute what keyportal is.

History is told in its order, through the same actions that people use, so that its audit log is a real one.
"""

import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts import actions as people
from accounts.models import (
    Installation,
    Organization,
    OrganizationMembership,
    Project,
    Role,
    ServiceAccount,
    Team,
    User,
)
from accounts.principals import Principal, principal_of
from apikeys import actions, demo_uses
from apikeys.demo_stories import ACCOUNTS, PEOPLE, STORIES, TEAMS, WORDS, Story
from apikeys.models import ApiKey
from audit import uses
from audit.context import Actor, audit_context


class SignIn(NamedTuple):
    """What is printed for a newcomer."""

    title: str
    email: str
    password: str


@dataclass
class Cast:
    """Who and what the stories are about, by the words they use."""

    now: datetime
    organization: Organization
    members: dict[str, OrganizationMembership] = field(default_factory=dict)
    places: dict[str, Organization | Team | Project] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    accounts: dict[str, ServiceAccount] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(20))  # noqa: S311 - addresses, no secrets

    def principal(self, name: str) -> Principal:
        return principal_of(OrganizationMembership.objects.select_related("user").get(pk=self.members[name].pk))

    def address(self) -> str:
        """Return an address of the ranges kept for documentation (RFC 5737)."""
        return f"{self.chance.choice(['192.0.2', '198.51.100', '203.0.113'])}.{self.chance.randrange(2, 250)}"


def seed(now: datetime | None = None) -> list[SignIn]:
    """Fill an empty database: 3 teams, 6 projects, 12 people, 40 keys in every state. All of it, or nothing."""
    now = now or timezone.now()
    start = now - timedelta(days=120)
    with transaction.atomic():
        with audit_context(at=start):
            Installation.objects.create(set_up_at=start)
            cast = Cast(now, people.create_organization(name="Northwind Labs", at=start))
            cast.places["org"] = cast.organization
            sign_ins = list(_people(cast, start))
            _accounts(cast, start)
        for moment in sorted(_history(cast), key=lambda moment: moment.at):
            with audit_context(actor=moment.actor, address=cast.address(), at=moment.at):
                moment.act(moment.at)
        for story in STORIES:
            _use(cast, story)
    return sign_ins


class Moment(NamedTuple):
    at: datetime
    actor: Actor
    act: Callable[[datetime], object]


def _people(cast: Cast, at: datetime) -> Iterator[SignIn]:
    """Make teams, projects and people; yield the sign-in of the first of each role."""
    printed: set[Role] = set()
    for name, role, team in PEOPLE:
        first = name.split()[0].lower().replace("é", "e")
        password = "-".join(secrets.choice(WORDS) for _ in range(4))
        user = people.create_user(email=f"{first}@northwind.example", password=password, name=name, at=at)
        at_large = role if role == Role.SUPER_ADMIN else Role.MEMBER
        cast.members[first] = people.add_to_organization(
            organization=cast.organization, user=user, role=at_large, at=at
        )
        if name == PEOPLE[0][0]:
            _teams(cast, at)
        if team:
            _join(cast, team, user, role, at)
        if role not in printed and role != Role.MEMBER:
            printed.add(role)
            yield SignIn(role.label, user.email, password)


def _teams(cast: Cast, at: datetime) -> None:
    founder = cast.principal("alice")
    with audit_context(actor=founder.as_actor(), address=cast.address(), at=at):
        for name, projects in TEAMS.items():
            team = people.create_team(principal=founder, name=name, at=at)
            cast.places[name] = cast.teams[name] = team
            for project in projects:
                cast.places[project] = people.create_project(principal=founder, team=team, name=project, at=at)


def _join(cast: Cast, team: str, user: User, role: Role, at: datetime) -> None:
    with audit_context(actor=cast.principal("alice").as_actor(), address=cast.address(), at=at):
        people.add_to_team(team=cast.teams[team], user=user, role=role, at=at)


def _accounts(cast: Cast, at: datetime) -> None:
    for name, (team, role, first) in ACCOUNTS.items():
        steward = cast.principal(first)
        with audit_context(actor=steward.as_actor(), address=cast.address(), at=at):
            cast.accounts[name] = people.create_service_account(
                principal=steward,
                team=cast.teams[team],
                name=name,
                role=role,
                steward=cast.members[first].user,
                at=at,
            )


def _history(cast: Cast) -> Iterator[Moment]:
    """Yield what happens to the keys, to be put in order of time."""
    for story in STORIES:
        issuer = cast.principal(story.issuer)
        actor = issuer.as_actor()
        yield Moment(_moment(cast, story.issued), actor, partial(_issue, cast, story, issuer))
        if story.ending == "exposed":
            at = _moment(cast, story.ended)
            yield Moment(at, actor, partial(_expose, cast, story))
        elif story.ending == "disabled":
            yield Moment(_moment(cast, story.ended), actor, partial(_disable, cast, story))
        elif story.ending:
            yield Moment(_moment(cast, story.ended), actor, partial(_revoke, cast, story, issuer))


def _moment(cast: Cast, days: int) -> datetime:
    """Return some moment of a working day so many days ago."""
    return cast.now - timedelta(days=days, minutes=cast.chance.randrange(10, 400))


def _issue(cast: Cast, story: Story, issuer: Principal, at: datetime) -> None:
    cast.keys[story.name], _ = actions.issue_key(
        principal=issuer,
        name=story.name,
        place=cast.places[story.place],
        environment=story.environment,
        permissions=story.permissions,
        service_account=cast.accounts.get(story.account),
        expires_at=at + timedelta(days=story.expires_in_days) if story.expires_in_days else None,
        at=at,
    )


def _revoke(cast: Cast, story: Story, issuer: Principal, at: datetime) -> None:
    actions.revoke_key(principal=issuer, api_key=cast.keys[story.name], at=at, reason=story.ending)


def _disable(cast: Cast, story: Story, at: datetime) -> None:
    actions.disable_key(api_key=cast.keys[story.name], at=at)


def _expose(cast: Cast, story: Story, at: datetime) -> None:
    actions.mark_exposed(key_id=cast.keys[story.name].pk, at=at)


def _use(cast: Cast, story: Story) -> None:
    """Write what the key was used for, as a process does that serves requests."""
    # Read anew: what the story did to the key happened to another copy of its row.
    api_key = ApiKey.objects.get(pk=cast.keys[story.name].pk)
    for use in demo_uses.uses(api_key, story, cast.now, cast.chance):
        uses.record(use)
    uses.flush()
