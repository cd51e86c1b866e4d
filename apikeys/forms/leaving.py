"""What an admin fills in about people who leave, and about service accounts that end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.forms.boundfield import BoundField

from accounts.models import OrganizationMembership, ServiceAccount, TeamMembership
from accounts.principals import Principal
from apikeys.forms.fields import validate_no_key
from apikeys.models import ApiKey
from apikeys.permissions import ALL
from keyportal import names


class StopServiceAccountForm(forms.Form):
    """The one confirmation, typed: there is no way back."""

    name = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))

    def __init__(self, *args: Any, account: ServiceAccount, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account
        self.fields["name"].label = f"Type {account.name} to confirm"

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if names.folded(name) != names.folded(self.account.name):
            raise forms.ValidationError(f"Type the name as it is written: {self.account.name}")
        return name


class TeamRoleForm(forms.Form):
    role = forms.ChoiceField(choices=[*reversed(TeamMembership.ROLES)], widget=forms.RadioSelect)


class OrganizationRoleForm(forms.Form):
    role = forms.ChoiceField(choices=[*reversed(OrganizationMembership.ROLES)], widget=forms.RadioSelect)


class ConfirmForm(forms.Form):
    """Nothing but the press of its button."""


class RevokeChosenForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Reason (for the record)",
        validators=[validate_no_key],
        widget=forms.TextInput(attrs={"placeholder": "Left the company", "autocomplete": "off"}),
    )


@dataclass(frozen=True, slots=True)
class HandOverLine:
    """A key of the form, with the field that chooses its account, or why there is none."""

    api_key: ApiKey
    field: BoundField | None
    obstacle: str


class HandOverForm(forms.Form):
    """For each key, a service account of its team, or nothing: then it stays as it is."""

    def __init__(self, *args: Any, principal: Principal, keys: Sequence[ApiKey], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys = keys
        self.accounts = {account.pk: account for account in ServiceAccount.objects.usable_by(principal).by_name()}
        for api_key in keys:
            self._offer(api_key)

    def _offer(self, api_key: ApiKey) -> None:
        of_team = [account for account in self.accounts.values() if account.team_id == api_key.place_team_id]
        if of_team and ALL not in api_key.permissions:
            self.fields[field_of(api_key)] = forms.TypedChoiceField(
                label=f"{api_key.name} acts for",
                required=False,
                coerce=UUID,
                empty_value=None,
                choices=[("", "Keep it as it is"), *((str(account.pk), account.name) for account in of_team)],
                initial=str(of_team[0].pk) if len(of_team) == 1 else "",
            )

    def clean(self) -> None:
        if not self.errors and not any(self.cleaned_data.values()):
            self.add_error(None, "Choose a service account for at least one key.")

    def lines(self) -> Iterator[HandOverLine]:
        for api_key in self.keys:
            name = field_of(api_key)
            yield HandOverLine(api_key, self[name] if name in self.fields else None, _obstacle(api_key))

    def chosen(self) -> Iterator[tuple[ApiKey, ServiceAccount]]:
        """Yield each key that is to be handed over, and to which account; the form must be valid."""
        for api_key in self.keys:
            if account_id := self.cleaned_data.get(field_of(api_key)):
                yield api_key, self.accounts[account_id]


def field_of(api_key: ApiKey) -> str:
    return f"account_{api_key.pk.hex}"


def _obstacle(api_key: ApiKey) -> str:
    """Say why a key has no account to choose from, if it has none."""
    if api_key.scope == ApiKey.Scope.ORG:
        return "An organization key cannot act for the account of a team. Revoke it, or keep it."
    if ALL in api_key.permissions:
        return "It may do whatever its issuer may (*). Issue a new key for the account, with the permissions it needs."
    return "Its team has no service account that can get keys. Create one first."
