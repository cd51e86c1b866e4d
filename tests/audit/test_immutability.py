"""Past the ORM's own refusals, where only the database stands in the way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from audit.models import AuditEvent
from tests.audit.happenings import Happen

REFUSAL = "audit rows are never changed"
triggers = import_module("audit.migrations.0002_immutable_rows")


@contextmanager
def refused() -> Iterator[None]:
    before = list(AuditEvent.objects.values())
    assert before, "There must be something to change."
    with pytest.raises(DatabaseError, match=REFUSAL), transaction.atomic():
        yield
    assert list(AuditEvent.objects.values()) == before


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET actor_label = 'charlie'",
        "UPDATE audit_event SET actor_label = actor_label",
        "UPDATE audit_event SET id = id + 1000",
        "DELETE FROM audit_event",
        "DELETE FROM audit_event WHERE event = 'safe.inspected'",
    ],
)
def test_database_refuses_to_change_or_delete(happen: Happen, statement: str) -> None:
    happen()
    with refused():
        run(statement)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE audit_event",
        "TRUNCATE audit_event RESTART IDENTITY CASCADE",
        "INSERT INTO audit_event SELECT * FROM audit_event ON CONFLICT (id) DO UPDATE SET action = 'event'",
        "MERGE INTO audit_event t USING audit_event s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ],
)
def test_postgresql_refuses_its_other_ways(happen: Happen, statement: str) -> None:
    happen()
    with refused():
        run(statement)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO audit_event SELECT * FROM audit_event",
        "REPLACE INTO audit_event SELECT * FROM audit_event",
        "INSERT INTO audit_event SELECT * FROM audit_event WHERE 1 ON CONFLICT DO UPDATE SET action = ''",
        "UPDATE OR REPLACE audit_event SET id = 1",
    ],
)
def test_sqlite_refuses_its_other_ways(happen: Happen, statement: str) -> None:
    happen()
    with refused():
        run(statement)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: models.QuerySet.update(rows, actor_label="charlie"),
        models.QuerySet.delete,
        lambda rows: rows._raw_delete(rows.db),
        lambda _rows: AuditEvent._base_manager.update(actor_label="charlie"),
        lambda _rows: AuditEvent._base_manager.all().delete(),
        lambda rows: models.Model.save_base(rows.get(), force_update=True),
    ],
    ids=["update", "delete", "raw_delete", "base_update", "base_delete", "save_base"],
)
def test_database_refuses_the_orm_behind_its_own_back(
    happen: Happen, change: Callable[[models.QuerySet[AuditEvent]], object]
) -> None:
    happen()
    with refused():
        change(AuditEvent.objects.all())


def test_event_with_the_id_of_another_does_not_take_its_place(happen: Happen) -> None:
    first = happen()
    values = AuditEvent.objects.values().get() | {"actor_label": "charlie"}
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEvent(**values).save()
    assert AuditEvent.objects.get().actor_label == first.actor_label


@pytest.mark.django_db(transaction=True)
def test_triggers_can_be_taken_back_and_installed_again(happen: Happen) -> None:
    happen()
    with connection.schema_editor() as editor:
        triggers.remove(apps, editor)
    try:
        run("UPDATE audit_event SET actor_label = 'charlie'")
    finally:
        with connection.schema_editor() as editor:
            triggers.install(apps, editor)
    assert AuditEvent.objects.get().actor_label == "charlie"
    with refused():
        run("UPDATE audit_event SET actor_label = 'alice'")
