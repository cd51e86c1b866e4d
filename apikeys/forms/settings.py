"""What a super admin lays down for the keys of an organization: its policy, its permissions."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast

from django import forms

from accounts.models import Project
from apikeys import networks, policing
from apikeys.actions import PolicyChange
from apikeys.models import Policy
from apikeys.permissions import Catalogue, Permission, Role
from apikeys.policing import GRACE, MAX_IN_SET, MAX_LIFETIME, MAX_SETS, MAX_UNUSED, Terms
from keyportal import names

SENTENCE_RULE = f"Write a sentence of at most {names.MAX_LENGTH} characters, and none that cannot be seen."
WHEN = [("date", "On a date"), ("now", "At once")]
POLICY_FIELDS = (
    "max_lifetime",
    "is_expiry_required",
    "team_issuers",
    "project_issuers",
    "never_together",
    "networks",
    "warn_unused_after",
    "disable_unused_after",
    "rotate_after",
)


class DaysField(forms.IntegerField):
    """A number of days; empty is no rule."""

    def __init__(self, most: int, **kwargs: Any) -> None:
        message = f"Give whole days, 1 to {most}, or leave it empty."
        super().__init__(
            required=False,
            min_value=1,
            max_value=most,
            widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
            error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), message),
            **kwargs,
        )


class LinesField(forms.CharField):
    """One thing a line; how it is written is the form's to check."""

    def __init__(self, placeholder: str, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "placeholder": placeholder, "spellcheck": "false", "class": "mono"})
        super().__init__(required=False, max_length=5000, widget=widget, **kwargs)


class PolicyForm(forms.Form):
    """The whole policy, and from when it holds for the keys that there are."""

    max_lifetime = DaysField(MAX_LIFETIME, label="Longest lifetime in days")
    is_expiry_required = forms.BooleanField(required=False, label="Every key must expire")
    team_issuers = forms.ChoiceField(choices=Policy.LEAST_ROLES[1:], label="Team keys are issued by a")
    project_issuers = forms.ChoiceField(choices=Policy.LEAST_ROLES, label="Project keys are issued by a")
    never_together = LinesField(
        "deployments:write, audit:read",
        label="Permissions that never go together",
        help_text="One set a line, separated by commas. No key may have all of a set; * counts as having all.",
    )
    networks = LinesField(
        "203.0.113.0/24", label="Networks that keys may come from", help_text="One a line. Empty is from everywhere."
    )
    warn_unused_after = DaysField(MAX_UNUSED, label="Warn after days without a use")
    disable_unused_after = DaysField(MAX_UNUSED, label="Disable after days without a use")
    rotate_after = DaysField(MAX_UNUSED, label="Recommend rotation after days")
    existing = forms.ChoiceField(
        choices=WHEN, widget=forms.RadioSelect, initial="date", label="Keys that break a new rule stop"
    )
    existing_on = forms.DateField(
        required=False,
        label="Last day on which they work",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, terms: Terms, catalogue: Catalogue, at: datetime, **kwargs: Any) -> None:
        initial = {
            **{name: getattr(terms, name) for name in POLICY_FIELDS},
            "never_together": "\n".join(", ".join(permissions) for permissions in terms.never_together),
            "networks": "\n".join(terms.networks),
            "existing_on": (at + GRACE).date(),
        }
        super().__init__(*args, **kwargs | {"initial": initial | (kwargs.get("initial") or {})})
        self.terms, self.catalogue, self.at = terms, catalogue, at

    def clean_never_together(self) -> tuple[tuple[str, ...], ...]:
        sets = [re.split(r"[\s,]+", line.strip(" ,")) for line in _lines(self.cleaned_data["never_together"])]
        unknown = self.catalogue.unknown(name for permissions in sets for name in permissions)
        if not self.terms.named.issuperset(unknown) or any("*" in permissions for permissions in sets):
            raise forms.ValidationError("Write names of permissions as the list of permissions has them.")
        if any(not 2 <= len(set(permissions)) <= MAX_IN_SET for permissions in sets):
            raise forms.ValidationError(f"A set has at least 2 permissions and at most {MAX_IN_SET}.")
        if len(sets) > MAX_SETS:
            raise forms.ValidationError(f"There are at most {MAX_SETS} sets.")
        return policing.normal_sets(sets)

    def clean_networks(self) -> tuple[str, ...]:
        lines = _lines(self.cleaned_data["networks"])
        if len(lines) > networks.MAX_NETWORKS:
            raise forms.ValidationError(f"There are at most {networks.MAX_NETWORKS} networks.")
        try:
            return tuple(dict.fromkeys(networks.parse(line) for line in lines))
        except networks.NotANetwork as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> None:
        if self.cleaned_data.get("existing") != "date" or "existing_on" not in self.cleaned_data:
            return
        last_day, today = self.cleaned_data["existing_on"], self.at.date()
        latest = today + timedelta(days=MAX_LIFETIME)
        if last_day is None or not today <= last_day <= latest:
            self.add_error("existing_on", f"Choose a day from today to {latest.isoformat()}.")

    def changes(self) -> PolicyChange:
        """Return the policy as it was filled in; the form must be valid."""
        return cast(PolicyChange, {name: self.cleaned_data[name] for name in POLICY_FIELDS})

    def existing_from(self) -> datetime:
        """Return from when existing keys have to meet it: the end of a day (UTC), or now."""
        if self.cleaned_data["existing"] == "now":
            return self.at
        return datetime.combine(self.cleaned_data["existing_on"], time.min, UTC) + timedelta(days=1)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _validate_sentence(text: str) -> None:
    if broken := names.broken_rule(text, SENTENCE_RULE):
        raise forms.ValidationError(broken)


