"""Adding, naming and removing second factors, each with its audit row and a mail to whose they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.socialaccount.models import SocialAccount
from django.db import transaction

from accounts.actions.refusals import Refused
from accounts.actions.sessions import end_sessions
from accounts.factors import KINDS, tell
from accounts.models import Organization, OrganizationMembership, User
from accounts.recording import record_factor
from accounts.security import SecurityPolicy

# More than anybody carries; each is read at every sign-in.
MOST_PASSKEYS = 20


class AlreadyHasApp(Refused):
    """There is an authenticator app already."""

    sentence = "You have an authenticator app already. Remove it first, then set up the other one."


class AlreadyHasPasskey(Refused):
    """This very passkey is known, or there are as many as there can be."""

    sentence = "This passkey is set up already."


class FactorGone(Refused):
    """The factor is not there, or is somebody else's."""

    code = "not_found"
    sentence = "This second factor is not there any more."


class PasswordTooShortAlone(Refused):
    """Without its last second factor the account would rest on a short password."""

    sentence = (
        "Your password has fewer than 15 characters, which is too few without a second factor. "
        "Set a longer password first, then remove this."
    )


class SecondFactorRequired(Refused):
    """An organization of the person's asks for a second factor."""

    sentence = "Your organization requires a second factor. Add another one first, then remove this."


class LastWayIn(Refused):
    """There would be no way to sign in."""

    sentence = "This passkey is your only way in. Set a password or connect an account first, then remove it."


class NothingToRecover(Refused):
    """Recovery codes stand in for a second factor, and there is none."""

    sentence = "Recovery codes stand in for a second factor. Add one first."


@transaction.atomic
def add_authenticator_app(
    *, user: User, secret: str, step: int, at: datetime, session_key: str | None = None
) -> list[str]:
    """Add an authenticator app, and return recovery codes where there were none.

    :param step: the 30 seconds of the code that proved the app to work, which is thereby used.
    :param session_key: the session in which this happens. With a first factor the others end, which gave none.
    :raises AlreadyHasApp: if someone, perhaps in another window, added one first.
    """
    _lock(user)
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        raise AlreadyHasApp
    _end_sessions_without_factor(user, at, session_key)
    data = {"secret": get_adapter().encrypt(secret), "last_step": step}
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data=data, created_at=at)
    tell(user, "An authenticator app was added as a second factor", at=at)
    return _first_recovery_codes(user, at)


@transaction.atomic
def add_passkey(
    *, user: User, name: str, credential: Mapping[str, Any], at: datetime, session_key: str | None = None
) -> list[str]:
    """Add a passkey whose registration has been verified, and return recovery codes where there were none.

    :param session_key: as `add_authenticator_app` has it.
    :raises AlreadyHasPasskey: if it is there, or too many are.
    """
    _lock(user)
    known = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN)
    if any(row.data["credential"]["id"] == credential["id"] for row in known):
        raise AlreadyHasPasskey
    if len(known) >= MOST_PASSKEYS:
        raise AlreadyHasPasskey(f"You have {MOST_PASSKEYS} passkeys. Remove one that you do not use, then add this.")
    _end_sessions_without_factor(user, at, session_key)
    data = {"name": name, "credential": dict(credential)}
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data, created_at=at)
    tell(user, f"The passkey “{name}” was added", at=at)
    return _first_recovery_codes(user, at)


@transaction.atomic
def rename_passkey(*, user: User, factor_id: int, name: str) -> None:
    """Call a passkey something else.

    :raises FactorGone: if the person has no such passkey.
    """
    _lock(user)
    passkey = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN, pk=factor_id).first()
    if passkey is None:
        raise FactorGone
    before, passkey.data["name"] = passkey.data["name"], name
    if before != name:
        passkey.save(update_fields=["data"])
        record_factor("second_factor.renamed", passkey, {"name": [before, name]})


