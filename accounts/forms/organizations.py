"""What an organization is called."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator

from accounts.forms import NameField
from accounts.models import Organization

SLUG_RULE = "Use 1 to 50 lower-case letters, digits and hyphens, with a letter or digit at both ends: northwind-labs."
INITIALS_RULE = "Write one or two letters or digits, or leave it empty."


class OrganizationForm(forms.Form):
    name = NameField(widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    slug = forms.CharField(
        max_length=50,
        help_text="What commands and addresses call it. Lower-case letters, digits and hyphens.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
        validators=[RegexValidator(r"\A[a-z0-9]+(?:-[a-z0-9]+)*\Z", SLUG_RULE)],
        error_messages={"max_length": SLUG_RULE},
    )
    logo_initials = forms.CharField(
        required=False,
        max_length=2,
        label="Initials",
        help_text="One or two letters that stand in place of a logo. Empty for the first letter of the name.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
        validators=[RegexValidator(r"\A[^\W_]{1,2}\Z", INITIALS_RULE)],
        error_messages={"max_length": INITIALS_RULE},
    )

    def __init__(self, data: Any, *, organization: Organization) -> None:
        fields = ("name", "slug", "logo_initials")
        super().__init__(data, initial={field: getattr(organization, field) for field in fields})

    def clean_logo_initials(self) -> str:
        return str(self.cleaned_data["logo_initials"]).upper()
