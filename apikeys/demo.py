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
from accounts.models import Installation, Organization, OrganizationMembership, Project, Role, Team, User
from accounts.principals import Principal, principal_of
from apikeys import actions
from apikeys.models import ApiKey
from audit.context import Actor, audit_context

TEAMS = {
    "Payments": ("Checkout", "Ledger"),
    "Platform": ("Deployments", "Observability"),
    "Mobile": ("iOS app", "Android app"),
}
# Name, role, and the team for those who have one; the first of each role is whose sign-in is printed.
PEOPLE: tuple[tuple[str, Role, str], ...] = (
    ("Alice Okafor", Role.SUPER_ADMIN, ""),
    ("Mateo Silva", Role.SUPER_ADMIN, ""),
    ("Bob Lindqvist", Role.TEAM_ADMIN, "Payments"),
    ("Priya Raman", Role.TEAM_ADMIN, "Platform"),
    ("Jonas Weber", Role.TEAM_ADMIN, "Mobile"),
    ("Dana Cohen", Role.DEVELOPER, "Payments"),
    ("Yuki Tanaka", Role.DEVELOPER, "Payments"),
    ("Omar Haddad", Role.DEVELOPER, "Platform"),
    ("Chloé Martin", Role.DEVELOPER, "Platform"),
    ("Kwame Mensah", Role.DEVELOPER, "Mobile"),
    ("Sofia Rossi", Role.DEVELOPER, "Mobile"),
    ("Liam Byrne", Role.MEMBER, ""),
)

# Passwords are made of them: four words are 4 × 6 bits, which is plenty for an example on loopback.
WORDS = (
    "amber",
    "anchor",
    "apple",
    "autumn",
    "bamboo",
    "beacon",
    "birch",
    "breeze",
    "canyon",
    "cedar",
    "cinder",
    "clover",
    "comet",
    "copper",
    "coral",
    "cotton",
    "delta",
    "desert",
    "ember",
    "falcon",
    "fern",
    "forest",
    "garden",
    "ginger",
    "glacier",
    "harbor",
    "hazel",
    "indigo",
    "island",
    "ivory",
    "jasmine",
    "juniper",
    "lagoon",
    "lantern",
    "lemon",
    "linen",
    "maple",
    "marble",
    "meadow",
    "mellow",
    "mint",
    "morning",
    "nectar",
    "nutmeg",
    "oasis",
    "olive",
    "orchid",
    "pebble",
    "pepper",
    "pine",
    "prairie",
    "quartz",
    "raven",
    "river",
    "saffron",
    "silver",
    "summit",
    "thistle",
    "timber",
    "tulip",
    "velvet",
    "walnut",
    "willow",
    "winter",
)


class SignIn(NamedTuple):
    """What is printed for a newcomer."""

    title: str
    email: str
    password: str


class Story(NamedTuple):
    """One key's life: days before today, negative ones lying ahead."""

    name: str
    place: str
    issuer: str
    permissions: tuple[str, ...]
    issued: int
    expires_in_days: int | None = None
    used: float | None = None
    ending: str = ""
    ended: int = 0
    environment: str = "live"


