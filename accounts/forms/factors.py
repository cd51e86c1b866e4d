"""What people send about their second factors: a code, a name, or what their browser made of a passkey."""

from typing import Any

from allauth.mfa import signals
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as allauth_forms
from allauth.mfa.webauthn.internal import auth
from django import forms
from django.core.exceptions import ValidationError
from fido2.webauthn import AuthenticatorData, CollectedClientData

from accounts.factors import matching_step, passkey_origin
from accounts.forms import NameField

WRONG_CODE = "This code does not fit. Wait for the next one, and check that the clock of your device is right."
WRONG_PASSKEY = "This passkey was not accepted. Try again, or choose another way."
# A registration is about 1 KB; one with a whole chain of certificates is a few.
LONGEST_CREDENTIAL = 16_000
_KEPT = ("id", "rawId", "type")


class AppCodeForm(forms.Form):
    """The first code of a new authenticator app, which shows that it works."""

    code = forms.CharField(
        max_length=20,
        help_text="The six digits that the app shows now.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}),
    )

    def __init__(self, *args: Any, secret: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.secret = secret
        # The half minute that the code is for, once it was found right.
        self.step = -1

    def clean(self) -> None:
        step = matching_step(self.secret, self.cleaned_data.get("code", ""))
        if step is not None:
            self.step = step
        elif "code" not in self.errors:
            self.add_error("code", WRONG_CODE)


class PasskeyNameForm(forms.Form):
    name = NameField(
        help_text="By which you know the device or password manager that has it.",
        widget=forms.TextInput(attrs={"placeholder": "Work laptop", "autocomplete": "off", "autofocus": True}),
    )


class _WriteOnlyInput(forms.HiddenInput):
    """A field that only a script fills in: a page that is shown again has a challenge of its own, and asks anew."""

    def format_value(self, value: Any) -> None:  # noqa: ARG002 - the signature is Django's
        return None


class CredentialField(forms.JSONField):
    """What a browser's passkey answered, as WebAuthn Level 3 §5.1 writes it in JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=_WriteOnlyInput, error_messages={"required": WRONG_PASSKEY}, **kwargs)

    def to_python(self, value: Any) -> dict[str, Any]:  # type: ignore[override] # the stubs take JSON for a text
        if value and len(str(value)) > LONGEST_CREDENTIAL:
            raise ValidationError(WRONG_PASSKEY)
        answer = super().to_python(value)
        if answer is not None and not isinstance(answer, dict):
            raise ValidationError(WRONG_PASSKEY)
        return answer or {}


class AddPasskeyForm(PasskeyNameForm):
    credential = CredentialField()

    def clean_credential(self) -> dict[str, Any]:
        """Return of a registration what later sign-ins are checked against, and nothing else that was sent."""
        credential = self.cleaned_data["credential"]
        try:
            parsed = auth.parse_registration_response(credential)
            _require_our_origin(parsed.response.client_data)
            auth.complete_registration(credential)
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
            raise ValidationError(WRONG_PASSKEY) from error
        return _as_kept(credential)

    def clean(self) -> None:
        if "credential" in self.errors:
            # Its field is hidden, so what is wrong with it is said of the form.
            self.add_error(None, WRONG_PASSKEY)


class UsePasskeyForm(allauth_forms.AuthenticateWebAuthnForm):  # type: ignore[misc] # allauth is not typed
    """The second step of a sign-in, by passkey."""

    credential = CredentialField()

    def clean_credential(self) -> Authenticator:
        try:
            parsed = auth.parse_authentication_response(self.cleaned_data["credential"])
            _require_our_origin(parsed.response.client_data)
            if self.passwordless:
                _require_verified_user(parsed.response.authenticator_data)
            return super().clean_credential()
        except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
            self._note_failure()
            raise ValidationError(_sentence(error)) from error

    def _note_failure(self) -> None:
        if self.user is not None:
            signals.authentication_failed.send(sender=Authenticator, user=self.user, authenticator=None)


class PasskeySignInForm(UsePasskeyForm):
    """A sign-in by passkey alone; whose it is, the passkey says."""

    passwordless = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, user=None, **kwargs)


class ConfirmByPasskeyForm(UsePasskeyForm):
    """Who is signed in shows that it is still them."""

    reauthenticated = True


def _require_our_origin(client_data: CollectedClientData) -> None:
    """Refuse what was made on another page, whatever its browser or a proxy called us (WebAuthn Level 3 §13.4.9)."""
    if client_data.origin != passkey_origin() or client_data.cross_origin:
        raise ValueError("a passkey was used on another page")


def _require_verified_user(data: AuthenticatorData) -> None:
    """Refuse whoever did not show that the passkey is theirs, where it is all that is asked for.

    It is asked of the answer itself: the challenge may be a second step's, which asks for less.
    """
    if not data.is_user_verified():
        raise ValueError("a passkey was used by nobody in particular")


def _sentence(error: Exception) -> str:
    """Return what to say of a refusal: that there were too many has to be said, why one was refused has not."""
    is_limit = isinstance(error, ValidationError) and error.code == "too_many_login_attempts"
    return error.messages[0] if is_limit and isinstance(error, ValidationError) else WRONG_PASSKEY


def _as_kept(credential: dict[str, Any]) -> dict[str, Any]:
    response, results = credential["response"], credential.get("clientExtensionResults") or {}
    properties = results.get("credProps") if isinstance(results, dict) else None
    is_discoverable = properties.get("rk") if isinstance(properties, dict) else None
    return {name: credential[name] for name in _KEPT} | {
        "response": {name: response[name] for name in ("clientDataJSON", "attestationObject")},
        "clientExtensionResults": {"credProps": {"rk": is_discoverable is True}},
    }
