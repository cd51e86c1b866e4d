"""Second factors: who has one, codes that are good once, and the name that passkeys are made for.

allauth.mfa keeps them. It takes a code from an app again once its mark in a cache is gone, so here a code is marked
where it is checked: in the factor's own row, under its lock (RFC 6238 §5.2).
"""

import ipaddress
from datetime import datetime
from urllib.parse import urlsplit

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.internal.auth import WebAuthn
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.mailing import outbox
from accounts.models import User
from accounts.recording import record_own

# What asks for itself at a sign-in. Recovery codes only stand in for these.
KINDS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def start() -> None:
    """Have allauth check codes as this module does, wherever it asks a factor what it is."""
    Authenticator.wrap = _wrap


def has_second_factor(user: User) -> bool:
    """Say whether signing in takes this person more than a password."""
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=KINDS).exists())


def passkey_origin() -> str:
    """Return the one origin under which passkeys work, or nothing where browsers make none.

    They are made for a name, never for an address, and cross no network in the clear (WebAuthn Level 3 §5.1.2).
    """
    public = urlsplit(settings.KEYPORTAL_URL)
    host = public.hostname or ""
    is_local = host == "localhost" or host.endswith(".localhost")
    is_possible = is_local or (public.scheme == "https" and not _is_address(host))
    return f"{public.scheme}://{public.netloc.lower()}" if is_possible else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def matching_step(secret: str, code: str, *, after: int = -1) -> int | None:
    """Return the 30 seconds that a code of an authenticator app is for, if they are now and later than `after`."""
    for step in yield_hotp_counters_from_time():
        if step > after and compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, step))):
            return int(step)
    return None


class SingleUseTOTP(TOTP):  # type: ignore[misc] # allauth is not typed
    """An authenticator app: a code that was taken is not taken again, nor is any that came before it."""

    @transaction.atomic
    def validate_code(self, code: str) -> bool:
        row = Authenticator.objects.select_for_update().filter(pk=self.instance.pk).first()
        if row is None:
            return False
        step = matching_step(decrypt(row.data["secret"]), code, after=row.data.get("last_step", -1))
        if step is None:
            return False
        row.data["last_step"] = step
        row.save(update_fields=["data"])
        return True


class RecordedRecoveryCodes(RecoveryCodes):  # type: ignore[misc] # allauth is not typed
    """Recovery codes: the use of one is on record, and its owner hears of it."""

    def validate_code(self, code: str) -> bool:
        try:
            return bool(super().validate_code(code))
        except Authenticator.DoesNotExist:
            # Someone made new codes, or removed the last factor, a moment ago.
            return False

    def _mark_code_used(self, i: int) -> None:
        self.instance.data["used_mask"] |= 1 << i
        self.instance.save(update_fields=["data"])
        user, left = self.instance.user, len(self.get_unused_codes())
        record_own("recovery_codes.used", user)
        tell(user, f"A recovery code was used to confirm that it is you; {left} are left", at=timezone.now())


def tell(user: User, what: str, *, at: datetime) -> None:
    """Write to someone, in the running transaction, what has changed about how they sign in."""
    link = f"{settings.KEYPORTAL_URL}{reverse('mfa_index')}"
    outbox.put("factor_changed", to=user, context={"what": what, "link": link}, at=at)


def _wrap(factor: Authenticator) -> TOTP | RecoveryCodes | WebAuthn:
    kinds = {
        Authenticator.Type.TOTP: SingleUseTOTP,
        Authenticator.Type.RECOVERY_CODES: RecordedRecoveryCodes,
        Authenticator.Type.WEBAUTHN: WebAuthn,
    }
    return kinds[factor.type](factor)
