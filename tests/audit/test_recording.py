import datetime as dt

import pytest
import time_machine
from django.db import IntegrityError, transaction

from audit import signals
from audit.context import Actor, Place, audit_context, happening_in
from audit.events import UnknownEvent
from audit.models import AuditEvent
from audit.signals import Happening, NothingRecords, happened, record
from tests.audit.happenings import ALICE_ID, NOON, ORGANIZATION, OTHER_ORGANIZATION, PROJECT, TEAM, Happen

CI_KEY = Actor("api_key", id=PROJECT, label="kp_sk_live_a1B2c3D4", issuer_id=ALICE_ID, issuer_label="alice@example.com")


def test_record_writes_everything_it_was_told(happen: Happen) -> None:
    with audit_context(actor=CI_KEY, request_id="r-1", address="2001:DB8::1", at=NOON):
        record(
            event="safe.inspected",
            target_table="safes",
            target_id=7,
            target_label="green",
            place=Place(ORGANIZATION, TEAM, PROJECT),
            changes={"dust": [1, 2]},
        )
    [row] = AuditEvent.objects.values()
    assert row == {
        "id": row["id"],
        "at": NOON,
        "organization_id": ORGANIZATION,
        "team_id": TEAM,
        "project_id": PROJECT,
        "actor_kind": "api_key",
        "actor_id": PROJECT,
        "actor_label": "kp_sk_live_a1B2c3D4",
        "issuer_id": ALICE_ID,
        "issuer_label": "alice@example.com",
        "target_table": "safes",
        "target_id": "7",
        "target_label": "green",
        "action": "event",
        "event": "safe.inspected",
        "changes": {"dust": [1, 2]},
        "request_id": "r-1",
        "address": "2001:db8::1",
    }


@pytest.mark.parametrize(
    ("place", "stored"),
    [
        (Place(), (OTHER_ORGANIZATION, None)),
        (Place(ORGANIZATION, TEAM), (ORGANIZATION, TEAM)),
    ],
)
def test_record_belongs_where_it_happens_unless_the_row_itself_can_tell(
    happen: Happen, place: Place, stored: tuple[object, object]
) -> None:
    with happening_in(OTHER_ORGANIZATION):
        record(event="safe.inspected", target_table="safes", place=place)
    row = AuditEvent.objects.get()
    assert (row.organization_id, row.team_id) == stored


def test_record_outside_of_a_request_is_the_systems_and_now(happen: Happen) -> None:
    with time_machine.travel(NOON, tick=False):
        record(event="safe.inspected", target_table="safes")
    row = AuditEvent.objects.get()
    assert (row.actor_kind, row.actor_label, row.at) == ("system", "system", NOON)
    assert (row.organization_id, row.target_id, row.changes, row.request_id, row.address) == (
        None,
        "",
        {},
        "",
        None,
    )


def test_record_reads_the_clock_for_every_row(happen: Happen) -> None:
    with time_machine.travel(NOON, tick=False) as clock, audit_context():
        record(event="safe.inspected", target_table="safes")
        clock.shift(60)
        record(event="safe.inspected", target_table="safes")
    assert [row.at for row in AuditEvent.objects.all()] == [NOON + dt.timedelta(seconds=60), NOON]


@pytest.mark.parametrize(
    ("peer", "stored"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        (None, None),
        ("unix:", None),
    ],
)
def test_record_keeps_only_real_addresses(happen: Happen, peer: str | None, stored: str | None) -> None:
    with audit_context(address=peer):
        record(event="safe.inspected", target_table="safes")
    assert AuditEvent.objects.get().address == stored


def test_record_survives_what_no_database_can_hold(happen: Happen) -> None:
    actor = Actor("anonymous", label="a\x00b\ud800", issuer_label="\x00")
    row = happen(actor=actor, target_id="\x00", target_label="x\x00", changes={"n\x00": [float("nan"), "\udfff"]})
    row.refresh_from_db()
    assert (row.actor_label, row.issuer_label) == ("a\ufffdb?", "\ufffd")
    assert (row.target_id, row.target_label, row.changes) == ("\ufffd", "x\ufffd", {"n\ufffd": ["nan", "?"]})


def test_record_keeps_long_labels_whole(happen: Happen) -> None:
    row = happen(actor=Actor("anonymous", label="a" * 5000), target_label="t" * 5000)
    row.refresh_from_db()
    assert (row.actor_label, row.target_label) == ("a" * 5000, "t" * 5000)


@pytest.mark.parametrize("said", [{"event": "safe.melted"}, {"target_table": "cellars"}])
def test_record_refuses_unknown_names(happen: Happen, said: dict[str, str]) -> None:
    with pytest.raises(UnknownEvent):
        happen(**said)
    assert not AuditEvent.objects.exists()


def test_record_refuses_to_go_unheard(happen: Happen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "happened", type(happened)())
    with pytest.raises(NothingRecords):
        happen()


def test_happened_is_the_signal_behind_record(happen: Happen) -> None:
    heard = []

    def hear(happening: Happening, **_: object) -> None:
        heard.append((happening.event, happening.context.actor.label))

    happened.connect(hear, sender=Happening)
    try:
        happen()
    finally:
        happened.disconnect(hear, sender=Happening)
    assert heard == [("safe.inspected", "alice@example.com")]


@pytest.mark.parametrize("said", [{"action": "peek"}, {"actor": Actor("ghost")}])
def test_log_holds_known_actions_and_kinds_only(happen: Happen, said: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        happen(**said)
    assert not AuditEvent.objects.exists()
