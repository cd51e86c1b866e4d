"""What the portal knows about a person, for that person."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount

from accounts.actions.sessions import open_sessions
from accounts.models import Device, Invitation, OrganizationMembership, OutgoingMail, ServiceAccount, User
from apikeys.exporting import rows_of
from apikeys.models import ApiKey
from audit.models import AuditEvent

# The newest of what a person did; the audit log's own export has all of it.
MOST_EVENTS = 10_000


def data_of(user: User, *, at: datetime) -> dict[str, Any]:
    """Return it by topic, ready for JSON; no secret is among it, and nothing of how the password is kept."""
    return {
        "made_at": at,
        "profile": {
            name: getattr(user, name)
            for name in ("id", "email", "name", "company", "job_title", "time_zone", "created_at", "last_login")
        },
        "preferences": {
            name: getattr(user, f"wants_{name}") for name in ("product_updates", "security_advisories", "tips")
        },
        "email_addresses": list(EmailAddress.objects.filter(user=user).values("email", "verified", "primary")),
        "connected_accounts": list(
            SocialAccount.objects.filter(user=user).values("provider", "uid", "date_joined", "last_login", "extra_data")
        ),
        "second_factors": list(Authenticator.objects.filter(user=user).values("type", "created_at", "last_used_at")),
        "sessions": [_session(session) for session in open_sessions(user, at=at)],
        "devices": list(Device.objects.filter(user=user).values("created_at", "last_seen_at")),
        "memberships": list(_memberships(user)),
        "stewardships": list(ServiceAccount.objects.filter(steward=user).values("name", "team__name", "stopped_at")),
        "invitations": list(
            Invitation.objects.filter(invited_by=user).values("email", "role", "created_at", "accepted_at")
        ),
        "mails": list(OutgoingMail.objects.filter(user=user).values("name", "recipient", "created_at", "sent_at")),
        "keys": list(rows_of(ApiKey.objects.filter(issuer=user), at=at)),
        "events": list(_events(user)),
    }


def _session(session: Any) -> dict[str, Any]:
    return {name: getattr(session, name) for name in ("created_at", "last_seen_at", "ip", "user_agent")}


def _memberships(user: User) -> Iterator[dict[str, Any]]:
    memberships = OrganizationMembership.objects.filter(user=user).select_related("organization")
    for membership in memberships.prefetch_related("team_memberships__team"):
        yield {
            "organization": membership.organization.name,
            "role": membership.role,
            "since": membership.created_at,
            "teams": [{"team": each.team.name, "role": each.role} for each in membership.team_memberships.all()],
        }


def _events(user: User) -> Iterator[dict[str, Any]]:
    events = AuditEvent.objects.filter(actor_kind="user", actor_id=str(user.pk)).order_by("-id")
    yield from map(
        dict, events.values("at", "event", "target_table", "target_label", "address", "request_id")[:MOST_EVENTS]
    )
