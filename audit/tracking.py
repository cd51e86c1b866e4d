"""Watched models: every create, update and delete writes its audit row in the same transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.signals import post_save, pre_delete, pre_save

from audit import events
from audit.context import Place
from audit.signals import CREATE, DELETE, UPDATE, record
from audit.values import as_json

__all__ = ["MASK", "TRACKED", "Change", "ChangeOutsideTransaction", "Place", "UntrackableField", "change_many", "track"]

MASK = "•••"
M = TypeVar("M", bound=models.Model)
Row = models.Model | None
# Deleting what such a field points at changes it without a signal, behind the audit's back.
_SAFE_ON_DELETE = (models.CASCADE, models.PROTECT, models.RESTRICT)


class ChangeOutsideTransaction(RuntimeError):
    """A tracked row was about to change where its audit row could fail alone and leave the change behind."""


class UntrackableField(TypeError):
    """A field can change without its row being saved or deleted, so that its changes would go unseen."""


@dataclass(frozen=True, slots=True)
class Change:
    """A field before and after, as JSON holds it: None where there was or is no row, `•••` for a secret."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Tracked:
    """One watched model: which of its fields count, and what a row is called and where it belongs."""

    model: type[models.Model]
    table: str
    noun: str
    label: Callable[[Any], str]
    place: Callable[[Any], Place]
    fields: tuple[str, ...]
    masked: frozenset[str]
    written_as: frozenset[str]
    event: Callable[[Mapping[str, Change]], str | None]
    creation: Callable[[Any], str | None]

    def before_save(self, instance: models.Model, using: str, update_fields: frozenset[str] | None, **_: Any) -> None:
        """Keep what the row held, or refuse if the change could outlive a failure of its audit row."""
        if not self._is_concerned(update_fields):
            return
        before = self._read(instance, using)
        if before is None or any(getattr(instance, name) != getattr(before, name) for name in self.fields):
            self._require_transaction(using)
        # A stack, since a receiver may save the same object again before this save has been recorded.
        instance.__dict__.setdefault("_audit_before", []).append(before)

    def after_save(
        self,
        instance: models.Model,
        created: bool,
        using: str,
        update_fields: frozenset[str] | None,
        **_: Any,
    ) -> None:
        """Record what the row holds now against what it held."""
        if not self._is_concerned(update_fields):
            return
        before = instance.__dict__["_audit_before"].pop()
        after = self._read(instance, using)
        changes = self._diff(before, after)
        if created:
            self._record(CREATE, self.creation(after) or f"{self.noun}.created", after, changes, using)
        elif changes:
            self._record(UPDATE, self.event(changes) or f"{self.noun}.updated", after, changes, using)

    def before_delete(self, instance: models.Model, using: str, **_: Any) -> None:
        """Record a row that goes, while what it belongs to is still there to be named.

        The row is locked by now and Django deletes inside a transaction of its own, so it does go. A row
        that someone else deleted first is theirs to record.
        """
        before = self._read(instance, using)
        if before is not None:
            self._record(DELETE, f"{self.noun}.deleted", before, self._diff(before, None), using)

    def _is_concerned(self, update_fields: frozenset[str] | None) -> bool:
        return update_fields is None or not self.written_as.isdisjoint(update_fields)

    def _require_transaction(self, using: str) -> None:
        if not transaction.get_connection(using).in_atomic_block:
            raise ChangeOutsideTransaction(
                f"Save a {self.model.__name__} inside transaction.atomic(), as one with its audit row."
            )

    def _read(self, instance: models.Model, using: str) -> Row:
        """Return the row as it is stored, locked if it can be: memory may be stale, partial or hold an expression."""
        rows = self.model._base_manager.using(using)
        if transaction.get_connection(using).in_atomic_block:
            rows = rows.select_for_update(no_key=True)
        return next(iter(rows.filter(pk=instance.pk).order_by()), None)

    def _diff(self, before: Row | SimpleNamespace, after: Row) -> dict[str, Change]:
        changes = {}
        for name in self.fields:
            old, new = getattr(before, name, None), getattr(after, name, None)
            if old != new and name in self.masked:
                changes[name] = Change(None if before is None else MASK, None if after is None else MASK)
            elif old != new:
                changes[name] = Change(as_json(old), as_json(new))
        return changes

    def _record(self, action: str, event: str, row: Any, changes: Mapping[str, Change], using: str) -> None:
        record(
            event=event,
            action=action,
            target_table=self.table,
            target_id=row.pk,
            target_label=self.label(row),
            place=self.place(row),
            changes={name: [change.before, change.after] for name, change in changes.items()},
            using=using,
        )


