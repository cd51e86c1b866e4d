"""What people filter the audit log by."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from audit.events import TABLES
from audit.models import AuditEvent
from audit.paging import MalformedCursor, parse_id

# Beyond these, a day's end or a time zone leaves the range of Python's own dates.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9999, 12, 30)
# Longer patterns are refused by SQLite.
MAX_TEXT_LENGTH = 200


def table_choices() -> list[tuple[str, str]]:
    """Return the tables that apps have registered by now, under the names that people filter by."""
    return [("", "All tables"), *((table, table) for table in sorted(TABLES))]


class DayField(forms.DateField):
    """A day in UTC, as browsers send it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            input_formats=["%Y-%m-%d"],
            widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
            validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
            error_messages={"invalid": "Write the day as 2025-01-31."},
            **kwargs,
        )


class FilterForm(forms.Form):
    """The filters in the address. `before`, where an older page starts, is checked too, but is no field."""

    target_table = forms.ChoiceField(label="Table", required=False, choices=table_choices)
    action = forms.ChoiceField(
        label="Action", required=False, choices=[("", "All actions"), *AuditEvent.Action.choices]
    )
    actor = forms.CharField(label="Actor", required=False, max_length=MAX_TEXT_LENGTH)
    label = forms.CharField(label="Label", required=False, max_length=MAX_TEXT_LENGTH)

    before: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A class body cannot name these two: `from` is a keyword.
        self.fields["from"] = DayField(label="From")
        self.fields["to"] = DayField(label="To")

    def clean(self) -> None:
        first, last = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if first and last and first > last:
            self.add_error("to", "The last day is before the first.")
        if text := self.data.get("before", ""):
            try:
                self.before = parse_id(text)
            except MalformedCursor:
                self.add_error(None, "This page of the log does not exist. Start from the newest events.")

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, as the address spells them."""
        return {name: self.data[name] for name in self.fields if self.cleaned_data.get(name)}

    @property
    def conditions(self) -> dict[str, Any]:
        """The filters as `AuditEventQuerySet.matching` takes them: whole days in UTC, the last included."""
        values = dict(self.cleaned_data)
        first, last = values.pop("from"), values.pop("to")
        return {
            **values,
            "since": first and datetime.combine(first, time.min, UTC),
            "until": last and datetime.combine(last + timedelta(days=1), time.min, UTC),
        }
