"""Why a key is rotated, and how long it works on."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from uuid_utils.compat import uuid7

from apikeys.actions.rotating import DEADLINE, SETTLE_SECONDS

REASONS = [
    ("routine", "Routine: both keys work for a time, so that nothing fails while you swap them"),
    ("leaked", "It leaked: the old key ends now, and whatever runs on it fails until it has the new one"),
]
SETTLE_TIMES = [("0", "At once"), (str(SETTLE_SECONDS), "1 hour later"), ("86400", "1 day later")]
DEADLINES = [("1", "In 1 day"), (str(DEADLINE.days), "In 7 days"), ("30", "In 30 days")]
EXTENSIONS = [("1", "1 day more"), ("7", "7 days more"), ("latest", "As long as possible")]


class RotateKeyForm(forms.Form):
    """A rotation. Asks for the reason, and offers none; the times are only for a routine one."""

    # Names this form, so that sending it twice shows no key that is replaced already.
    form_id = forms.UUIDField(widget=forms.HiddenInput)
    reason = forms.ChoiceField(
        choices=REASONS, widget=forms.RadioSelect, error_messages={"required": "Say why it is rotated."}
    )
    settle = forms.ChoiceField(choices=SETTLE_TIMES, widget=forms.RadioSelect, initial=str(SETTLE_SECONDS))
    deadline = forms.ChoiceField(choices=DEADLINES, widget=forms.RadioSelect, initial=str(DEADLINE.days))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("form_id", uuid7())

    @property
    def settle_seconds(self) -> int:
        return int(self.cleaned_data["settle"])

    @property
    def time_left(self) -> timedelta:
        return timedelta(days=int(self.cleaned_data["deadline"]))


class ExtendRotationForm(forms.Form):
    """How much longer a key works beside its successor."""

    by = forms.ChoiceField(
        choices=EXTENSIONS, widget=forms.RadioSelect, error_messages={"required": "Choose how much longer."}
    )
    next = forms.CharField(required=False, widget=forms.HiddenInput)

    def until(self, retires_at: datetime, *, latest: datetime) -> datetime:
        """Return until when the key shall work; the form must be valid."""
        by = self.cleaned_data["by"]
        return latest if by == "latest" else min(retires_at + timedelta(days=int(by)), latest)
