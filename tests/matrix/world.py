"""Two organizations, people of every role, whatever they may call with, and one of everything in every place."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.test import Client
from django.utils import timezone

from accounts import actions as people
from accounts.actions.security import claim_domain
from accounts.models import Organization, OrganizationMembership, Project, Role, ServiceAccount, Team, TeamMembership
from accounts.principals import Principal
from apikeys import actions, hashing
from apikeys.models import ApiKey
from apikeys.permissions import BUILT_IN, Permission
from apikeys.permissions import Role as KeyRole
from audit.context import audit_context
from tests.cast import PASSWORD, Person
from tests.matrix.people import PEOPLE, TARGETS

# Any two that agree: the cookie is what the portal gave the browser, the header what the page sends along.
CSRF = "a" * 32
NOBODYS = str(UUID(int=7))
Place = Organization | Team | Project


@dataclass(frozen=True)
class Caller:
    """Who calls, and with what: a browser's session, a key, or nothing."""

    client: Client
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, **sent: Any) -> Any:
        return self.client.generic(method.upper(), path, headers=self.headers, **sent)


@dataclass
class World:
    """The ids of what there is, by what it is and where; and who is there."""

    at: datetime
    people: dict[str, Person] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    ids: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_of(self, kind: str, place: str) -> str:
        """Return the id of something in a place, and outside of all of them one that nobody has."""
        return self.ids[kind].get(place, NOBODYS)

    def issue(self, who: str, place: Place, permissions: Collection[str], **changes: Any) -> tuple[ApiKey, str]:
        wanted: dict[str, Any] = {"name": "ci", "environment": "live", "expires_at": None, "at": self.at} | changes
        principal = self.people[who].principal
        with audit_context(actor=principal.as_actor(), at=self.at):
            row, key = actions.issue_key(principal=principal, place=place, permissions=permissions, **wanted)
        return row, key.reveal()


def build() -> World:
    """Make it all by the real actions."""
    world = World(at=timezone.now())
    _add_places(world)
    _add_people(world)
    _add_targets(world)
    _add_keys(world)
    _let_people_go(world)
    world.callers |= {name: _in_a_browser(person) for name, person in world.people.items()}
    world.callers["nobody"] = _in_a_browser(None)
    # As another process meets the keys, which did not issue them.
    hashing.forget_all()
    return world


