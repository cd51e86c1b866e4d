"""What people fill in about themselves, teams, projects and invitations."""

from typing import Any, cast

from allauth.account import forms as account
from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import Team, TeamMembership, TeamQuerySet, User
from accounts.passwords import MAX_LENGTH
from keyportal import names


class PasswordField(forms.CharField):
    """A new password, with the browser's password manager invited."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(
            strip=False,
            max_length=MAX_LENGTH,
            widget=widget,
            help_text="At least 15 characters. A short sentence works well.",
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


class ResetPasswordForm(account.ResetPasswordForm):  # type: ignore[misc] # allauth is not typed
    """Whoever signs in through a provider has no password here that a link could reset."""

    users: list[User]

    def clean_email(self) -> str:
        email: str = super().clean_email()
        self.users = [user for user in self.users if user.has_usable_password()]
        return email


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
