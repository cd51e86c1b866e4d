"""What people fill in to issue a key."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project, Role, Team
from accounts.principals import Principal
from apikeys import permissions as roles
from apikeys import shapes
from apikeys.actions import MAX_EXPIRES_IN_DAYS
from apikeys.models import ApiKey
from apikeys.permissions import ALL
from apikeys.rules import rules_of
from keyportal import names

PRESETS = ("30", "90", "180", "365")
EXPIRIES = [*((days, f"{days} days") for days in PRESETS), ("date", "On a date"), ("never", "Never")]


def _validate_no_key(name: str) -> None:
    if shapes.holds_key(name):
        raise forms.ValidationError(shapes.KEY_AS_NAME)


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


class ProjectField(forms.ModelChoiceField):  # type: ignore[type-arg] # not generic where it runs
    """Projects by their team: two teams may each have one called Website."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.team.name} / {obj.name}"


class IssueKeyForm(forms.Form):
    """A new key. Offers the scopes that this person may issue (T4), and nothing preselected but 90 days and live."""

    # Names this form, so that sending it twice issues one key and not two.
    issue_id = forms.UUIDField(widget=forms.HiddenInput)
    name = forms.CharField(max_length=names.MAX_LENGTH, validators=[names.validate_plain, _validate_no_key])
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
    expires_on = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))

    def __init__(self, *args: Any, principal: Principal, at: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.principal, self.at = principal, at
        self.catalogue = rules_of(principal.organization_id).catalogue
        names = [(name, name) for name in (*self.catalogue.by_name, ALL)]
        cast(forms.MultipleChoiceField, self.fields["permissions"]).choices = names
        teams = Team.objects.administered_by(principal).by_name()
        projects = Project.objects.visible_to(principal).select_related("team").by_name()
        self._offer("team", teams)
        self._offer("project", projects)
        scopes = {"org": principal.is_super_admin, "team": teams.exists(), "project": projects.exists()}
        self.scopes = [scope for scope, may_issue in scopes.items() if may_issue]
        offered = [(scope.value, scope.label) for scope in ApiKey.Scope if scope.value in self.scopes]
        cast(forms.ChoiceField, self.fields["scope"]).choices = offered
        if len(self.scopes) == 1:
            self.initial.setdefault("scope", self.scopes[0])
        self.initial.setdefault("issue_id", uuid7())

    def _offer(self, name: str, rows: Any) -> None:
        cast("forms.ModelChoiceField[Any]", self.fields[name]).queryset = rows

    def clean(self) -> None:
        scope = self.cleaned_data.get("scope")
        if scope in {"team", "project"} and not self.errors.get(scope) and not self.cleaned_data.get(scope):
            self.add_error(scope, f"Choose the {scope} that the key is for.")
        if self.cleaned_data.get("expiry") == "date" and "expires_on" in self.cleaned_data:
            self._clean_date(self.cleaned_data["expires_on"])

    def _clean_date(self, last_day: date | None) -> None:
        latest = (self.at + timedelta(days=MAX_EXPIRES_IN_DAYS)).date() - timedelta(days=1)
        if last_day is None:
            self.add_error("expires_on", "Choose the last day on which the key works.")
        elif not self.at.date() <= last_day <= latest:
            self.add_error("expires_on", f"Choose a day from today to {latest.isoformat()}.")

    def place(self, organization: Organization) -> Organization | Team | Project:
        """Return what the key is for; the form must be valid."""
        chosen = self.cleaned_data.get(self.cleaned_data["scope"])
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

    def groups(self) -> list[PermissionGroup]:
        """Return the catalogue for the form, with what this person may grant somewhere; `*` comes last."""
        checked = set(self["permissions"].value() or [])
        grantable = self.catalogue.grantable(self._greatest_role()) | {ALL}
        groups = [
            PermissionGroup(group.resource, group.title, [_choice(p, checked, grantable) for p in group.permissions])
            for group in self.catalogue.by_resource()
        ]
        everything = PermissionChoice(
            ALL,
            "Whatever your role allows when the key is used, now and later. Prefer the list.",
            ALL in checked,
            True,
            "",
        )
        return [*groups, PermissionGroup(ALL, "Everything", [everything])]

    def _greatest_role(self) -> roles.Role | None:
        if self.principal.is_super_admin:
            return roles.Role.SUPER_ADMIN
        return max((roles.Role(role) for role in self.principal.team_roles.values()), default=None)

    def sentence(self, organization: Organization) -> str:
        """Say in words what the key could do as the form stands, filled in wrongly or not at all included."""
        self.full_clean()
        data = self.cleaned_data
        scope = data.get("scope") or ""
        place = organization if scope == "org" else data.get(scope)
        ends_at = self.expires_at()
        return self.catalogue.describe(
            permissions=data.get("permissions") or [],
            scope=scope,
            scope_title=str(place or ""),
            environment=data.get("environment") or "",
            expires_phrase=f"until {ends_at:%-d %B %Y}" if ends_at else _without_end(data.get("expiry")),
        )


def _choice(entry: roles.Permission, checked: set[str], grantable: Collection[str]) -> PermissionChoice:
    is_grantable = entry.name in grantable
    role = "" if is_grantable else Role(entry.least_role.value).label.lower()
    return PermissionChoice(entry.name, entry.sentence, entry.name in checked and is_grantable, is_grantable, role)


def _without_end(expiry: str | None) -> str:
    return "with no expiry" if expiry == "never" else ""
