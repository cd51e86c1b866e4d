"""What the audit log is told about people, organizations, teams and projects, and who may read it."""

from collections.abc import Mapping
from typing import Any

from allauth.account import signals as account_signals
from allauth.mfa import signals as factor_signals
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest
from uuid_utils.compat import uuid7

from accounts.models import (
    GroupRole,
    Invitation,
    Organization,
    OrganizationDomain,
    OrganizationMembership,
    Project,
    ServiceAccount,
    Team,
    TeamMembership,
    User,
)
from accounts.principals import acting
from accounts.rights import Right, holds, reach
from audit import events, visibility
from audit.context import Actor, audit_context, current
from audit.models import AuditEvent, AuditEventQuerySet
from audit.signals import record
from audit.tracking import Change, Place, track

SESSION_EVENTS = {
    "user.signed_in": "A person signed in, by password or through a provider.",
    "user.sign_in_failed": "A password was wrong; if nobody has that address, the row names nobody.",
    "user.second_factor_failed": "A code or passkey was wrong: after the password, or to confirm who is there.",
    "recovery_codes.used": "A recovery code was used instead of a second factor; it is good for nothing any more.",
    "recovery_codes.replaced": "A person made new recovery codes; those from before are void.",
    "second_factor.renamed": "A person called a passkey something else.",
    "user.signed_out": "A person signed out.",
    "user.password_reset": "A person set a new password by the link that was mailed to them.",
    "user.password_reset_requested": "Someone asked for such a link; if nobody has that address, the row names nobody.",
    "user.address_proven": "Such a link showed for the first time who reads an address; other ways in went.",
    "user.data_exported": "A person downloaded what the portal knows about them.",
    "user.account_deleted": "A person deleted their account; this log keeps its label, and nothing else of them.",
    "session.ended": "A session was signed out from another one, or with a change of password or address.",
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
    factor_signals.authentication_failed.connect(_second_factor_failed, dispatch_uid="accounts.second_factor_failed")
    visibility.register(visible_events)


def visible_events(request: HttpRequest) -> AuditEventQuerySet:
    """Who may read the whole log sees the organization's rows, a team admin those of their teams, everyone their own.

    A key sees the rows of its scope; `audit:read` takes an issuer who is an admin there.
    """
    principal = acting(request)
    principal.require("audit:read")
    rows, organization_id = AuditEvent.objects.all(), principal.organization_id
    if principal.project_id:
        return rows.for_place(organization_id, project_ids=[principal.project_id])
    if principal.is_key and principal.team_id:
        return rows.for_place(organization_id, team_ids=[principal.team_id])
    if holds(principal, Right.AUDIT_SEE):
        return rows.for_place(organization_id)
    team_ids = reach(principal, Right.TEAM_AUDIT_SEE).team_ids
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
            "organization.security_changed": "How people have to sign in, or who joins by themselves, was changed.",
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
        event=lambda changes: _archive_event("team", changes),
        sentences={
            "team.archived": "A team was put away; its keys have been refused since.",
            "team.restored": "A team was brought back, and its own keys with it.",
        },
    )
    track(
        Project,
        table="projects",
        noun="project",
        label=lambda row: row.name,
        place=lambda row: Place(row.team.organization_id, row.team_id, row.pk),
        fields=["name", "team", "environments", "archived_at"],
        event=lambda changes: "project.moved" if "team_id" in changes else _archive_event("project", changes),
        sentences={
            "project.archived": "A project was put away; its keys have been refused since.",
            "project.restored": "A project was brought back, and its keys with it.",
            "project.moved": "A project went to another team, whose roles rule over its keys since.",
        },
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
        event=_invitation_event,
        sentences={
            "invitation.accepted": "An invited person took the place that was kept for them.",
            "invitation.resent": "An invitation was sent again: with new links, for another 7 days.",
        },
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
        event=_user_event,
        sentences={
            "user.password_changed": "A person's password was changed.",
            "user.email_changed": "A person's address was changed, which the old and the new one confirmed.",
        },
    )
    track(
        SocialAccount,
        table="connected_accounts",
        noun="connected_account",
        label=lambda row: f"{row.user} at {row.provider}",
        place=lambda row: _home(row.user),
        fields=["user", "provider", "uid"],
    )
    track(
        Authenticator,
        table="second_factors",
        noun="second_factor",
        label=factor_label,
        place=lambda row: _home(row.user),
        # Their secrets, and which codes were used, are in the rest: what is done with it has events of its own.
        fields=["user", "type"],
        creation=lambda row: "recovery_codes.generated" if row.type == Authenticator.Type.RECOVERY_CODES else None,
        sentences={"recovery_codes.generated": "A person got recovery codes, with their first second factor."},
    )


