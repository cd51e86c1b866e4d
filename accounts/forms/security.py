"""What a super admin lays down for the sign-in of an organization's people."""

from typing import Any, cast

from django import forms

from accounts.models import Organization, Team, TeamMembership
from accounts.security import ADMINS, ALL, MAX_DOMAINS, NOBODY, SecurityPolicy, normal_domain
from keyportal import names

SECURITY_FIELDS = ("require_social", "domains", "second_factor", "default_team")
SECOND_FACTORS = [(NOBODY, "Nobody"), (ADMINS, "Super admins and team admins"), (ALL, "Everyone")]
ROLES = [*reversed(TeamMembership.ROLES)]


class SecurityForm(forms.Form):
    """The whole policy, and the team that people of the organization's domains join."""

    require_social = forms.BooleanField(required=False, label="People sign in through a provider")
    domains = forms.CharField(
        required=False,
        max_length=20_000,
        label="Domains of sign-in addresses",
        help_text="One a line. The address has to be verified: by the provider, or here for a sign-in with a "
        "password or passkey. Empty is any.",
        widget=forms.Textarea(
            attrs={"rows": 3, "placeholder": "example.com", "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    second_factor = forms.ChoiceField(
        required=False, choices=SECOND_FACTORS, widget=forms.RadioSelect, label="Who needs a second factor"
    )
    default_team = forms.ModelChoiceField(
        Team.objects.none(),
        required=False,
        label="Team that people of your verified domains join",
        empty_label="None: they need an invitation",
        help_text="Those without an account who sign in through a provider become developers in it.",
    )

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        policy = SecurityPolicy.of(organization)
        initial = {
            "require_social": policy.require_social,
            "domains": "\n".join(policy.domains),
            "second_factor": policy.second_factor,
            "default_team": organization.default_team_id,
        }
        super().__init__(*args, **kwargs | {"initial": initial | (kwargs.get("initial") or {})})
        field = cast("forms.ModelChoiceField[Team]", self.fields["default_team"])
        field.queryset = _teams(organization)

    def clean_domains(self) -> tuple[str, ...]:
        lines = [line for line in self.cleaned_data["domains"].splitlines() if line.strip()]
        if len(lines) > MAX_DOMAINS:
            raise forms.ValidationError(f"There are at most {MAX_DOMAINS} domains.")
        return tuple(sorted({_domain(line) for line in lines}))

    def policy(self) -> SecurityPolicy:
        """Return the policy as it was filled in; the form must be valid."""
        data = self.cleaned_data
        return SecurityPolicy(
            require_social=data["require_social"], domains=data["domains"], second_factor=data["second_factor"]
        )


class DomainForm(forms.Form):
    """A mail domain that is the organization's own."""

    name = forms.CharField(
        max_length=253,
        label="Domain",
        widget=forms.TextInput(attrs={"placeholder": "example.com", "autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_name(self) -> str:
        return _domain(self.cleaned_data["name"])


class GroupForm(forms.Form):
    """What people of a group at a provider are in a team."""

    provider = forms.ChoiceField()
    group = forms.CharField(
        max_length=200,
        widget=forms.TextInput(
            attrs={"placeholder": "payments-engineers", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    team = forms.ModelChoiceField(Team.objects.none(), empty_label="Choose a team")
    role = forms.ChoiceField(choices=ROLES)

    def __init__(self, *args: Any, organization: Organization, providers: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["provider"]).choices = list(providers.items())
        cast("forms.ModelChoiceField[Team]", self.fields["team"]).queryset = _teams(organization)

    def clean_group(self) -> str:
        group: str = self.cleaned_data["group"]
        # A directory's names of groups are longer than names here, and no less to be seen whole.
        parts = [group[start : start + names.MAX_LENGTH] for start in range(0, len(group), names.MAX_LENGTH)]
        if broken := next(filter(None, map(names.broken_rule, parts)), ""):
            raise forms.ValidationError(broken)
        return group


def _teams(organization: Organization) -> Any:
    return Team.objects.filter(organization=organization, archived_at=None).by_name()


def _domain(text: str) -> str:
    try:
        return normal_domain(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
