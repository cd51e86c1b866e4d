import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.serializers.base import DeserializedObject
from django.db import connection, connections, transaction
from django.db.models import F
from django.db.models.signals import post_save

from audit.context import audit_context
from audit.events import EVENTS, TABLES, UnknownEvent
from audit.models import AuditEvent
from audit.tracking import TRACKED, ChangeOutsideTransaction, UntrackableField, change_many, track
from tests.audit.happenings import NOON, ORGANIZATION, TEAM
from tests.audit.vaults import OPTIONS, LooseVault, Vault

pytestmark = pytest.mark.usefixtures("vaults")


def rows() -> list[tuple[str, str, dict[str, Any]]]:
    """What was recorded, oldest first."""
    return [(row.action, row.event, row.changes) for row in AuditEvent.objects.order_by("id")]


@pytest.fixture
def vault() -> Vault:
    """A vault from before: its own row in the log is not the test's."""
    return Vault.objects.bulk_create([Vault(name="green", tags=["a"])])[0]


@pytest.fixture
def broken_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditEvent, "save", fail_to_save)


def fail_to_save(*_: object, **__: object) -> None:
    raise OSError("The disk is full.")


def test_create_is_recorded_with_what_was_set(alice_acts: None) -> None:
    vault = Vault.objects.create(name="green", tags=["a", "b"])
    [row] = AuditEvent.objects.values()
    assert row == {
        "id": row["id"],
        "at": NOON,
        "organization_id": ORGANIZATION,
        "team_id": TEAM,
        "project_id": None,
        "actor_kind": "user",
        "actor_id": row["actor_id"],
        "actor_label": "alice@example.com",
        "issuer_id": None,
        "issuer_label": "",
        "target_table": "vaults",
        "target_id": str(vault.id),
        "target_label": "green",
        "action": "create",
        "event": "vault.created",
        "changes": {
            "name": [None, "green"],
            "tags": [None, ["a", "b"]],
            "size": [None, 0],
            "combination": [None, "•••"],
        },
        "request_id": "r-1",
        "address": "192.0.2.7",
    }


def test_update_is_recorded_with_what_differs(vault: Vault) -> None:
    vault.name, vault.tags = "red", ["a", "b"]
    vault.save()
    assert rows() == [
        ("update", "vault.updated", {"name": ["green", "red"], "tags": [["a"], ["a", "b"]]}),
    ]


def test_update_may_have_a_name_of_its_own(vault: Vault) -> None:
    vault.opened_at = NOON
    vault.save(update_fields=["opened_at"])
    assert rows() == [("update", "vault.opened", {"opened_at": [None, "2025-03-05T12:00:00+00:00"]})]


def test_update_under_an_unregistered_name_is_refused(vault: Vault) -> None:
    EVENTS.pop("vault.opened")
    vault.opened_at = NOON
    with pytest.raises(UnknownEvent), transaction.atomic():
        vault.save()
    vault.refresh_from_db()
    assert vault.opened_at is None


@pytest.mark.parametrize("field", ["inside", "inside_id"])
def test_update_of_a_foreign_key_goes_by_its_id(vault: Vault, field: str) -> None:
    other = Vault.objects.bulk_create([Vault(name="outer")])[0]
    vault.inside = other
    vault.save(update_fields=[field])
    assert rows() == [("update", "vault.updated", {"inside_id": [None, str(other.id)]})]


def test_update_of_a_secret_is_recorded_without_its_value(vault: Vault) -> None:
    vault.combination = "65-43-21"
    vault.save()
    assert rows() == [("update", "vault.updated", {"combination": ["•••", "•••"]})]
    assert "65-43-21" not in str(list(AuditEvent.objects.values_list()))


def test_update_that_leaves_a_secret_alone_does_not_claim_otherwise(vault: Vault) -> None:
    vault.name = "red"
    vault.save()
    assert rows() == [("update", "vault.updated", {"name": ["green", "red"]})]


def test_update_without_a_difference_is_not_recorded(vault: Vault) -> None:
    vault.save()
    assert rows() == []


@pytest.mark.parametrize("update_fields", [None, ["dust"]])
def test_update_of_what_is_not_watched_is_not_recorded(vault: Vault, update_fields: list[str] | None) -> None:
    vault.dust = 7
    vault.save(update_fields=update_fields)
    vault.refresh_from_db()
    assert vault.dust == 7
    assert rows() == []


