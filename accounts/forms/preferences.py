"""What mail a person wants."""

from django import forms

from accounts.models import User
from accounts.topics import Topic


class PreferencesForm(forms.Form):
    """One switch for each topic."""

    product_updates = forms.BooleanField(
        required=False, label=Topic.PRODUCT_UPDATES.title, help_text=Topic.PRODUCT_UPDATES.sentence
    )
    security_advisories = forms.BooleanField(
        required=False, label=Topic.SECURITY_ADVISORIES.title, help_text=Topic.SECURITY_ADVISORIES.sentence
    )
    tips = forms.BooleanField(required=False, label=Topic.TIPS.title, help_text=Topic.TIPS.sentence)

    @staticmethod
    def initial_of(user: User) -> dict[str, bool]:
        return {topic.slug: getattr(user, topic.field) for topic in Topic}

    def wanted(self) -> list[Topic]:
        return [topic for topic in Topic if self.cleaned_data[topic.slug]]
