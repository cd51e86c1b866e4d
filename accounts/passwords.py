"""The one rule about passwords that Django does not have."""

from django.core.exceptions import ValidationError

from accounts.models import User

MAX_LENGTH = 128


class MaximumLengthValidator:
    """A password that anyone may send costs no more to hash than one that a person would type."""

    def validate(self, password: str, user: User | None = None) -> None:  # noqa: ARG002 - the signature is Django's
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return f"Your password can have at most {MAX_LENGTH} characters."
