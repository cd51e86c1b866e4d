"""The confirmation that ends a key."""

from typing import Any

from django import forms

from apikeys.forms.fields import validate_no_key
from apikeys.models import ApiKey
from keyportal import names


class WayBackForm(forms.Form):
    """A confirmation that asks for nothing; it knows where to go after it."""

    next = forms.CharField(required=False, widget=forms.HiddenInput)


class RevokeKeyForm(WayBackForm):
    """The one confirmation; the name is asked for only where something ran on the key in the last day."""

    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Reason (for the record)",
        validators=[validate_no_key],
        widget=forms.TextInput(attrs={"placeholder": "Left in a public repository", "autocomplete": "off"}),
    )
    name = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))

    def __init__(self, *args: Any, api_key: ApiKey, is_used_recently: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.api_key = api_key
        if is_used_recently:
            self.fields["name"].label = f"Type {api_key.name} to confirm"
        else:
            del self.fields["name"]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if names.folded(name) != names.folded(self.api_key.name):
            raise forms.ValidationError(f"Type the name as it is written: {self.api_key.name}")
        return name
