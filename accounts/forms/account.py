"""What people fill in about their own account."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts import timezones
from accounts.models import User
from keyportal import names

ZONES_ID = "time-zones"


class TimeZoneField(forms.CharField):
    """A time zone by its name; the browser suggests those that match what is typed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(
            attrs={"list": ZONES_ID, "autocomplete": "off", "spellcheck": "false", "placeholder": timezones.UTC}
        )
        super().__init__(required=False, max_length=64, widget=widget, **kwargs)

    def clean(self, value: Any) -> str:
        """Return the name as the database of time zones writes it, in whatever case it was typed."""
        typed = super().clean(value).replace(" ", "_")
        known = {name.lower(): name for name in timezones.names()}
        if typed and typed.lower() not in known:
            raise ValidationError("There is no such time zone. Choose one from the list, such as Europe/Berlin.")
        return known[typed.lower()] if typed else ""


def _plain(**kwargs: Any) -> forms.CharField:
    return forms.CharField(required=False, max_length=names.MAX_LENGTH, validators=[names.validate_plain], **kwargs)


class ProfileForm(forms.Form):
    """Who a person is, in their own words."""

    name = _plain(widget=forms.TextInput(attrs={"autocomplete": "name"}))
    company = _plain(widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    job_title = _plain(label="Role", widget=forms.TextInput(attrs={"autocomplete": "organization-title"}))
    time_zone = TimeZoneField(help_text="In which pages tell you the time. The API and the audit log’s export say UTC.")


class EmailChangeForm(forms.Form):
    """The address that a person wants to have from now on."""

    new_email = forms.EmailField(
        max_length=254, label="New email", widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_new_email(self) -> str:
        email = str(self.cleaned_data["new_email"]).strip().lower()
        if email == self.user.email:
            raise ValidationError("This is your address already.")
        return email
