"""What an address asks of a list of keys. Pages, the API, the export and bulk operations all read it here."""

import ipaddress
import re
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode

from accounts.models import Project, ServiceAccount, Team
from accounts.principals import Principal
from apikeys.filters import STATES, KeyFilter
from apikeys.models import ApiKey
from apikeys.permissions import ALL, Catalogue
from audit.forms import FIRST_DAY, LAST_DAY

MAX_TEXT = 100
MAX_DAYS = 3650
NO_ACCOUNT = "none"
_EMAIL = re.compile(r"[^@\s\x00]+@[^@\s\x00]+")
_PERMISSION = re.compile(r"[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*|\*")
_EARLIEST, _LATEST = (datetime.combine(day, time.min, UTC) for day in (FIRST_DAY, LAST_DAY))


class MomentField(forms.CharField):
    """A day in UTC, or a moment in ISO 8601 with its zone. A day that is the last one counts whole."""

    def __init__(self, *, is_last: bool = False, **kwargs: Any) -> None:
        super().__init__(
            required=False, max_length=40, widget=forms.DateInput(attrs={"type": "date"}), empty_value=None, **kwargs
        )
        self.is_last = is_last

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        moment = self._moment(text) if text else None
        if moment and not _EARLIEST <= moment <= _LATEST:
            raise ValidationError("This is out of range.")
        return moment

    def _moment(self, text: str) -> datetime:
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
                day = datetime.combine(datetime.strptime(text, "%Y-%m-%d").date(), time.min, UTC)  # noqa: DTZ007 - a day is one in UTC
                return day + timedelta(days=1) if self.is_last else day
            moment = parse_datetime(text)
            if moment and moment.tzinfo:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValidationError("Write a day as 2026-01-31, or a time as 2026-01-31T12:00:00Z.")


class SearchField(forms.CharField):
    """What someone looks for, who is never told that it cannot be looked for."""

    def to_python(self, value: Any) -> str:
        return str(value or "").replace("\x00", "").strip()[:MAX_TEXT]


class IssuerField(forms.CharField):
    """A person's email address or id."""

    def clean(self, value: Any) -> UUID | str | None:
        text: str = super().clean(value)
        if not text:
            return None
        if _EMAIL.fullmatch(text):
            return text
        try:
            return UUID(text)
        except ValueError as error:
            raise ValidationError("Write the issuer's email address or id.") from error


class AccountField(forms.CharField):
    """A service account's id, or that there is none."""

    def clean(self, value: Any) -> UUID | str | None:
        text: str = super().clean(value)
        if text in {"", NO_ACCOUNT}:
            return text or None
        try:
            return UUID(text)
        except ValueError as error:
            raise ValidationError("Write the service account's id, or none.") from error