def _in_a_browser(person: Person | None) -> Caller:
    client = Client(enforce_csrf_checks=True)
    if person:
        client.force_login(person.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
        session["account_authentication_methods_user"] = session[SESSION_KEY]
        session.save()
    client.cookies[settings.CSRF_COOKIE_NAME] = CSRF
    return Caller(client, {"X-CSRFToken": CSRF})


def _add_places(world: World) -> None:
    ours = people.create_organization(name="Northwind", at=world.at)
    theirs = people.create_organization(name="Elsewhere", at=world.at)
    for name, organization in {"team": ours, "other": ours, "elsewhere team": theirs}.items():
        world.places[name] = people.create_team(principal=_founder(organization), name=name, at=world.at)
    teams = {"project": "team", "second": "team", "others": "other", "elsewhere": "elsewhere team"}
    for name, team in teams.items():
        world.places[name] = people.create_project(
            principal=_founder(ours if team != "elsewhere team" else theirs),
            team=_team(world, team),
            name=name,
            at=world.at,
        )
    world.places |= {"org": ours, "elsewhere org": theirs}
    world.ids["project"] = {name: str(world.places[name].pk) for name in teams}
    world.ids["team"] = {name: str(world.places[name].pk) for name in ("team", "other")}
    world.ids["team"]["elsewhere"] = str(world.places["elsewhere team"].pk)


def _founder(organization: Organization) -> Principal:
    return Principal(
        user_id=organization.pk, user_label="founder", organization_id=organization.pk, is_super_admin=True
    )


def _team(world: World, name: str) -> Team:
    team = world.places[name]
    assert isinstance(team, Team)
    return team


# These three lose what they are here, once they have issued their keys.
LEAVING: dict[str, tuple[str, Role, str, Role | None]] = {
    "frank": ("org", Role.MEMBER, "team", Role.DEVELOPER),
    "hugo": ("org", Role.SUPER_ADMIN, "", None),
    "jill": ("org", Role.MEMBER, "team", Role.TEAM_ADMIN),
}


def _add_people(world: World) -> None:
    for name, (place, role, team, team_role) in (PEOPLE | LEAVING).items():
        user = people.create_user(email=f"{name}@example.com", password=PASSWORD, name=name.title(), at=world.at)
        organization = world.places[place]
        assert isinstance(organization, Organization)
        membership = people.add_to_organization(organization=organization, user=user, role=role, at=world.at)
        EmailAddress.objects.filter(user=user).update(verified=True)
        if team and team_role:
            people.add_to_team(team=_team(world, team), user=user, role=team_role, at=world.at)
        world.people[name] = Person(
            OrganizationMembership.objects.select_related("user", "organization").get(pk=membership.pk)
        )
    world.ids["person"] = {name: str(person.user.pk) for name, person in world.people.items()}


STEWARDS = {"team": "bob", "other": "grace", "elsewhere": "charlie"}


def _add_targets(world: World) -> None:
    for kind in ("key", "disabled", "rotating"):
        issued = {
            place: world.issue(who, world.places[where], ["projects:read"], name="target")[0]
            for place, (who, where) in TARGETS.items()
        }
        world.ids[kind] = {place: str(row.pk) for place, row in issued.items()}
        for place, row in issued.items():
            principal = world.people[TARGETS[place][0]].principal
            if kind == "disabled":
                actions.disable_key(principal=principal, api_key=row, at=world.at)
            if kind == "rotating":
                actions.rotate_key(principal=principal, api_key=row, at=world.at)
    world.ids["account"] = {
        place: str(_account(world, who, place, "runner", Role.DEVELOPER).pk) for place, who in STEWARDS.items()
    }
    _add_invitations(world)
    for who in ("alice", "charlie"):
        claim_domain(principal=world.people[who].principal, name="owned.example", at=world.at)
        entry = Permission("invoices:read" if who == "alice" else "parcels:read", "See them.")
        actions.add_permission(principal=world.people[who].principal, entry=entry)


def _add_invitations(world: World) -> None:
    for place, who in STEWARDS.items():
        team = _team(world, "elsewhere team" if place == "elsewhere" else place)
        invitation, _ = people.invite(
            principal=world.people[who].principal,
            team=team,
            email="invited@example.com",
            role=Role.DEVELOPER,
            at=world.at,
        )
        world.ids.setdefault("invitation", {})[place] = str(invitation.pk)
    for place, who in {"org": "alice", "elsewhere org": "charlie"}.items():
        invitation, _ = people.invite_to_organization(
            principal=world.people[who].principal, email="auditor@example.com", role=Role.AUDITOR, at=world.at
        )
        world.ids.setdefault("organization_invitation", {})[place.replace(" org", "")] = str(invitation.pk)


def _account(world: World, who: str, place: str, name: str, role: Role) -> ServiceAccount:
    team = world.places["elsewhere team" if place == "elsewhere" else place]
    assert isinstance(team, Team)
    person = world.people[who]
    return people.create_service_account(
        principal=person.principal, team=team, name=name, role=role, steward=person.user, at=world.at
    )


def _all_that(role: KeyRole) -> frozenset[str]:
    return BUILT_IN.grantable(role)


def _add_keys(world: World) -> None:
    """Issue what programs call with; `who:where` holds every permission that `who` can grant."""
    org, team, project = (world.places[name] for name in ("org", "team", "project"))
    everything, admins, developers = (_all_that(KeyRole(role)) for role in ("super_admin", "team_admin", "developer"))
    reading = BUILT_IN.reading()
    admin = _account(world, "bob", "team", "deployer", Role.TEAM_ADMIN)
    developer = _account(world, "bob", "team", "scanner", Role.DEVELOPER)
    wanted: dict[str, tuple[str, Place, Collection[str], dict[str, Any]]] = {
        "alice:org": ("alice", org, everything, {}),
        "alice:team": ("alice", team, everything, {}),
        "alice:project": ("alice", project, everything, {}),
        "bob:team": ("bob", team, admins, {}),
        "bob:project": ("bob", project, admins, {}),
        "dana:project": ("dana", project, developers, {}),
        "charlie:org": ("charlie", world.places["elsewhere org"], everything, {}),
        "alice:org:reading": ("alice", org, everything & reading, {}),
        "bob:team:reading": ("bob", team, admins & reading, {}),
        "dana:project:reading": ("dana", project, developers & reading, {}),
        "alice:org:without": ("alice", org, ["scan:read"], {}),
        "alice:org:test": ("alice", org, everything, {"environment": "test"}),
        "dana:publishable": ("dana", project, [], {"kind": "publishable"}),
        "account:team": ("bob", team, admins, {"service_account": admin}),
        "account:project": ("bob", project, developers, {"service_account": developer}),
        "frank:left": ("frank", project, developers, {}),
        "hugo:demoted": ("hugo", org, everything, {}),
        "jill:demoted": ("jill", team, admins, {}),
    }
    for name, (who, place, permissions, changes) in wanted.items():
        row, text = world.issue(who, place, permissions, **changes)
        world.callers[name] = Caller(Client(), {"Authorization": f"Bearer {text}"})
        world.ids.setdefault("caller", {})[name] = str(row.pk)
    whole = world.callers["alice:org"]
    world.callers["alice:org@project"] = Caller(whole.client, whole.headers | {"X-Project-Id": str(project.pk)})


def _let_people_go(world: World) -> None:
    """Three people are less than they were when they issued their keys (T5), and call no more themselves."""
    alice = world.people["alice"].principal
    memberships = TeamMembership.objects.select_related("team", "membership__user")
    gone = {name: world.people.pop(name) for name in ("frank", "hugo", "jill")}
    frank, jill = (memberships.get(membership=gone[name].membership) for name in ("frank", "jill"))
    people.remove_from_team(at=world.at, principal=alice, team_membership=frank)
    people.change_team_role(at=world.at, principal=alice, team_membership=jill, role=Role.DEVELOPER)
    people.change_organization_role(at=world.at, principal=alice, membership=gone["hugo"].membership, role=Role.MEMBER)
