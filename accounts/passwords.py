"""How long a password has to be, which depends on whether it is all that a sign-in takes."""

from django.core.exceptions import ValidationError

from accounts.factors import has_second_factor
from accounts.models import LEAST_AS_ONLY_FACTOR, User

# NIST SP 800-63B-4 §3.1.1.2: fifteen where the password is the only factor, eight where there is another.
LEAST_WITH_ANOTHER = 8
MAX_LENGTH = 128


def least_length(user: User | None = None) -> int:
    """Return how many characters a new password of this person has to have, or of somebody new."""
    return LEAST_WITH_ANOTHER if user is not None and has_second_factor(user) else LEAST_AS_ONLY_FACTOR


def hint(user: User | None = None) -> str:
    """Return what a form says beside the field of a new password."""
    return f"At least {least_length(user)} characters. A short sentence works well."


class MinimumLengthValidator:
    """A password is long enough for what else the person's sign-in takes."""

    def validate(self, password: str, user: User | None = None) -> None:
        least = least_length(user)
        if len(password) < least:
            raise ValidationError(f"Your password must have at least {least} characters.", code="password_too_short")

    def get_help_text(self) -> str:
        return (
            f"Your password must have at least {LEAST_AS_ONLY_FACTOR} characters, "
            f"or {LEAST_WITH_ANOTHER} if you have a second factor."
        )


class MaximumLengthValidator:
    """A password that anyone may send costs no more to hash than one that a person would type."""

    def validate(self, password: str, user: User | None = None) -> None:  # noqa: ARG002 - the signature is Django's
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return f"Your password can have at most {MAX_LENGTH} characters."
