"""Where people with an account choose another password: each form says how long it has to be for them."""

from typing import Any

from allauth.account import forms as account
from allauth.core import context
from django.http import HttpRequest
from django.utils import timezone

from accounts.actions.resets import ask_for_reset, reset_password
from accounts.models import User
from accounts.passwords import hint


class ChangePasswordForm(account.ChangePasswordForm):  # type: ignore[misc] # allauth is not typed
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = hint(self.user)

    def clean(self) -> dict[str, Any]:
        """Hash the password here already, since saving is in a transaction, which would wait for it."""
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            self.user.set_password(cleaned["password1"])
        return cleaned

    def save(self) -> None:
        self.user.save(update_fields=["password", "has_short_password"])


class ResetPasswordForm(account.ResetPasswordForm):  # type: ignore[misc] # allauth is not typed
    """Whoever signs in through a provider has no password here that a link could reset."""

    def clean_email(self) -> str:
        """Take every address: whether it has an account is not told, by the answer or by the time that it takes."""
        email: str = self.cleaned_data["email"].strip().lower()
        user = User.objects.filter(email=email, is_active=True).first()
        self.user = user if user and user.has_usable_password() else None
        return email

    def save(self, request: HttpRequest, **_: Any) -> str:  # noqa: ARG002 - the signature is allauth's
        email: str = self.cleaned_data["email"]
        ask_for_reset(email=email, user=self.user, at=timezone.now())
        return email


class ResetPasswordKeyForm(account.ResetPasswordKeyForm):  # type: ignore[misc] # allauth is not typed
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = hint(self.user)

    def clean(self) -> dict[str, Any]:
        """Hash the password here already, likewise."""
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            self.user.set_password(cleaned["password1"])
        return cleaned

    def save(self) -> None:
        reset_password(user=self.user, at=timezone.now(), but=context.request.session.session_key)