def test_update_of_other_fields_costs_no_query_more(
    vault: Vault, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(1):
        vault.save(update_fields=["dust"])


def test_update_is_measured_against_the_row_and_not_against_memory(vault: Vault) -> None:
    Vault.objects.filter(pk=vault.pk).update(name="red", size=5)
    vault.name = "blue"
    vault.save(update_fields=["name"])
    vault.name = "red"
    vault.size = 99
    vault.save(update_fields=["name"])
    assert rows() == [
        ("update", "vault.updated", {"name": ["red", "blue"]}),
        ("update", "vault.updated", {"name": ["blue", "red"]}),
    ]


def test_update_of_an_instance_that_was_never_read_knows_what_was_there(vault: Vault) -> None:
    Vault(pk=vault.pk, name="red", tags=["a"]).save(force_update=True)
    assert rows() == [("update", "vault.updated", {"name": ["green", "red"]})]


def test_update_by_an_expression_is_recorded_with_its_result(vault: Vault) -> None:
    vault.size = F("size") + 3
    vault.save(update_fields=["size"])
    assert rows() == [("update", "vault.updated", {"size": [0, 3]})]


def test_update_is_labelled_as_the_row_is_stored(vault: Vault) -> None:
    vault.name, vault.size = "never saved", 5
    vault.save(update_fields=["size"])
    assert AuditEvent.objects.get().target_label == "green"


def test_update_of_a_partly_loaded_row_is_recorded(vault: Vault) -> None:
    partial = Vault.objects.only("name").get()
    partial.name = "red"
    partial.save()
    assert rows() == [("update", "vault.updated", {"name": ["green", "red"]})]


def test_save_within_a_save_records_both(vault: Vault) -> None:
    def resize(instance: Vault, **_: object) -> None:
        if instance.size == 0:
            instance.size = 1
            instance.save(update_fields=["size"])

    post_save.connect(resize, sender=Vault)
    try:
        vault.name = "red"
        vault.save(update_fields=["name"])
    finally:
        post_save.disconnect(resize, sender=Vault)
    assert rows() == [
        ("update", "vault.updated", {"name": ["green", "red"]}),
        ("update", "vault.updated", {"size": [0, 1]}),
    ]


def test_delete_is_recorded_with_what_was_there(vault: Vault) -> None:
    pk = vault.pk
    vault.name = "only in memory"
    vault.delete()
    assert rows() == [
        (
            "delete",
            "vault.deleted",
            {"name": ["green", None], "tags": [["a"], None], "size": [0, None], "combination": ["•••", None]},
        )
    ]
    row = AuditEvent.objects.get()
    assert (row.target_id, row.target_label, row.organization_id) == (str(pk), "green", ORGANIZATION)


def test_delete_of_many_is_recorded_one_by_one() -> None:
    Vault.objects.bulk_create([Vault(name="green"), Vault(name="red")])
    Vault.objects.all().delete()
    assert sorted(AuditEvent.objects.values_list("event", "target_label")) == [
        ("vault.deleted", "green"),
        ("vault.deleted", "red"),
    ]


def test_delete_of_what_is_gone_is_not_recorded(vault: Vault) -> None:
    Vault.objects.filter(pk=vault.pk)._raw_delete("default")
    vault.delete()
    assert rows() == []


def test_fixture_is_recorded_like_anything_else(vault: Vault) -> None:
    DeserializedObject(Vault(pk=vault.pk, name="red", tags=["a"])).save()
    assert rows() == [("update", "vault.updated", {"name": ["green", "red"]})]


def test_create_is_undone_if_it_cannot_be_recorded(broken_log: None) -> None:
    with pytest.raises(OSError, match="The disk is full"), transaction.atomic():
        Vault.objects.create(name="green")
    assert not Vault.objects.exists()


def test_update_is_undone_if_it_cannot_be_recorded(vault: Vault, broken_log: None) -> None:
    vault.name = "red"
    with pytest.raises(OSError, match="The disk is full"), transaction.atomic():
        vault.save()
    assert Vault.objects.get().name == "green"


def test_delete_is_undone_if_it_cannot_be_recorded(vault: Vault, broken_log: None) -> None:
    with pytest.raises(OSError, match="The disk is full"), transaction.atomic():
        vault.delete()
    assert Vault.objects.get().name == "green"


def test_change_and_record_are_undone_together(vault: Vault) -> None:
    vault.name = "red"
    with transaction.atomic():
        vault.save()
        transaction.set_rollback(True)
    assert (Vault.objects.get().name, rows()) == ("green", [])


@pytest.mark.django_db(transaction=True)
def test_save_outside_of_a_transaction_is_refused(vault: Vault) -> None:
    vault.name = "red"
    for instance, update_fields in ((vault, None), (vault, ["name"]), (Vault(name="new"), None)):
        with pytest.raises(ChangeOutsideTransaction, match=r"Save a Vault inside transaction\.atomic\(\)"):
            instance.save(update_fields=update_fields)
    assert [stored.name for stored in Vault.objects.all()] == ["green"]
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_save_of_other_fields_needs_no_transaction(vault: Vault) -> None:
    vault.dust = 7
    vault.save(update_fields=["dust"])
    assert Vault.objects.get().dust == 7


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("update_fields", [None, ["name"], ["combination", "dust"]])
def test_save_of_what_is_there_already_needs_no_transaction(vault: Vault, update_fields: list[str] | None) -> None:
    vault.dust = 7
    vault.save(update_fields=update_fields)
    assert Vault.objects.get().dust == (0 if update_fields == ["name"] else 7)
    assert rows() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("field", "value"), [("size", F("size") + 1), ("combination", "65-43-21"), ("tags", [])])
