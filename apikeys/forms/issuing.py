"""What people fill in to issue a key."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, ServiceAccount, Team
from accounts.principals import Principal
from accounts.rights import Right, holds
from apikeys import limits as limiting
from apikeys import origins
from apikeys import permissions as roles
from apikeys.actions import MAX_EXPIRES_IN_DAYS
from apikeys.flows import SECRET, Flow
from apikeys.forms.fields import LIMITS, LimitField, LinesField, PermissionGroup, permission_groups
from apikeys.limits import Limits
from apikeys.models import ApiKey, Policy
from apikeys.networks import MAX_NETWORKS
from apikeys.networks import parse as parse_network
from apikeys.permissions import ALL
from apikeys.rules import rules_of
from keyportal import names

PRESETS = ("30", "90", "180", "365")
EXPIRIES = [*((days, f"{days} days") for days in PRESETS), ("date", "On a date"), ("never", "Never")]


class ProjectField(forms.ModelChoiceField):  # type: ignore[type-arg] # not generic where it runs
    """Projects by their team: two teams may each have one called Website."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.team.name} / {obj.name}"


class AccountField(forms.ModelChoiceField):  # type: ignore[type-arg] # not generic where it runs
    """Service accounts by their team."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.team.name} / {obj.name}"


class IssueKeyForm(forms.Form):
    """A new key. Offers the scopes that this person may issue (T4), and nothing preselected but 90 days and live.

    What a flow's page decides is no field of its form: a publishable key has no permissions to choose (S2), an
    organization's no place.
    """

    # Names this form, so that sending it twice issues one key and not two.
    issue_id = forms.UUIDField(widget=forms.HiddenInput)
    name = forms.CharField(max_length=names.MAX_LENGTH, validators=[names.validate_plain])
    scope = forms.ChoiceField(widget=forms.RadioSelect, error_messages={"required": "Choose a scope."})
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="Choose a team")
    project = ProjectField(Project.objects.none(), required=False, empty_label="Choose a project")
    environment = forms.ChoiceField(
        choices=ApiKey.Environment.choices, widget=forms.RadioSelect, initial=ApiKey.Environment.LIVE
    )
    permissions = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one permission."},
    )
    expiry = forms.ChoiceField(choices=EXPIRIES, widget=forms.RadioSelect, initial="90")
    service_account = AccountField(ServiceAccount.objects.none(), required=False)
    expires_on = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))

    allowed_origins = LinesField(origins.parse, most=origins.MAX_ORIGINS, placeholder="https://app.example.com")
    networks = LinesField(parse_network, most=MAX_NETWORKS, placeholder="203.0.113.0/24")
    per_second, per_minute, per_day = LimitField(), LimitField(), LimitField()

    def __init__(self, *args: Any, principal: Principal, at: datetime, flow: Flow = SECRET, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.principal, self.at, self.flow = principal, at, flow
        rules = rules_of(principal.organization_id)
        self.catalogue = rules.catalogue
        self._offer_expiries(rules.policy)
        names = [(name, name) for name in (*self.catalogue.by_name, ALL)]
        cast(forms.MultipleChoiceField, self.fields["permissions"]).choices = names
        teams = Team.objects.where(principal, Right.TEAM_KEYS_MANAGE).unarchived().by_name()
        projects = Project.objects.where(principal, Right.PROJECT_KEYS_ISSUE).unarchived()
        projects = projects.select_related("team").by_name()
        self._offer("team", teams)
        self._offer("project", projects)
        self._offer_accounts(principal)
        scopes = {
            "org": holds(principal, Right.ORGANIZATION_KEYS_MANAGE),
            "team": teams.exists(),
            "project": projects.exists(),
        }
        self.scopes = [scope for scope in flow.scopes if scopes[scope]]
        offered = [(scope.value, scope.label) for scope in ApiKey.Scope if scope.value in self.scopes]
        cast(forms.ChoiceField, self.fields["scope"]).choices = offered
        if len(self.scopes) == 1:
            self.initial.setdefault("scope", self.scopes[0])
        self._preselect("team", teams)
        self._preselect("project", projects)
        self._leave_to_the_flow()
        self.initial.setdefault("issue_id", uuid7())

    def _offer_expiries(self, policy: Policy) -> None:
        """Offer no end that the organization's policy would refuse, and preselect the longest up to 90 days."""
        most = policy.max_lifetime or MAX_EXPIRES_IN_DAYS
        is_bound = bool(policy.max_lifetime or policy.is_expiry_required)
        presets = [days for days in PRESETS if int(days) <= most]
        offered = [
            (value, title)
            for value, title in EXPIRIES
            if value in {*presets, "date"} or (value, is_bound) == ("never", False)
        ]
        cast(forms.ChoiceField, self.fields["expiry"]).choices = offered
        self.fields["expiry"].initial = next((days for days in reversed(presets) if int(days) <= 90), "date")

    def _offer(self, name: str, rows: Any) -> None:
        cast("forms.ModelChoiceField[Any]", self.fields[name]).queryset = rows

    def _offer_accounts(self, principal: Principal) -> None:
        """Ask for whom the key acts, if there is anyone to choose besides oneself."""
        accounts = ServiceAccount.objects.usable_by(principal).by_name()
        if self.flow.scope == ApiKey.Scope.ORG or not accounts:
            del self.fields["service_account"]
            return
        self._offer("service_account", accounts)
        field = cast("forms.ModelChoiceField[ServiceAccount]", self.fields["service_account"])
        field.empty_label = f"You ({principal.user_label})"

    def _preselect(self, name: str, rows: Any) -> None:
        """Choose what there is only one of."""
        only = list(rows[:2])
        if len(only) == 1:
            self.initial.setdefault(name, only[0].pk)

    def _leave_to_the_flow(self) -> None:
        """Take out what the page has decided, and what its keys do not have."""
        decided = {"team", "project"} - set(self.flow.scopes)
        if self.flow.scope:
            decided.add("scope")
        decided.add("permissions" if self.flow.is_publishable else "allowed_origins")
        for name in decided:
            del self.fields[name]

    @property
    def chosen_scope(self) -> str:
        """The scope that the key will have; empty while none is chosen."""
        return self.flow.scope or self.cleaned_data.get("scope") or ""

    @property
    def granted(self) -> list[str]:
        """What the key will be given: what was chosen, or the organization's locked set (S2)."""
        if self.flow.is_publishable:
            return sorted(self.catalogue.publishable)
        return self.cleaned_data.get("permissions") or []

    def locked(self) -> list[roles.Permission]:
        """Return what every publishable key of the organization may do, to be shown and not chosen."""
        return [entry for entry in self.catalogue.entries if entry.name in self.catalogue.publishable]

    def clean(self) -> None:
        scope = self.chosen_scope
        if scope in {"team", "project"} and not self.errors.get(scope) and not self.cleaned_data.get(scope):
            self.add_error(scope, f"Choose the {scope} that the key is for.")
        if self.cleaned_data.get("expiry") == "date" and "expires_on" in self.cleaned_data:
            self._clean_date(self.cleaned_data["expires_on"])
        try:
            self.limits()
        except limiting.InvalidLimits as error:
            self.add_error(error.field, error.message)

    def _clean_date(self, last_day: date | None) -> None:
        latest = (self.at + timedelta(days=MAX_EXPIRES_IN_DAYS)).date() - timedelta(days=1)
        if last_day is None:
            self.add_error("expires_on", "Choose the last day on which the key works.")
        elif not self.at.date() <= last_day <= latest:
            self.add_error("expires_on", f"Choose a day from today to {latest.isoformat()}.")

    def place(self, organization: Organization) -> Organization | Team | Project:
        """Return what the key is for; the form must be valid."""
        chosen = self.cleaned_data.get(self.chosen_scope)
        return chosen if isinstance(chosen, Team | Project) else organization

    def expires_at(self) -> datetime | None:
        """Return when the key ends: so many days from now, at the end of a day (UTC), or never."""
        expiry = self.cleaned_data.get("expiry")
        if expiry in PRESETS:
            return self.at + timedelta(days=int(expiry))
        last_day = self.cleaned_data.get("expires_on")
        if expiry == "date" and last_day:
            return datetime.combine(last_day, time.min, UTC) + timedelta(days=1)
        return None

    def limits(self) -> Limits | None:
        """Return how many requests the key may make.

        :raises InvalidLimits: if a longer time allows fewer than a shorter one, which a valid form never does.
        """
        return limiting.checked(*(self.cleaned_data.get(name) for name in LIMITS))

    @property
    def has_limits(self) -> bool:
        """Whether there is something to be seen in them."""
        return any(self[name].value() or self[name].errors for name in (*LIMITS, "networks"))

    def groups(self) -> list[PermissionGroup]:
        """Return the catalogue for the form, with what this person may grant somewhere; `*` comes last."""
        if self.flow.is_publishable:
            return []
        checked = set(self["permissions"].value() or [])
        return permission_groups(self.catalogue, checked, self.catalogue.grantable(self._greatest_role()) | {ALL})

    def _greatest_role(self) -> roles.Role | None:
        held = [self.principal.role_in(team_id) for team_id in (None, *self.principal.team_roles)]
        return max((roles.Role(role) for role in held if role), default=None)

    def sentence(self, organization: Organization) -> str:
        """Say in words what the key could do as the form stands, filled in wrongly or not at all included."""
        self.full_clean()
        data, scope = self.cleaned_data, self.chosen_scope
        place = organization if scope == "org" else data.get(scope)
        ends_at = self.expires_at()
        account: ServiceAccount | None = data.get("service_account")
        # Of a key that acts for an account, no more is true than the account's role allows.
        said = self.catalogue.describe(
            permissions=self.catalogue.effective(self.granted, roles.Role(account.role)) if account else self.granted,
            scope=scope,
            scope_title=str(place or ""),
            environment=data.get("environment") or "",
            expires_phrase=f"until {ends_at:%-d %B %Y}" if ends_at else _without_end(data.get("expiry")),
        )
        return f"{said} Acts for {account}, not for you." if account else said


def _without_end(expiry: str | None) -> str:
    return "with no expiry" if expiry == "never" else ""
