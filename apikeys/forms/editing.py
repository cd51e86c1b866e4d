"""What people fill in to narrow a key."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict

from apikeys import limits as limiting
from apikeys import origins
from apikeys.actions import KeyChange, WideningRefused
from apikeys.forms.fields import (
    LIMITS,
    LimitField,
    LinesField,
    PermissionGroup,
    permission_groups,
)
from apikeys.models import ApiKey
from apikeys.networks import MAX_NETWORKS
from apikeys.networks import parse as parse_network
from apikeys.permissions import ALL
from apikeys.rules import rules_of
from audit.forms import FIRST_DAY, LAST_DAY
from keyportal import names


class EditKeyForm(forms.Form):
    """A key as it is, to be made less. What it may not become is refused by the action, which knows its row now."""

    name = forms.CharField(max_length=names.MAX_LENGTH, validators=[names.validate_plain])
    permissions = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    expires_on = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
    )
    allowed_origins = LinesField(origins.parse, most=origins.MAX_ORIGINS)
    networks = LinesField(parse_network, most=MAX_NETWORKS)
    per_second, per_minute, per_day = LimitField(), LimitField(), LimitField()

    def __init__(self, data: QueryDict | None = None, *, api_key: ApiKey) -> None:
        super().__init__(data, initial=_as_typed(api_key))
        self.api_key = api_key
        self.catalogue = rules_of(api_key.organization_id).catalogue
        choices = [(name, name) for name in (*self.catalogue.by_name, ALL)]
        cast(forms.MultipleChoiceField, self.fields["permissions"]).choices = choices
        del self.fields["permissions" if self.is_publishable else "allowed_origins"]

    @property
    def is_publishable(self) -> bool:
        return self.api_key.kind == ApiKey.Kind.PUBLISHABLE

    @property
    def has_limits(self) -> bool:
        """Whether there is something to be seen in them."""
        return any(self[name].value() or self[name].errors for name in (*LIMITS, "networks"))

    def groups(self) -> list[PermissionGroup]:
        """Return the catalogue, all of it: what the key does not have leads to a successor."""
        checked = set(self["permissions"].value() or [])
        return permission_groups(self.catalogue, checked, {*self.catalogue.by_name, ALL})

    def clean(self) -> None:
        if not self.is_publishable and not self.cleaned_data.get("permissions"):
            self.add_error("permissions", "Leave at least one permission, or revoke the key.")
        try:
            limiting.checked(*(self.cleaned_data.get(name) for name in LIMITS))
        except limiting.InvalidLimits as error:
            self.add_error(error.field, error.message)

    def field_of(self, refused: WideningRefused) -> str:
        """Return the field of this form in which more was asked for than there is."""
        return "expires_on" if refused.field == "expires_at" else refused.field

    def change(self) -> KeyChange:
        """Return what was asked for, and nothing of what was left as it was; the form must be valid."""
        data = self.cleaned_data
        changed = set(self.changed_data)
        last_day: date | None = data["expires_on"] if "expires_on" in changed else None
        return KeyChange(
            name=data["name"],
            permissions=data.get("permissions") if "permissions" in changed else None,
            expires_at=datetime.combine(last_day, time.min, UTC) + timedelta(days=1) if last_day else None,
            never_expires="expires_on" in changed and last_day is None,
            networks=data["networks"] if "networks" in changed else None,
            allowed_origins=data.get("allowed_origins") if "allowed_origins" in changed else None,
            limits=limiting.Limits(*(data[name] for name in LIMITS)) if changed & set(LIMITS) else None,
        )


def _as_typed(api_key: ApiKey) -> dict[str, Any]:
    """Return a key's row as the form has it; the last day is the one before it ends, where it ends at midnight."""
    ends_at = api_key.expires_at
    return {
        "name": api_key.name,
        "permissions": api_key.permissions,
        "expires_on": (ends_at - timedelta(microseconds=1)).date() if ends_at else None,
        "allowed_origins": "\n".join(api_key.allowed_origins),
        "networks": "\n".join(api_key.networks),
        "per_second": api_key.per_second,
        "per_minute": api_key.per_minute,
        "per_day": api_key.per_day,
    }
