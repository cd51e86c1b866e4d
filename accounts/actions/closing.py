"""Closing an account for good."""

from datetime import datetime

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.db.models import Model

from accounts.actions.refusals import LastSuperAdmin
from accounts.actions.sessions import end_sessions
from accounts.mailing import outbox
from accounts.models import (
    Device,
    EmailChange,
    Invitation,
    Organization,
    OrganizationMembership,
    OutgoingMail,
    Role,
    User,
)
from accounts.recording import record_own

# RFC 2606 §2: no address of this kind is ever anyone's.
_NOBODY = "deleted.invalid"
# What is of a person and of nobody else.
_PERSONAL: tuple[type[Model], ...] = (
    OrganizationMembership,
    Authenticator,
    SocialAccount,
    EmailAddress,
    Device,
    EmailChange,
    OutgoingMail,
    # Those that ended by themselves, which say from where somebody came too.
    UserSession,
)


def organizations_left_alone(user: User) -> list[Organization]:
    """Return the organizations that would have no super admin without a person."""
    mine = OrganizationMembership.objects.filter(user=user, role=Role.SUPER_ADMIN)
    others = OrganizationMembership.objects.filter(role=Role.SUPER_ADMIN, user__is_active=True).exclude(user=user)
    kept = others.values("organization")
    return [found.organization for found in mine.exclude(organization__in=kept).select_related("organization")]


def lock_organizations(user: User) -> None:
    """Lock those that a person is in, in one order, so that two super admins who leave at once do not both succeed.

    They come before any key, as for whoever else locks both.
    """
    list(Organization.objects.select_for_update(no_key=True).filter(memberships__user=user).order_by("pk"))


@transaction.atomic
def close_account(*, user: User, at: datetime) -> None:
    """Take a person out of everything and forget who they were; the row stays for the keys and events that name it.

    Their keys are the caller's concern: from here on, nothing stands behind them. What the audit log says of the
    person is their label, as before.

    :raises LastSuperAdmin: if an organization would be left without one.
    """
    lock_organizations(user)
    current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if current.deleted_at:
        return  # in another window, a moment ago
    if alone := organizations_left_alone(current):
        names = ", ".join(organization.name for organization in alone)
        raise LastSuperAdmin(f"You are the only super admin of {names}. Make someone else one first.")
    record_own("user.account_deleted", current)
    outbox.put("account_deleted", to=current.email, context={}, at=at)
    end_sessions(user=current, at=at)
    for model in _PERSONAL:
        for row in model._default_manager.filter(user=current):
            row.delete()
    # Places that were taken. One that is still kept waits for whoever reads the address next.
    for invitation in Invitation.objects.filter(email=current.email).exclude(accepted_at=None):
        invitation.delete()
    _forget(current, at)


def _forget(user: User, at: datetime) -> None:
    user.email = f"{user.pk.hex}@{_NOBODY}"
    user.name = user.company = user.job_title = user.time_zone = ""
    user.is_active = False
    user.deleted_at = at
    user.wants_product_updates = user.wants_security_advisories = user.wants_tips = False
    user.set_unusable_password()
    user.save(
        update_fields=[
            "email",
            "name",
            "company",
            "job_title",
            "time_zone",
            "is_active",
            "deleted_at",
            "wants_product_updates",
            "wants_security_advisories",
            "wants_tips",
            "password",
            "has_short_password",
        ]
    )
