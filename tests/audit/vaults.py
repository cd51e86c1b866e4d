"""A model of the tests' own to track, with a field of every sort; its table exists as long as a test does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from django.db import connection, models
from django.db.models.signals import post_save, pre_delete, pre_save
from uuid_utils.compat import uuid7

from audit.tracking import Change, Place, track
from tests.audit.happenings import ORGANIZATION, TEAM, registry_restored


class Vault(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    name = models.CharField(max_length=50)
    combination = models.CharField(max_length=50, default="12-34-56")
    opened_at = models.DateTimeField(null=True)
    tags = models.JSONField(default=list)
    size = models.IntegerField(default=0)
    inside = models.ForeignKey("self", models.CASCADE, null=True)
    dust = models.IntegerField(default=0)

    objects: ClassVar[models.Manager["Vault"]] = models.Manager()

    class Meta:
        app_label = "tests"
        ordering: ClassVar = ["inside__name"]

    def __str__(self) -> str:
        return self.name


class LooseVault(models.Model):
    """What cannot be tracked: fields that change while nobody saves their row."""

    inside = models.ForeignKey(Vault, models.SET_NULL, null=True)
    keepers = models.ManyToManyField(Vault, related_name="kept")

    class Meta:
        app_label = "tests"

    def __str__(self) -> str:
        return "loose"


def name_event(changes: Mapping[str, Change]) -> str | None:
    return "vault.opened" if "opened_at" in changes else None


OPTIONS: dict[str, Any] = {
    "table": "vaults",
    "noun": "vault",
    "label": str,
    "place": lambda vault: Place(organization_id=ORGANIZATION, team_id=TEAM, project_id=vault.inside_id),
    "fields": ["name", "opened_at", "tags", "size", "inside"],
    "masked": ["combination"],
    "event": name_event,
    "sentences": {"vault.opened": "Someone opened a vault."},
}


@contextmanager
def vaults_tracked() -> Iterator[None]:
    with registry_restored():
        track(Vault, **OPTIONS)
        try:
            yield
        finally:
            for signal in (pre_save, post_save, pre_delete):
                assert signal.disconnect(sender=Vault, dispatch_uid="audit.tests.Vault")


@contextmanager
def vault_table() -> Iterator[None]:
    """Make the table by hand, since SQLite's schema editor works only outside of a transaction."""
    columns = ", ".join(f'"{field.column}" {field.db_type(connection)}' for field in Vault._meta.local_fields)
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE "tests_vault" ({columns}, PRIMARY KEY ("id"))')
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute('DROP TABLE "tests_vault"')
