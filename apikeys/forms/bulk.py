"""The confirmation that ends many keys at once."""

from typing import Any

from django import forms

from apikeys.actions import BulkAction, SelectionChanged
from apikeys.forms.fields import validate_no_key
from apikeys.selecting import Selection

ACTIONS = [
    (BulkAction.DISABLE.value, "Disable: refused until someone enables them again, one by one"),
    (BulkAction.REVOKE.value, "Revoke: refused for good"),
]


class BulkForm(forms.Form):
    """What to do with the keys of a preview, why, and how many they are, typed by whoever does it."""

    action = forms.ChoiceField(
        choices=ACTIONS, widget=forms.RadioSelect, error_messages={"required": "Choose one of the two."}
    )
    reason = forms.CharField(
        max_length=200,
        label="Reason (for the record)",
        validators=[validate_no_key],
        widget=forms.TextInput(attrs={"placeholder": "Dana has left", "autocomplete": "off"}),
    )
    count = forms.IntegerField(widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}))

    def __init__(self, data: Any, *, selection: Selection) -> None:
        super().__init__(data)
        self.selection = selection
        self.fields["count"].label = f"Type {selection.count} to confirm"

    def clean_count(self) -> int:
        count: int = self.cleaned_data["count"]
        if count != self.selection.count:
            raise forms.ValidationError(f"Type the number of keys: {self.selection.count}")
        return count

    def clean(self) -> None:
        if self.data.get("digest") != self.selection.digest:
            # How many there were is no confirmation of those there are.
            self.errors.pop("count", None)
            self.data = {name: self.data.get(name, "") for name in ("action", "reason")}
            self.add_error(None, SelectionChanged.sentence)
