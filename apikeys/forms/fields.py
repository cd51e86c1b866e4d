"""The fields that forms about keys share, and the catalogue as they offer it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django import forms

from accounts.models import Role
from apikeys import limits as limiting
from apikeys import permissions as roles
from apikeys import shapes
from apikeys.limits import Limits
from apikeys.permissions import ALL, Catalogue
from keyportal.names import KEY_PASTED

LIMITS = Limits._fields


def validate_no_key(name: str) -> None:
    if shapes.holds_key(name):
        raise forms.ValidationError(KEY_PASTED)


@dataclass(frozen=True, slots=True)
class PermissionChoice:
    """A permission as the form offers it; `role` is who may grant it, where the person may not."""

    value: str
    sentence: str
    is_checked: bool
    is_grantable: bool
    role: str


@dataclass(frozen=True, slots=True)
class PermissionGroup:
    resource: str
    title: str
    choices: list[PermissionChoice]


class LimitField(forms.IntegerField):
    """How many requests; empty is as many as it likes."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            min_value=1,
            max_value=limiting.MAX_LIMIT,
            widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
            error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), limiting.OUT_OF_RANGE),
        )


class LinesField(forms.CharField):
    """Texts of one kind, one a line, each brought into its one form."""

    def __init__(self, parse: Callable[[str], str], *, most: int, rows: int = 3, placeholder: str = "") -> None:
        attributes = {"rows": rows, "placeholder": placeholder, "autocomplete": "off", "spellcheck": "false"}
        super().__init__(required=False, max_length=10_000, widget=forms.Textarea(attrs=attributes))
        self.parse, self.most = parse, most

    def clean(self, value: Any) -> list[str]:
        lines = [line for line in super().clean(value).splitlines() if line.strip()]
        if len(lines) > self.most:
            raise forms.ValidationError(f"There are at most {self.most} of them.")
        try:
            return list(dict.fromkeys(map(self.parse, lines)))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


def permission_groups(
    catalogue: Catalogue, checked: Collection[str], grantable: Collection[str]
) -> list[PermissionGroup]:
    """Return the catalogue as a form offers it; `*` comes last."""
    groups = [
        PermissionGroup(group.resource, group.title, [_choice(p, checked, grantable) for p in group.permissions])
        for group in catalogue.by_resource()
    ]
    sentence = "Whatever your role allows when the key is used, now and later. Prefer the list."
    everything = PermissionChoice(ALL, sentence, ALL in checked, ALL in grantable, "")
    return [*groups, PermissionGroup(ALL, "Everything", [everything])]


def _choice(entry: roles.Permission, checked: Collection[str], grantable: Collection[str]) -> PermissionChoice:
    is_grantable = entry.name in grantable
    role = "" if is_grantable else Role(entry.least_role.value).label.lower()
    return PermissionChoice(entry.name, entry.sentence, entry.name in checked and is_grantable, is_grantable, role)
