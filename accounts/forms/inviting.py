"""What is filled in about people of an organization: whom to invite, and which of them to list."""

from django import forms

from accounts.roles import Role

# What people are invited as to the organization itself, the lesser one first.
ORGANIZATION_ROLES = [(role.value, role.label) for role in (Role.AUDITOR, Role.SUPER_ADMIN)]
# Longer patterns are refused by SQLite.
MAX_TEXT_LENGTH = 200


class OrganizationInvitationForm(forms.Form):
    """Nothing is preselected: what someone is in the whole organization is chosen, and never left as it was."""

    email = forms.EmailField(
        max_length=254, widget=forms.EmailInput(attrs={"placeholder": "ursula@example.com", "autofocus": True})
    )
    role = forms.ChoiceField(choices=ORGANIZATION_ROLES, widget=forms.RadioSelect)


class PeopleFilterForm(forms.Form):
    """The filters in the address; whatever else it says is left out of account."""

    q = forms.CharField(
        label="Name or address",
        required=False,
        max_length=MAX_TEXT_LENGTH,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(label="Role", required=False, choices=[("", "All roles"), *Role.choices])
