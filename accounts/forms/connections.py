"""Which connected account is taken away."""

from typing import Any, cast

from allauth.socialaccount.models import SocialAccount
from django import forms

from accounts.models import User


class DisconnectForm(forms.Form):
    """One of a person's own connected accounts."""

    account = forms.ModelChoiceField(
        queryset=SocialAccount.objects.none(),
        error_messages={
            "required": "Choose the account to disconnect.",
            "invalid_choice": "This account is not connected any more.",
        },
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast("forms.ModelChoiceField[SocialAccount]", self.fields["account"])
        field.queryset = SocialAccount.objects.filter(user=user)