class PermissionForm(forms.Form):
    """A permission of the organization's own; its name stays what it is once keys have it."""

    name = forms.CharField(
        max_length=81,
        widget=forms.TextInput(attrs={"placeholder": "invoices:read", "autocomplete": "off", "spellcheck": "false"}),
        help_text="resource:action, in lower-case letters, digits, _ and -.",
    )
    sentence = forms.CharField(
        validators=[_validate_sentence],
        label="What it lets a key do",
        widget=forms.TextInput(attrs={"placeholder": "See invoices and their lines."}),
    )
    least_role = forms.ChoiceField(
        choices=Policy.LEAST_ROLES, label="Who may grant it, at least", widget=forms.RadioSelect, initial="developer"
    )
    is_published = forms.BooleanField(required=False, label="New publishable keys get it")

    def __init__(self, *args: Any, entry: Permission | None = None, **kwargs: Any) -> None:
        shown = {"sentence": entry.sentence, "least_role": entry.least_role.value} if entry else {}
        super().__init__(*args, **kwargs | {"initial": shown})
        self.entry = entry
        if entry:
            del self.fields["name"], self.fields["is_published"]

    def permission(self) -> Permission:
        """Return what was filled in; the form must be valid."""
        data = self.cleaned_data
        return Permission(self.entry.name if self.entry else data["name"], data["sentence"], Role(data["least_role"]))


class PublishableForm(forms.Form):
    """What publishable keys get."""

    permissions = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, catalogue: Catalogue, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"initial": {"permissions": sorted(catalogue.publishable)}})
        self.catalogue = catalogue
        field = cast(forms.MultipleChoiceField, self.fields["permissions"])
        field.choices = [(entry.name, entry.name) for entry in catalogue.may_be_publishable]

    def entries(self) -> Sequence[tuple[Permission, bool]]:
        """Return what may be published, each with whether it is chosen."""
        chosen: Collection[str] = self["permissions"].value() or ()
        return [(entry, entry.name in chosen) for entry in self.catalogue.may_be_publishable]


class EnvironmentsForm(forms.Form):
    """Keys of which environments a project accepts."""

    environments = forms.ChoiceField(
        choices=Project.Environments.choices, widget=forms.RadioSelect, label="Keys that it accepts"
    )