@transaction.atomic
def remove_factor(*, user: User, factor_id: int, at: datetime) -> Authenticator:
    """Remove an authenticator app or a passkey; with the last of them the recovery codes go.

    :raises FactorGone: if the person has no such factor.
    :raises Refused: if it is the last one and has to stay; the sentence says what to do first.
    """
    current = _lock(user)
    factors = list(Authenticator.objects.filter(user=user, type__in=KINDS))
    factor = next((one for one in factors if one.pk == factor_id), None)
    if factor is None:
        raise FactorGone
    if len(factors) == 1:
        _require_dispensable(current)
        for codes in Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES):
            codes.delete()
    what = f"The passkey “{factor}”" if factor.type == Authenticator.Type.WEBAUTHN else "Your authenticator app"
    factor.delete()
    tell(user, f"{what} was removed from your second factors", at=at)
    return factor


@transaction.atomic
def remove_all_factors(*, user: User, at: datetime) -> int:
    """Remove whatever stands beside the password, for someone who has lost it, and return how many that were.

    It is the operator's to decide: nothing is refused.
    """
    _lock(user)
    factors = list(Authenticator.objects.filter(user=user))
    for factor in factors:
        factor.delete()
    if factors:
        tell(user, "Your second factors and recovery codes were removed by the portal’s operator", at=at)
    return len(factors)


@transaction.atomic
def generate_recovery_codes(*, user: User, at: datetime) -> list[str]:
    """Return new recovery codes; those from before are void.

    :raises NothingToRecover: if there is no second factor for them to stand in for.
    """
    _lock(user)
    if not Authenticator.objects.filter(user=user, type__in=KINDS).exists():
        raise NothingToRecover
    tell(user, "New recovery codes were made; those from before are void", at=at)
    row = Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).first()
    if row is None:
        return _first_recovery_codes(user, at)
    row.data, row.created_at, row.last_used_at = _new_codes(), at, None
    row.save(update_fields=["data", "created_at", "last_used_at"])
    record_factor("recovery_codes.replaced", row)
    return list(RecoveryCodes(row).generate_codes())


def why_last_stays(user: User) -> Refused | None:
    """Return what would refuse to remove the last second factor of a person, if anything would now."""
    try:
        _require_dispensable(user)
    except Refused as refused:
        return refused
    return None


def _lock(user: User) -> User:
    """Make what is decided about a person's factors happen one after another."""
    return User.objects.select_for_update().get(pk=user.pk)


def _end_sessions_without_factor(user: User, at: datetime, session_key: str | None) -> None:
    """End what was opened before there was a factor: an organization that asks for one goes by whether there is."""
    if session_key and not Authenticator.objects.filter(user=user, type__in=KINDS).exists():
        end_sessions(user=user, at=at, but=session_key)


def _first_recovery_codes(user: User, at: datetime) -> list[str]:
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).exists():
        return []
    kind = Authenticator.Type.RECOVERY_CODES
    row = Authenticator.objects.create(user=user, type=kind, data=_new_codes(), created_at=at)
    return list(RecoveryCodes(row).generate_codes())


def _new_codes() -> dict[str, Any]:
    """Return what codes are computed from, and that none of them was used."""
    return {"seed": get_adapter().encrypt(RecoveryCodes.generate_seed()), "used_mask": 0}


def _require_dispensable(user: User) -> None:
    """Refuse what would leave an account without enough to sign in with."""
    if required := _organizations_that_require_one(user):
        names = " and ".join(organization.name for organization in required)
        raise SecondFactorRequired(f"{names} requires a second factor. Add another one first, then remove this.")
    if not user.has_usable_password() and not SocialAccount.objects.filter(user=user).exists():
        raise LastWayIn
    if user.has_usable_password() and user.has_short_password:
        raise PasswordTooShortAlone


def _organizations_that_require_one(user: User) -> list[Organization]:
    memberships = OrganizationMembership.objects.filter(user=user).select_related("organization")
    return [
        membership.organization
        for membership in memberships
        if SecurityPolicy.of(membership.organization).asks_second_factor_of(membership)
    ]