class NetworkField(forms.CharField):
    """An address, or a network in CIDR notation."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return str(ipaddress.ip_network(text, strict=False)) if text else ""
        except ValueError as error:
            raise ValidationError("Write an address or a network, as 203.0.113.7 or 203.0.113.0/24.") from error


class KeyFilterForm(forms.Form):
    """All that a list of keys can be filtered by. `filter` is what came of it."""

    q = SearchField(required=False, label="Search")
    state = forms.ChoiceField(required=False, choices=[(state, state.capitalize()) for state in STATES])
    scope = forms.ChoiceField(required=False, choices=[("", "Any scope"), *ApiKey.Scope.choices])
    team = forms.UUIDField(required=False, widget=forms.Select)
    project = forms.UUIDField(required=False, widget=forms.Select)
    issuer = IssuerField(required=False, max_length=254, widget=forms.TextInput(attrs={"placeholder": "Email address"}))
    service_account = AccountField(required=False, max_length=40, label="Service account", widget=forms.Select)
    permission = forms.RegexField(
        _PERMISSION,
        required=False,
        max_length=100,
        widget=forms.Select,
        error_messages={"invalid": "Write a permission as keys:read."},
    )
    label = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    created_from = MomentField(label="Created from")
    created_to = MomentField(label="Created until", is_last=True)
    used = forms.ChoiceField(required=False, label="Used", choices=[("", "Ever or never"), ("never", "Never")])
    used_from = MomentField(label="Last used from")
    used_to = MomentField(label="Last used until", is_last=True)
    unused_days = forms.IntegerField(required=False, label="Not used for days", min_value=1, max_value=MAX_DAYS)
    expires = forms.ChoiceField(required=False, label="Expires", choices=[("", "Ever or never"), ("never", "Never")])
    expires_from = MomentField(label="Expires from")
    expires_to = MomentField(label="Expires until", is_last=True)
    seen_from = NetworkField(
        required=False, max_length=60, widget=forms.TextInput(attrs={"placeholder": "203.0.113.0/24"})
    )

    use_required_attribute = False

    def clean(self) -> None:
        for name in ("created", "used", "expires"):
            first, last = self.cleaned_data.get(f"{name}_from"), self.cleaned_data.get(f"{name}_to")
            if first and last and first >= last:
                self.add_error(f"{name}_to", "The end is before the beginning.")

    @property
    def filter(self) -> KeyFilter:
        """What is asked for; the form has to be valid."""
        values = self.cleaned_data
        issuer, account = values["issuer"], values["service_account"]
        same = ("state", "scope", "permission", "label", "seen_from", "unused_days")
        times = [f"{name}_{end}" for name in ("created", "used", "expires") for end in ("from", "to")]
        return KeyFilter(
            text=values["q"],
            team_id=values["team"],
            project_id=values["project"],
            issuer_id=issuer if isinstance(issuer, UUID) else None,
            issuer_email=issuer if isinstance(issuer, str) else "",
            service_account_id=account if isinstance(account, UUID) else None,
            has_no_service_account=account == NO_ACCOUNT,
            is_never_used=values["used"] == "never",
            never_expires=values["expires"] == "never",
            **{name: values[name] for name in (*same, *times)},
        )

    @property
    def parameters(self) -> dict[str, str]:
        """What is asked for, as the address has it, for links that keep it."""
        return {name: str(self.data[name]) for name in self.fields if self.cleaned_data.get(name) and name != "state"}


# On a page


class KeyFilterBar(KeyFilterForm):
    """The same, with the choices that there are for who looks at the page."""

    def __init__(self, data: Any, *, principal: Principal, catalogue: Catalogue) -> None:
        super().__init__(data, auto_id="filter-%s")
        teams = Team.objects.visible_to(principal).by_name()
        projects = Project.objects.visible_to(principal).select_related("team").by_name()
        accounts = ServiceAccount.objects.visible_to(principal).select_related("team").by_name()
        self._names = {
            "team": [(str(team.pk), team.name) for team in teams],
            "project": [(str(project.pk), f"{project.team.name} / {project.name}") for project in projects],
            "service_account": [
                (NO_ACCOUNT, "None"),
                *((str(account.pk), f"{account.team.name} / {account.name}") for account in accounts),
            ],
            "permission": [(ALL, "* (all)"), *((entry.name, entry.name) for entry in catalogue.entries)],
        }
        for name, choices in self._names.items():
            widget = self.fields[name].widget
            if isinstance(widget, forms.Select):
                widget.choices = [("", f"Any {name.replace('_', ' ')}"), *choices]

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """What is set beside the search, in words, each with the query of the address that no longer has it."""
        parameters = self.parameters
        tab = {"tab": str(self.data["tab"])} if self.data.get("tab") else {}
        return [
            (
                str(self.fields[name].label or name.replace("_", " ").capitalize()),
                self._said(name, text),
                f"?{urlencode(tab | {other: value for other, value in parameters.items() if other != name})}",
            )
            for name, text in parameters.items()
            if name != "q"
        ]

    def _said(self, name: str, text: str) -> str:
        choices = self._names.get(name) or getattr(self.fields[name], "choices", [])
        return next((str(said) for value, said in choices if value == text), text)