READ = ("projects:read", "deployments:read", "operations:read")
SCAN = ("scan:trigger", "scan:read", "report:download")
STORIES: tuple[Story, ...] = (
    Story("github-action-checkout-service", "Checkout", "dana", SCAN, 61, 90, 0.01),
    Story("gitlab-ci-ledger", "Ledger", "yuki", (*SCAN, "projects:read"), 47, 90, 0.2),
    Story("checkout-nightly-scan", "Checkout", "dana", ("scan:trigger", "scan:read"), 80, 90, 0.6),
    Story("ledger-report-export", "Ledger", "bob", ("report:download",), 86, 90, 1.1),
    Story("payments-status-page", "Payments", "bob", READ, 75, 180, 0.02),
    Story("payments-key-inventory", "Payments", "bob", ("keys:read", "audit:read"), 40, 365, 2),
    Story("checkout-load-test", "Checkout", "yuki", SCAN, 30, 90, 5, environment="test"),
    Story(
        "checkout-staging",
        "Checkout",
        "dana",
        ("projects:read", "scan:read"),
        22,
        90,
        0.4,
        environment="test",
    ),
    Story("ledger-reconciliation-job", "Ledger", "bob", ("*",), 115, None, 0.05),
    Story("checkout-webhook-relay", "Checkout", "bob", ("webhook:receive",), 20, 365, 0.03),
    Story("argo-cd-production", "Deployments", "priya", ("deployments:read", "deployments:write"), 58, 90, 0.004),
    Story("argo-cd-staging", "Deployments", "omar", ("deployments:read",), 58, 90, 0.1, environment="test"),
    Story("terraform-cloud", "Platform", "priya", ("deployments:read", "deployments:write"), 33, 180, 0.3),
    Story("grafana-annotations", "Observability", "chloe", ("operations:read",), 118, None, 0.02),
    Story("pagerduty-sync", "Observability", "omar", ("operations:read",), 112, 365, 96),
    Story(
        "deploy-bot",
        "Platform",
        "priya",
        ("deployments:read", "deployments:write", "deployments:delete"),
        83,
        90,
        0.5,
    ),
    Story("renovate-runner", "Deployments", "chloe", READ, 14, 90, 0.07),
    Story("kubernetes-operator", "Deployments", "priya", READ, 9, 365, 0.01),
    Story("loki-exporter", "Observability", "chloe", ("operations:read",), 119, None, None),
    Story("fastlane-ios", "iOS app", "kwame", SCAN, 44, 90, 0.8),
    Story("bitrise-android", "Android app", "sofia", SCAN, 39, 90, 1.4),
    Story("crash-report-upload", "iOS app", "kwame", ("report:download",), 79, 90, 3),
    Story("app-store-release-notes", "iOS app", "jonas", ("projects:read",), 110, 180, 100),
    Story("mobile-release-dashboard", "Mobile", "jonas", (*READ, "report:download"), 26, 90, 0.15),
    Story("android-device-farm", "Android app", "sofia", ("scan:read",), 5, 90, None, environment="test"),
    Story("warehouse-import", "org", "alice", ("org:read", "projects:read"), 90, 365, 0.25),
    Story("siem-audit-export", "org", "alice", ("audit:read",), 66, 365, 0.01),
    Story("cost-report", "org", "mateo", ("projects:read", "operations:read"), 12, 30, 4),
    Story("backstage-catalog", "org", "mateo", ("projects:read", "org:read"), 3, 90, None),
    Story("jenkins-legacy", "Deployments", "omar", READ, 119, 90, 31),
    Story("travis-ci-import", "Checkout", "dana", SCAN, 100, 30, 74),
    Story("hackweek-prototype", "Android app", "sofia", ("projects:read",), 60, 30, 41, environment="test"),
    Story("contractor-audit", "Payments", "bob", ("keys:read",), 50, 30, 21),
    Story("old-deploy-script", "Deployments", "priya", ("deployments:write",), 105, 180, 18, "replaced", 17),
    Story("dana-laptop", "Checkout", "dana", ("projects:read", "scan:trigger"), 70, 90, 12, "laptop stolen", 11),
    Story("circleci-payments", "Ledger", "yuki", SCAN, 95, 180, 45, "moved to GitLab", 44),
    Story("leaked-in-wiki", "iOS app", "jonas", ("report:download",), 55, 90, 28, "pasted into a wiki page", 27),
    Story("zapier-bridge", "Observability", "omar", ("operations:read",), 64, 180, 8, "disabled", 6),
    Story("partner-sandbox", "Payments", "bob", ("analysis:create", "analysis:read"), 35, 90, 10, "disabled", 2),
    Story("metrics-scraper", "Observability", "chloe", ("operations:read",), 29, 90, 0.9, "exposed", 1),
)


@dataclass
class Cast:
    """Who and what the stories are about, by the words they use."""

    now: datetime
    organization: Organization
    members: dict[str, OrganizationMembership] = field(default_factory=dict)
    places: dict[str, Organization | Team | Project] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
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
    if story.used is not None:
        at = cast.now - timedelta(days=story.used)
        ApiKey.objects.mark_used(cast.keys[story.name].pk, at=at, address=cast.address())
