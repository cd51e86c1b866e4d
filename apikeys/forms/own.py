"""What people fill in about their own account where keys hang on it."""

from typing import Any

from django import forms

from accounts.models import User


class DeleteAccountForm(forms.Form):
    """The end of an account, confirmed by typing whose it is."""

    email = forms.CharField(
        max_length=254,
        label="Your email address",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    revoke_keys = forms.BooleanField(required=False)

    def __init__(self, *args: Any, user: User, key_count: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user, self.key_count = user, key_count
        if key_count:
            plural = "" if key_count == 1 else "s"
            self.fields["revoke_keys"].label = f"Revoke my {key_count} working key{plural} now, for good"
        else:
            del self.fields["revoke_keys"]

    def clean_email(self) -> str:
        typed: str = self.cleaned_data["email"].strip().lower()
        if typed != self.user.email:
            raise forms.ValidationError("Type the address of this account, as it stands above.")
        return typed