def factor_label(row: Authenticator) -> str:
    """Return what the log calls a second factor or a set of recovery codes."""
    names = {Authenticator.Type.TOTP: "authenticator app", Authenticator.Type.RECOVERY_CODES: "recovery codes"}
    return f"{names.get(row.type) or 'passkey ' + str(row)} of {row.user.email}"


def record_factor(event: str, row: Authenticator, changes: Mapping[str, Any] | None = None) -> None:
    """Record what happened to a second factor without a watched field changing."""
    record(
        event=event,
        target_table="second_factors",
        target_id=row.pk,
        target_label=factor_label(row),
        place=_home(row.user),
        changes=changes,
    )


def _archive_event(noun: str, changes: Mapping[str, Change]) -> str | None:
    if "archived_at" not in changes:
        return None
    return f"{noun}.archived" if changes["archived_at"].after else f"{noun}.restored"


def _organization_event(changes: Mapping[str, Change]) -> str | None:
    named = {
        "permission_catalogue": "organization.catalogue_changed",
        "network_policy": "organization.networks_changed",
        "security_policy": "organization.security_changed",
        "default_team_id": "organization.security_changed",
    }
    return next((event for field, event in named.items() if field in changes), None)


def _invitation_event(changes: Mapping[str, Change]) -> str | None:
    named = {"accepted_at": "invitation.accepted", "expires_at": "invitation.resent"}
    return next((event for field, event in named.items() if field in changes), None)


def _service_account_event(changes: Mapping[str, Change]) -> str | None:
    named = {"stopped_at": "service_account.stopped", "steward_id": "service_account.steward_changed"}
    return next((event for field, event in named.items() if field in changes), None)


def _user_event(changes: Mapping[str, Change]) -> str | None:
    if "email" in changes and "deleted_at" not in changes:
        return "user.email_changed"
    return "user.password_changed" if set(changes) == {"password"} else None


def _home(user: User) -> Place:
    """A person's own events belong to the first organization they joined; a new person is in none yet."""
    membership = user.memberships.order_by("created_at", "id").first()
    return Place(membership.organization_id) if membership else Place()


def record_session_end(user: User, device: str, address: str) -> None:
    """Record that a session of someone's was signed out by the running request, which is not that session's own."""
    record(
        event="session.ended",
        target_table="users",
        target_id=user.pk,
        target_label=user.email,
        place=_home(user),
        changes={"device": [device, None], "address": [address, None]},
    )


def _signed_in(user: User, **_: Any) -> None:
    record_own("user.signed_in", user)


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
            place=_home(user or User(pk=uuid7())),
        )


def record_reset_request(user: User | None) -> None:
    """Record that someone asked for a link to choose another password, likewise."""
    record(
        event="user.password_reset_requested",
        target_table="users",
        target_id=user.pk if user else "",
        target_label=user.email if user else "",
        place=_home(user or User(pk=uuid7())),
    )


def _second_factor_failed(user: User, **_: Any) -> None:
    """Record a wrong code or passkey: who sends it has not shown yet that they are this person."""
    with transaction.atomic():
        record(
            event="user.second_factor_failed",
            target_table="users",
            target_id=user.pk,
            target_label=user.email,
            place=_home(user),
        )


def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record_own("user.signed_out", user)


def _password_reset(user: User, **_: Any) -> None:
    record_own("user.password_reset", user)


def record_own(event: str, user: User) -> None:
    """Record what a person did to their own session or sign-in, as that person: the request began without one."""
    context = current()
    actor = Actor(kind="user", id=user.pk, label=user.email)
    with audit_context(actor=actor, request_id=context.request_id, address=context.address, at=context.at):
        record(event=event, target_table="users", target_id=user.pk, target_label=user.email, place=_home(user))
