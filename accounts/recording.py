"""What the audit log is told about people, organizations, teams and projects, and who may read it."""

from collections.abc import Mapping
from typing import Any

from allauth.account import signals as account_signals
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest

from accounts.models import (
    GroupRole,
    Invitation,
    Organization,
    OrganizationDomain,
    OrganizationMembership,
    Project,
    Role,
    ServiceAccount,
    Team,
    TeamMembership,
    User,
)
from accounts.principals import acting
from audit import events, visibility
from audit.context import Actor, audit_context, current
from audit.models import AuditEvent, AuditEventQuerySet
from audit.signals import record
from audit.tracking import Change, Place, track

SESSION_EVENTS = {
    "user.signed_in": "A person signed in, by password or through a provider.",
    "user.sign_in_failed": "A password was wrong; if nobody has that address, the row names nobody.",
    "user.signed_out": "A person signed out.",
    "user.password_reset": "A person set a new password by the link that was mailed to them.",
}


def start() -> None:
    """Watch the models, listen for sign-ins, and say who sees which rows."""
    _track_organizations()
    _track_people()
    events.register(SESSION_EVENTS)
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.signed_in")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="accounts.sign_in_failed")
    user_logged_out.connect(_signed_out, dispatch_uid="accounts.signed_out")
    account_signals.password_reset.connect(_password_reset, dispatch_uid="accounts.password_reset")
    visibility.register(visible_events)


def visible_events(request: HttpRequest) -> AuditEventQuerySet:
    """A super admin sees the organization's rows, a team admin those of their teams, and everyone their own.

    A key sees the rows of its scope; `audit:read` takes an issuer who is an admin there.
    """
    principal = acting(request)
    principal.require("audit:read")
    rows, organization_id = AuditEvent.objects.all(), principal.organization_id
    if principal.project_id:
        return rows.for_place(organization_id, project_ids=[principal.project_id])
    if principal.is_key and principal.team_id:
        return rows.for_place(organization_id, team_ids=[principal.team_id])
    if principal.is_super_admin:
        return rows.for_place(organization_id)
    team_ids = principal.team_ids_as(Role.TEAM_ADMIN)
    return rows.for_place(organization_id, team_ids=team_ids, actor_id=principal.user_id)


def _track_organizations() -> None:
    track(
        Organization,
        table="organizations",
        noun="organization",
        label=lambda row: row.name,
        place=lambda row: Place(row.pk),
        fields=[
            "name",
            "slug",
            "logo_initials",
            "suspended_at",
            "permission_catalogue",
            "network_policy",
            "security_policy",
            "default_team",
        ],
        event=_organization_event,
        sentences={
            "organization.catalogue_changed": "The permissions that keys of the organization can have were changed.",
            "organization.security_changed": "How the organization's people have to sign in was changed.",
            "organization.networks_changed": "The networks that keys of the organization may come from were changed.",
        },
    )
    track(
        Team,
        table="teams",
        noun="team",
        label=lambda row: row.name,
        place=lambda row: Place(row.organization_id, row.pk),
        fields=["name", "archived_at"],
    )
    track(
        Project,
        table="projects",
        noun="project",
        label=lambda row: row.name,
        place=lambda row: Place(row.team.organization_id, row.team_id, row.pk),
        fields=["name", "team", "environments", "archived_at"],
    )
    track(
        OrganizationMembership,
        table="organization_memberships",
        noun="organization_membership",
        label=lambda row: row.user.email,
        place=lambda row: Place(row.organization_id),
        fields=["organization", "user", "role"],
    )
    track(
        TeamMembership,
        table="team_memberships",
        noun="team_membership",
        label=lambda row: f"{row.membership.user.email} in {row.team.name}",
        place=lambda row: Place(row.team.organization_id, row.team_id),
        fields=["team", "membership", "role", "is_from_group"],
    )

    track(
        OrganizationDomain,
        table="organization_domains",
        noun="organization_domain",
        label=lambda row: row.name,
        place=lambda row: Place(row.organization_id),
        fields=["name", "verified_at"],
        event=lambda changes: "organization_domain.verified" if "verified_at" in changes else None,
        sentences={"organization_domain.verified": "The operator verified that a mail domain is the organization's."},
    )
    track(
        GroupRole,
        table="group_roles",
        noun="group_role",
        label=lambda row: f"{row.group} at {row.provider} in {row.team.name}",
        place=lambda row: Place(row.team.organization_id, row.team_id),
        fields=["team", "provider", "group", "role"],
    )
    track(
        ServiceAccount,
        table="service_accounts",
        noun="service_account",
        label=lambda row: row.name,
        place=lambda row: Place(row.team.organization_id, row.team_id),
        fields=["name", "team", "role", "steward", "stopped_at"],
        event=_service_account_event,
        sentences={
            "service_account.steward_changed": "Someone else answers for a service account from now on.",
            "service_account.stopped": "A service account was stopped; its keys have been refused since.",
        },
    )


