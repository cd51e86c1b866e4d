"""The database itself refuses to change or delete audit rows, whoever asks and through whatever.

The owner of the database can still drop the triggers; what they guard against is code, ours included, and
people at a SQL prompt. On SQLite, Django makes most changes to a table by building it anew, and the triggers
go with the old one: a migration that alters `audit_event` must end by running `install` again.
"""

from collections.abc import Sequence

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SQLITE = (
    """
    CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event
    BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END
    """,
    """
    CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
    BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END
    """,
    # INSERT OR REPLACE deletes the old row without its trigger (sqlite.org/lang_conflict.html). While the id
    # is still to be chosen, NEW.id is -1.
    """
    CREATE TRIGGER audit_event_no_replace BEFORE INSERT ON audit_event
    WHEN NEW.id > 0 AND EXISTS (SELECT 1 FROM audit_event WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END
    """,
)
SQLITE_REVERSE = (
    "DROP TRIGGER audit_event_no_replace",
    "DROP TRIGGER audit_event_no_delete",
    "DROP TRIGGER audit_event_no_update",
)
POSTGRESQL = (
    """
    CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'audit rows are never changed'; END
    $$
    """,
    """
    CREATE TRIGGER audit_event_no_change BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_refuse()
    """,
    """
    CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse()
    """,
)
POSTGRESQL_REVERSE = (
    "DROP TRIGGER audit_event_no_truncate ON audit_event",
    "DROP TRIGGER audit_event_no_change ON audit_event",
    "DROP FUNCTION audit_event_refuse()",
)
STATEMENTS = {"sqlite": (SQLITE, SQLITE_REVERSE), "postgresql": (POSTGRESQL, POSTGRESQL_REVERSE)}


def install(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _run(schema_editor, STATEMENTS[schema_editor.connection.vendor][0])


def remove(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _run(schema_editor, STATEMENTS[schema_editor.connection.vendor][1])


def _run(schema_editor: BaseDatabaseSchemaEditor, statements: Sequence[str]) -> None:
    for statement in statements:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [migrations.RunPython(install, remove)]
