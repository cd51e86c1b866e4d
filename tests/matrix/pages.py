"""Every page that changes something: which table says who may, what is sent, and what it writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse
from uuid_utils.compat import uuid7

from accounts.actions.security import security_digest
from accounts.models import Organization
from accounts.rights import Right
from apikeys.policing import Terms
from tests.matrix import grids
from tests.matrix.grids import Grid
from tests.matrix.operations import ACCOUNTS, KEYS, ORGANIZATIONS, PERMISSION, PERMISSIONS, POLICIES
from tests.matrix.world import STEWARDS, World

Form = Callable[[World, str], dict[str, Any]]
POLICY = {"max_lifetime": "30", "team_issuers": "team_admin", "project_issuers": "developer", "existing": "now"}
# The people of the world have verified addresses of this domain.
SECURITY = {"domains": "example.com", "second_factor": "", "default_team": ""}
DOMAINS = "accounts_organizationdomain"
# Who of a team is changed, and which of their keys is decided on.
MEMBERS = {"team": ("dana", "danas"), "other": ("grace", "other"), "elsewhere": ("charlie", "elsewhere")}


def _empty(_world: World, _place: str) -> dict[str, Any]:
    return {}


def _same(form: dict[str, Any]) -> Form:
    return lambda _world, _place: form


@dataclass(frozen=True)
class Page:
    """What is asked for, and what of."""

    grid: Grid
    # What the address names: the parameter, and its kind in `World.ids`.
    about: dict[str, str]
    form: Form = _empty
    # What it writes; nothing where it only shows what would be.
    writes: str = ""

    def url(self, world: World, name: str, place: str) -> str:
        return reverse(name, kwargs={parameter: _value(world, kind, place) for parameter, kind in self.about.items()})


def _value(world: World, kind: str, place: str) -> str | UUID:
    if kind == "permission":
        return PERMISSIONS[place]
    if kind == "member":
        return UUID(world.ids["person"][MEMBERS[place][0]])
    return UUID(world.id_of(kind, place))


def _previewed_policy(_world: World, _place: str) -> dict[str, Any]:
    """Return what the preview sends on, of an organization that has said nothing yet."""
    return POLICY | {"digest": Terms().digest}


def _previewed_security(_world: World, _place: str) -> dict[str, Any]:
    return SECURITY | {"digest": security_digest(Organization())}


def _new_key(world: World, place: str) -> dict[str, Any]:
    kind = "team" if place in {"team", "other"} else "project"
    return {
        "issue_id": str(uuid7()),
        "name": "new",
        "scope": kind,
        kind: world.id_of(kind, place),
        "environment": "live",
        "expiry": "90",
        "permissions": ["projects:read"],
    }


def _new_organization_key(world: World, place: str) -> dict[str, Any]:
    return _new_key(world, place) | {"scope": "org", "project": ""}


def _new_publishable_key(world: World, place: str) -> dict[str, Any]:
    return _new_key(world, place) | {"permissions": [], "allowed_origins": "https://app.example.com"}


def _new_account(world: World, place: str) -> dict[str, Any]:
    return {"name": "new", "role": "developer", "steward": world.ids["person"][STEWARDS[place]]}


def _edited_account(world: World, place: str) -> dict[str, Any]:
    return _new_account(world, place) | {"name": "renamed"}


def _rotation(_world: World, _place: str) -> dict[str, Any]:
    return {"form_id": str(uuid7()), "reason": "routine", "settle": "3600", "deadline": "7"}


def _project(world: World, place: str) -> dict[str, Any]:
    return {"name": "new", "team": world.id_of("team", place), "environments": "any"}


def _keys_to_revoke(world: World, place: str) -> dict[str, Any]:
    return {"key": world.ids["key"][MEMBERS[place][1]], "reason": "They left."}


def _keys_to_hand_over(world: World, place: str) -> dict[str, Any]:
    key_id = world.ids["key"][MEMBERS[place][1]]
    return {"key": key_id, f"account_{UUID(key_id).hex}": world.ids["account"][place]}


_KEY, _ROTATING, _TEAM, _ACCOUNT = (
    {"key_id": "key"},
    {"key_id": "rotating"},
    {"team_id": "team"},
    {"account_id": "account"},
)
_MEMBER, _TEAM_MEMBER = {"user_id": "member"}, {"team_id": "team", "user_id": "member"}
_PERMISSION = {"name": "permission"}
_PROJECT = {"project_id": "project"}

_INVITATION = {"invitation_id": "invitation"}
_OWN = grids.people_in_their_own

# By the name of its address.
PAGES = {
    "key-issue": Page(grids.ISSUE_IN_FORM, {}, _new_key, KEYS),
    "sdk-key-issue": Page(grids.ISSUE_PUBLISHABLE, {}, _new_publishable_key, KEYS),
    "organization-keys-issue": Page(_OWN(Right.ORGANIZATION_KEYS_MANAGE), {}, _new_organization_key, KEYS),
    "key-edit": Page(
        grids.PEOPLE_MANAGE_KEYS, _KEY, _same({"name": "renamed", "permissions": ["projects:read"]}), KEYS
    ),
    "key-rotate": Page(grids.PEOPLE_ROTATE_KEYS, _KEY, _rotation, KEYS),
    "rotation-end": Page(grids.PEOPLE_MANAGE_KEYS, _ROTATING, writes=KEYS),
    "rotation-extend": Page(grids.PEOPLE_MANAGE_KEYS, _ROTATING, _same({"by": "7"}), KEYS),
    "key-revoke": Page(grids.PEOPLE_MANAGE_KEYS, _KEY, _same({"reason": "It is over."}), KEYS),
    "key-disable": Page(grids.PEOPLE_MANAGE_KEYS, _KEY, writes=KEYS),
    "key-enable": Page(grids.PEOPLE_MANAGE_KEYS, {"key_id": "disabled"}, writes=KEYS),
    "team-create": Page(_OWN(Right.TEAMS_CREATE), {}, _same({"name": "new"}), "accounts_team"),
    "project-create": Page(grids.CREATE_PROJECTS, {}, _project, "accounts_project"),
    "project-environments": Page(
        grids.CHANGE_PROJECTS, {"project_id": "project"}, _same({"environments": "live"}), "accounts_project"
    ),
    "organization-settings": Page(
        _OWN(Right.ORGANIZATION_CHANGE),
        {},
        _same({"name": "renamed", "slug": "renamed", "logo_initials": "RE"}),
        ORGANIZATIONS,
    ),
    "team-rename": Page(grids.RENAME_TEAMS, _TEAM, _same({"name": "renamed"}), "accounts_team"),
    "team-archive": Page(grids.ARCHIVE_TEAMS, _TEAM, writes="accounts_team"),
    "team-restore": Page(grids.ARCHIVE_TEAMS, _TEAM),
    "project-rename": Page(grids.CHANGE_PROJECTS, _PROJECT, _same({"name": "renamed"}), "accounts_project"),
    "project-archive": Page(grids.CHANGE_PROJECTS, _PROJECT, writes="accounts_project"),
    "project-restore": Page(grids.CHANGE_PROJECTS, _PROJECT),
    "project-move": Page(grids.MOVE_PROJECTS, _PROJECT),
    "invitation-create": Page(
        grids.CHANGE_TEAM_MEMBERS,
        _TEAM,
        _same({"email": "new@example.com", "role": "developer"}),
        "accounts_invitation",
    ),
    "invitation-resend": Page(grids.CHANGE_TEAM_MEMBERS, _INVITATION, writes="accounts_invitation"),
    "invitation-withdraw": Page(grids.CHANGE_TEAM_MEMBERS, _INVITATION, writes="accounts_invitation"),
    "people-invite": Page(
        _OWN(Right.PEOPLE_MANAGE),
        {},
        _same({"email": "new@example.com", "role": "auditor"}),
        "accounts_invitation",
    ),
    "service-account-create": Page(grids.PEOPLE_MANAGE_ACCOUNTS, _TEAM, _new_account, ACCOUNTS),
    "service-account-edit": Page(grids.PEOPLE_MANAGE_ACCOUNTS, _ACCOUNT, _edited_account, ACCOUNTS),
    "service-account-stop": Page(grids.PEOPLE_MANAGE_ACCOUNTS, _ACCOUNT, _same({"name": "runner"}), ACCOUNTS),
    "team-member-role": Page(
        grids.CHANGE_TEAM_MEMBERS,
        _TEAM_MEMBER,
        lambda _world, place: {"role": _other_role(place)},
        "accounts_teammembership",
    ),
    "team-member-remove": Page(grids.CHANGE_TEAM_MEMBERS, _TEAM_MEMBER, writes="accounts_teammembership"),
    "person-role": Page(
        grids.CHANGE_MEMBERS,
        _MEMBER,
        lambda _world, place: {"role": "member" if place == "elsewhere" else "super_admin"},
        "accounts_organizationmembership",
    ),
    "person-remove": Page(grids.CHANGE_MEMBERS, _MEMBER, writes="accounts_organizationmembership"),
    "person-keys-revoke": Page(grids.DECIDE_ON_KEYS, _MEMBER, _keys_to_revoke, KEYS),
    "person-keys-hand-over": Page(grids.DECIDE_ON_KEYS, _MEMBER, _keys_to_hand_over, KEYS),
    "policy-change": Page(_OWN(Right.POLICIES_CHANGE), {}, _same(POLICY)),
    "policy-apply": Page(_OWN(Right.POLICIES_CHANGE), {}, _previewed_policy, POLICIES),
    "permission-add": Page(
        _OWN(Right.PERMISSIONS_CHANGE), {}, _same(PERMISSION | {"name": "invoices:write"}), ORGANIZATIONS
    ),
    "permission-publish": Page(
        _OWN(Right.PERMISSIONS_CHANGE), {}, _same({"permissions": ["analysis:read"]}), ORGANIZATIONS
    ),
    "permission-change": Page(grids.PEOPLE_CHANGE_PERMISSIONS, _PERMISSION, _same(PERMISSION), ORGANIZATIONS),
    "permission-remove": Page(grids.PEOPLE_CHANGE_PERMISSIONS, _PERMISSION, writes=ORGANIZATIONS),
    "security-change": Page(_OWN(Right.SECURITY_CHANGE), {}, _same(SECURITY)),
    "security-apply": Page(_OWN(Right.SECURITY_CHANGE), {}, _previewed_security, ORGANIZATIONS),
    "security-domain-claim": Page(_OWN(Right.SECURITY_CHANGE), {}, _same({"name": "new.example"}), DOMAINS),
    "security-domain-release": Page(_OWN(Right.SECURITY_CHANGE), {}, _same({"domain": "owned.example"}), DOMAINS),
}

# Those about one thing that only show it.
LOOKING = {
    "key-detail": Page(grids.PEOPLE_SEE_KEYS, _KEY),
    "key-uses": Page(grids.PEOPLE_SEE_KEYS, _KEY),
    "project-detail": Page(grids.PEOPLE_SEE_PROJECTS, {"project_id": "project"}),
    "project-sdk-keys": Page(grids.PEOPLE_SEE_PROJECTS, {"project_id": "project"}),
    "team-detail": Page(grids.PEOPLE_SEE_ACCOUNTS, _TEAM),
    "service-account-detail": Page(grids.PEOPLE_SEE_ACCOUNTS, _ACCOUNT),
    "person-keys": Page(grids.SEE_LEFT_KEYS, _MEMBER),
}


def _other_role(place: str) -> str:
    return "team_admin" if place == "team" else "developer"


# Those that take a form and are not in a table, and why.
ASIDE = {
    "key-bulk": "It is about all places at once, and tested by itself.",
    "key-export-csv": "It hands out all that may be seen, and is tested by itself.",
    "key-export-json": "The same.",
    "key-whose": "It looks for a label among all that may be seen, and is tested by itself.",
    "setup": "Its token is the proof.",
    "invitation-accept": "The same.",
    "mfa_login_webauthn": "The passkey is the proof.",
    "mfa_authenticate": "The same, or a code, after the password.",
    "mfa_reauthenticate": "The same, of who is signed in.",
    "mfa_reauthenticate_webauthn": "The same.",
    "mfa_activate_totp": "A person's own second factor: no other is named.",
    "mfa_deactivate_totp": "The same.",
    "mfa_add_webauthn": "The same.",
    "mfa_edit_webauthn": "One of the person's own passkeys, by number; tests/accounts tries those of others.",
    "mfa_remove_webauthn": "The same.",
    "mfa_generate_recovery_codes": "A person's own codes.",
    "security-group-map": "It takes a provider; tests/accounts/test_security.py tries it.",
    "security-group-unmap": "The same.",
    "organization-switch": "A session looks at another of the person's own organizations.",
    "theme-set": "A cookie of the browser's own.",
    "account-download": "One's own account, and nobody else's; tested by itself.",
    "account-delete": "The same.",
    "account-profile": "One's own account, whatever one is in an organization; tested by itself.",
    "account-preferences": "The same.",
    "unsubscribe": "Its token is the proof.",
    "email-change": "The same.",
    "email-change-cancel": "The same.",
    "email-confirm": "Its token is the proof.",
    "session-end": "One's own sessions.",
    "session-end-others": "The same.",
    "account_change_password": "One's own account.",
    "account_reset_password_from_key": "Its key is the proof.",
    "socialaccount_connections": "One's own account.",
    "github_login": "It leaves for a provider, as who comes back is known there.",
    "google_login": "The same.",
    "openid_connect_login": "The same.",
}

# Those that list what their reader may see, and take a right over the organization for any of it.
LISTS = {
    "people-list": Right.PEOPLE_SEE,
    "organization-keys": Right.ORGANIZATION_SEE,
    "permission-list": Right.PERMISSIONS_CHANGE,
    "sign-in-methods": Right.SECURITY_CHANGE,
}

# Those that only show something, to whom no right is asked, and why.
WITHOUT_RIGHT = {
    "overview": "It counts and names what its reader sees elsewhere.",
    "key-list": "It lists the keys that its reader sees: the export, which holds the same, is in the matrix.",
    "sdk-key-list": "The same, of one kind.",
    "team-list": "It lists the teams that its reader sees, each of whose pages is in the matrix.",
    "project-list": "The same, of projects.",
    "audit-list": "It shows the rows that its reader sees; those that the API lists are in the matrix.",
    "people-left": "It lists whose keys its reader sees; the page of each is in the matrix.",
    "key-issue-sentence": "It says in words what was filled in, and nothing of anybody.",
    "sdk-key-issue-sentence": "The same.",
    "organization-keys-issue-sentence": "The same.",
    "key-format": "What a key looks like is no secret.",
}