def _track_people() -> None:
    track(
        Invitation,
        table="invitations",
        noun="invitation",
        label=lambda row: f"{row.email} to {row.place.name}",
        place=lambda row: Place(row.organization_id, row.team_id),
        fields=["email", "role", "team", "expires_at", "accepted_at"],
        event=lambda changes: "invitation.accepted" if "accepted_at" in changes else None,
        sentences={"invitation.accepted": "An invited person joined the team."},
    )
    track(
        User,
        table="users",
        noun="user",
        label=lambda row: row.email,
        place=_home,
        fields=[
            "email",
            "is_active",
            "deleted_at",
            "wants_product_updates",
            "wants_security_advisories",
            "wants_tips",
        ],
        # The log outlives the account, and keeps its label and nothing else of the person.
        masked=["password", "name", "company", "job_title", "time_zone"],
        event=lambda changes: "user.password_changed" if set(changes) == {"password"} else None,
        sentences={"user.password_changed": "A person's password was changed."},
    )
    track(
        SocialAccount,
        table="connected_accounts",
        noun="connected_account",
        label=lambda row: f"{row.user} at {row.provider}",
        place=lambda row: _home(row.user),
        fields=["user", "provider", "uid"],
    )


def _organization_event(changes: Mapping[str, Change]) -> str | None:
    named = {
        "permission_catalogue": "organization.catalogue_changed",
        "network_policy": "organization.networks_changed",
        "security_policy": "organization.security_changed",
    }
    return next((event for field, event in named.items() if field in changes), None)


def _service_account_event(changes: Mapping[str, Change]) -> str | None:
    named = {"stopped_at": "service_account.stopped", "steward_id": "service_account.steward_changed"}
    return next((event for field, event in named.items() if field in changes), None)


def _home(user: User) -> Place:
    """A person's own events belong to the first organization they joined; a new person is in none yet."""
    membership = user.memberships.order_by("created_at", "id").first()
    return Place(membership.organization_id) if membership else Place()


def _signed_in(user: User, **_: Any) -> None:
    _record("user.signed_in", user)


def _sign_in_failed(credentials: dict[str, Any], **_: Any) -> None:
    """Record a wrong password, for an address that nobody has too: the answer must take the same time.

    What was typed as an address is not kept, since it may be a password in the wrong field.
    """
    user = User.objects.filter(email=str(credentials.get("email", "")).strip().lower()).first()
    with transaction.atomic():
        record(
            event="user.sign_in_failed",
            target_table="users",
            target_id=user.pk if user else "",
            target_label=user.email if user else "",
            place=_home(user) if user else Place(),
        )


def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        _record("user.signed_out", user)


def _password_reset(user: User, **_: Any) -> None:
    _record("user.password_reset", user)


def _record(event: str, user: User) -> None:
    """Record what a person did to their own session or password, as that person: the request began without one."""
    context = current()
    actor = Actor(kind="user", id=user.pk, label=user.email)
    with audit_context(actor=actor, request_id=context.request_id, address=context.address, at=context.at):
        record(event=event, target_table="users", target_id=user.pk, target_label=user.email, place=_home(user))