def test_save_of_anything_watched_is_refused_outside_of_a_transaction(vault: Vault, field: str, value: object) -> None:
    setattr(vault, field, value)
    with pytest.raises(ChangeOutsideTransaction):
        vault.save()
    assert Vault.objects.filter(size=0, combination="12-34-56", tags=["a"]).count() == 1
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_delete_brings_its_own_transaction(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(AuditEvent, "save", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            vault.delete()
        assert Vault.objects.get().name == "green"
    vault.delete()
    assert [event for _, event, _ in rows()] == ["vault.deleted"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_rival_updates_are_recorded_in_the_order_in_which_they_took_hold(vault: Vault) -> None:
    saved_first = threading.Event()

    def resize(to: int) -> None:
        mine = Vault.objects.get()
        mine.size = to
        mine.save(update_fields=["size"])

    def first() -> None:
        with transaction.atomic():
            resize(1)
            saved_first.set()
            wait_until_someone_waits_for_a_lock()

    def second() -> None:
        saved_first.wait(timeout=10)
        with transaction.atomic():
            resize(2)

    run_together(first, second)
    assert [changes for _, _, changes in rows()] == [{"size": [0, 1]}, {"size": [1, 2]}]


def run_together(*work: Callable[[], None]) -> None:
    def run(one: Callable[[], None]) -> None:
        try:
            one()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)


def wait_until_someone_waits_for_a_lock() -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise TimeoutError("Nobody came to wait for the lock.")


def test_past_is_told_under_its_own_time() -> None:
    for days in (2, 1):
        with audit_context(at=NOON - dt.timedelta(days=days)):
            Vault.objects.create(name=f"{days} days ago")
    assert [(row.target_label, row.at) for row in AuditEvent.objects.order_by("id")] == [
        ("2 days ago", NOON - dt.timedelta(days=2)),
        ("1 days ago", NOON - dt.timedelta(days=1)),
    ]


def test_track_registers_the_model_its_table_and_its_events() -> None:
    assert TRACKED[Vault].fields == ("name", "opened_at", "tags", "size", "inside_id", "combination")
    assert "vaults" in TABLES
    assert {name: sentence for name, sentence in EVENTS.items() if name.startswith("vault.")} == {
        "vault.created": "A row of `vaults` was created.",
        "vault.updated": "A row of `vaults` was updated.",
        "vault.deleted": "A row of `vaults` was deleted.",
        "vault.opened": "Someone opened a vault.",
    }


@pytest.mark.parametrize("field", ["inside", "keepers"])
def test_track_refuses_fields_that_change_unseen(field: str) -> None:
    with pytest.raises(UntrackableField, match=rf"LooseVault\.{field}"):
        track(LooseVault, **OPTIONS | {"fields": [field], "masked": []})
    assert LooseVault not in TRACKED


def test_many_rows_are_changed_each_with_its_row_of_the_log(alice_acts: None) -> None:
    vaults = Vault.objects.bulk_create([Vault(name="green"), Vault(name="red", size=7), Vault(name="blue")])
    with transaction.atomic():
        change_many(vaults, {"size": 7, "combination": "0", "dust": 3}, event="vault.updated")
    assert [(row.size, row.combination, row.dust) for row in Vault.objects.order_by("id")] == [(7, "0", 3)] * 3
    assert [vault.size for vault in vaults] == [7, 7, 7]
    masked = {"combination": ["•••", "•••"]}
    assert rows() == [
        ("update", "vault.updated", {"size": [0, 7]} | masked),
        ("update", "vault.updated", masked),
        ("update", "vault.updated", {"size": [0, 7]} | masked),
    ]
    assert set(AuditEvent.objects.values_list("target_label", flat=True)) == {"green", "red", "blue"}


def test_none_of_many_rows_is_changed_if_a_row_of_the_log_fails(vault: Vault, broken_log: None) -> None:
    with pytest.raises(OSError, match="disk"), transaction.atomic():
        change_many([vault], {"size": 7}, event="vault.updated")
    assert Vault.objects.get().size == 0


def test_no_rows_are_nothing_to_change(db: None) -> None:
    change_many([], {"size": 7}, event="vault.updated")
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_many_rows_are_changed_inside_a_transaction_only(vault: Vault) -> None:
    with pytest.raises(ChangeOutsideTransaction):
        change_many([vault], {"size": 7}, event="vault.updated")
    assert Vault.objects.get().size == 0