# Every watched model, for the sweep that finds the forgotten ones.
TRACKED: dict[type[models.Model], Tracked] = {}


def track(
    model: type[M],
    *,
    table: str,
    noun: str,
    label: Callable[[M], str],
    place: Callable[[M], Place],
    fields: Sequence[str],
    masked: Sequence[str] = (),
    event: Callable[[Mapping[str, Change]], str | None] | None = None,
    creation: Callable[[M], str | None] | None = None,
    sentences: Mapping[str, str] | None = None,
) -> None:
    """Watch a model, from `AppConfig.ready()` on.

    `table` is what people filter by (`api_keys`), `noun` starts its event names (`api_key.created`). `label`
    and `place` are asked of the row as it is stored. A change to one of `fields` is recorded with its values,
    to one of `masked` as the mere fact; a foreign key goes by its column (`team_id`). `event` may give an
    update a name of its own (`api_key.revoked`), and `creation` the making of a row, which `sentences` then documents.

    Rows that a fixture loads are recorded like any other. `QuerySet.update()` and `bulk_create()` send no
    signals; a sweep of the test suite allows them one by one.

    :raises UntrackableField: if a field can change without its row being saved.
    """
    columns = [_field(model, name) for name in (*fields, *masked)]
    tracked = Tracked(
        model=model,
        table=table,
        noun=noun,
        label=label,
        place=place,
        fields=tuple(dict.fromkeys(column.attname for column in columns)),
        masked=frozenset(_field(model, name).attname for name in masked),
        written_as=frozenset(name for column in columns for name in (column.name, column.attname)),
        event=event or (lambda _changes: None),
        creation=creation or (lambda _row: None),
    )
    events.register(_sentences(table, noun) | dict(sentences or {}), tables=[table])
    TRACKED[model] = tracked
    uid = f"audit.{model._meta.label}"
    pre_save.connect(tracked.before_save, sender=model, weak=False, dispatch_uid=uid)
    post_save.connect(tracked.after_save, sender=model, weak=False, dispatch_uid=uid)
    pre_delete.connect(tracked.before_delete, sender=model, weak=False, dispatch_uid=uid)


def change_many(rows: Sequence[M], values: Mapping[str, Any], *, event: str) -> None:
    """Give some fields of many rows the same values, in one statement, and write the audit row of each.

    The rows must have been read under `select_for_update()` in the running transaction, with all that their label and
    place name: nothing is read again.

    :raises ChangeOutsideTransaction: if none is open.
    """
    if not rows:
        return
    model, using = type(rows[0]), rows[0]._state.db or DEFAULT_DB_ALIAS
    tracked = TRACKED[model]
    tracked._require_transaction(using)
    befores = [SimpleNamespace(**{name: getattr(row, name) for name in tracked.fields}) for row in rows]
    model._base_manager.using(using).filter(pk__in=[row.pk for row in rows]).update(**values)
    for row, before in zip(rows, befores, strict=True):
        for name, value in values.items():
            setattr(row, name, value)
        tracked._record(UPDATE, event, row, tracked._diff(before, row), using)


def _sentences(table: str, noun: str) -> dict[str, str]:
    return {f"{noun}.{past}": f"A row of `{table}` was {past}." for past in ("created", "updated", "deleted")}


def _field(model: type[models.Model], name: str) -> "models.Field[Any, Any]":
    field = model._meta.get_field(name)
    if not isinstance(field, models.Field) or not field.concrete or field.many_to_many:
        raise UntrackableField(f"{model.__name__}.{name} is no column: track the model that holds the rows.")
    remote = field.remote_field
    if remote is not None and remote.on_delete not in _SAFE_ON_DELETE:
        raise UntrackableField(
            f"{model.__name__}.{name} would change unseen when what it points at is deleted: "
            "use PROTECT, RESTRICT or CASCADE."
        )
    return field
