"""What the portal knows about a person, for that person, and nothing about anybody else."""

from collections.abc import Iterator, Mapping
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
# Tables whose rows the log calls by somebody's address.
NAMED_BY_ADDRESS = frozenset(
    {
        "users",
        "organization_memberships",
        "team_memberships",
        "invitations",
        "connected_accounts",
        "second_factors",
    }
)


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
            Invitation.objects.filter(invited_by=user).values("role", "created_at", "expires_at", "accepted_at")
        ),
        "mails": list(OutgoingMail.objects.filter(user=user).values("name", "recipient", "created_at", "sent_at")),
        "keys": list(_keys(user, at)),
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


def _keys(user: User, at: datetime) -> Iterator[Mapping[str, object]]:
    """Yield the keys that the person issued; from where one comes that acts for others by now is theirs to know."""
    keys = ApiKey.objects.filter(issuer=user)
    organizations = OrganizationMembership.objects.filter(user=user).values("organization")
    own = keys.acting_for_issuer().filter(organization__in=organizations).values_list("pk", flat=True)
    own_ids = set(map(str, own))
    for row in rows_of(keys, at=at):
        yield row if row["id"] in own_ids else {**row, "last_used_ip": None}


def _events(user: User) -> Iterator[dict[str, Any]]:
    """Yield what the person did; a label that is somebody else's address is left out."""
    events = AuditEvent.objects.filter(actor_kind="user", actor_id=str(user.pk)).order_by("-id")
    for row in events.values("at", "event", "target_table", "target_label", "address", "request_id")[:MOST_EVENTS]:
        is_others = row["target_table"] in NAMED_BY_ADDRESS and user.email not in row["target_label"]
        yield {**row, "target_label": "" if is_others else row["target_label"]}
