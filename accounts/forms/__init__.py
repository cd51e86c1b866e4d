"""What people fill in about themselves, teams, projects and invitations."""

from typing import Any, cast

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import Project, Team, TeamMembership, TeamQuerySet, User
from accounts.passwords import MAX_LENGTH, hint
from keyportal import names


class PasswordField(forms.CharField):
    """A new password, with the browser's password manager invited."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(
            strip=False,
            max_length=MAX_LENGTH,
            widget=widget,
            help_text=hint(),
            **kwargs,
        )


class NameField(forms.CharField):
    """What an organization, a team, a project or a person is called."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=names.MAX_LENGTH, validators=[names.validate_plain], **kwargs)


class SetUpForm(forms.Form):
    organization_name = NameField(widget=forms.TextInput(attrs={"autocomplete": "organization", "autofocus": True}))
    email = forms.EmailField(max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    password = PasswordField()

    def clean(self) -> None:
        _check_password(self, User(email=self.cleaned_data.get("email", "")))


class RegisterForm(forms.Form):
    name = NameField(label="Your name", widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True}))
    password = PasswordField()

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email

    def clean(self) -> None:
        _check_password(self, User(email=self.email, name=self.cleaned_data.get("name", "")))


def _check_password(form: forms.Form, user: User) -> None:
    """Check a new password against the rules, among them that it is not the person's own name or address."""
    if "password" in form.errors:
        return
    try:
        validate_password(form.cleaned_data.get("password", ""), user=user)
    except ValidationError as error:
        form.add_error("password", error)


class TeamForm(forms.Form):
    name = NameField(widget=forms.TextInput(attrs={"placeholder": "Payments", "autofocus": True}))


class ProjectForm(forms.Form):
    name = NameField(widget=forms.TextInput(attrs={"placeholder": "Checkout service", "autofocus": True}))
    team = forms.ModelChoiceField(Team.objects.none(), empty_label="Choose a team")
    environments = forms.ChoiceField(
        required=False, choices=Project.Environments.choices, label="Keys that it accepts", initial="any"
    )

    def clean_environments(self) -> str:
        return self.cleaned_data["environments"] or Project.Environments.ANY.value

    def __init__(self, *args: Any, teams: TeamQuerySet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast("forms.ModelChoiceField[Team]", self.fields["team"])
        field.queryset = teams
        field.empty_label = None if len(teams) == 1 else field.empty_label


class InvitationForm(forms.Form):
    email = forms.EmailField(
        max_length=254, widget=forms.EmailInput(attrs={"placeholder": "dana@example.com", "autofocus": True})
    )
    role = forms.ChoiceField(choices=[*reversed(TeamMembership.ROLES)], widget=forms.RadioSelect, initial="developer")


class PersonField(forms.ModelChoiceField):  # type: ignore[type-arg] # not generic where it runs
    """One of the people of a team."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} ({obj.email})" if obj.name else str(obj.email)


class StewardForm(forms.Form):
    """What can be changed about a service account."""

    name = NameField(
        help_text="What it is for, such as the pipeline or the service that has its keys.",
        widget=forms.TextInput(attrs={"placeholder": "ci-deployer", "autofocus": True, "autocomplete": "off"}),
    )
    steward = PersonField(
        User.objects.none(),
        empty_label="Choose a member of the team",
        help_text="Answers for it. If they leave the team, its keys go on working, and it gets no new ones.",
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast("forms.ModelChoiceField[User]", self.fields["steward"])
        field.queryset = User.objects.filter(memberships__team_memberships__team=team, is_active=True).order_by("email")


class ServiceAccountForm(StewardForm):
    """A new service account."""

    role = forms.ChoiceField(
        choices=[*reversed(TeamMembership.ROLES)],
        widget=forms.RadioSelect,
        initial="developer",
        help_text="Its keys do at most what a person of this role may do in the team.",
    )

    field_order = ("name", "role", "steward")
