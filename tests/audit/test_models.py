import datetime as dt
from typing import Any

import pytest

from audit.context import Actor, Place
from audit.models import AuditEvent, AuditRowsAreImmutable
from tests.audit.happenings import (
    ALICE,
    ALICE_ID,
    BOB_ID,
    NOON,
    ORGANIZATION,
    OTHER_ORGANIZATION,
    PROJECT,
    TEAM,
    Happen,
)


@pytest.fixture
def places(happen: Happen) -> None:
    """One event in each sort of place, labelled with it, and one of another organization."""
    for label, place in {
        "organization": Place(ORGANIZATION),
        "team": Place(ORGANIZATION, TEAM),
        "project": Place(ORGANIZATION, TEAM, PROJECT),
        "elsewhere": Place(OTHER_ORGANIZATION, TEAM, PROJECT),
        "nowhere": Place(),
    }.items():
        happen(target_label=label, place=place)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ({}, ["organization", "project", "team"]),
        ({"actor_id": ALICE_ID}, ["organization", "project", "team"]),
        ({"team_ids": [TEAM]}, ["project", "team"]),
        ({"team_ids": []}, []),
        ({"team_ids": [], "actor_id": ALICE_ID}, ["organization", "project", "team"]),
        ({"team_ids": [], "actor_id": PROJECT}, []),
        ({"project_ids": [PROJECT]}, ["project"]),
        ({"team_ids": [], "project_ids": [PROJECT]}, ["project"]),
        ({"team_ids": [TEAM], "project_ids": []}, ["project", "team"]),
    ],
)
def test_for_place_shows_what_happened_there(places: None, asked: dict[str, Any], seen: list[str]) -> None:
    rows = AuditEvent.objects.for_place(ORGANIZATION, **asked)
    assert sorted(rows.values_list("target_label", flat=True)) == seen


@pytest.fixture
def varied(happen: Happen) -> None:
    """Four events that differ in everything one can filter by; the first is the oldest."""
    bob = Actor("user", id=BOB_ID, label="Bob_100%")
    day = dt.timedelta(days=1)
    happen(actor=ALICE, at=NOON - 2 * day, target_label="one", action="create")
    happen(actor=bob, at=NOON - day, target_label="Two", action="update")
    happen(actor=ALICE, at=NOON, target_label="three", target_table="chests", action="delete")
    happen(actor=bob, at=NOON + day, target_label="four_4%")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["four_4%", "three", "Two", "one"]),
        ({"target_table": "safes"}, ["four_4%", "Two", "one"]),
        ({"target_table": "safe"}, []),
        ({"action": "update"}, ["Two"]),
        ({"actor": "ALICE"}, ["three", "one"]),
        ({"actor": "b_1"}, ["four_4%", "Two"]),
        ({"actor": "%"}, ["four_4%", "Two"]),
        ({"label": "tW"}, ["Two"]),
        ({"label": "r_4%"}, ["four_4%"]),
        ({"label": "a' OR 1=1 --"}, []),
        ({"since": NOON}, ["four_4%", "three"]),
        ({"until": NOON}, ["Two", "one"]),
        ({"since": NOON, "until": NOON}, []),
        ({"actor": "bob", "action": "event", "target_table": "safes", "label": "our"}, ["four_4%"]),
    ],
)
def test_matching_meets_every_condition(varied: None, asked: dict[str, Any], found: list[str]) -> None:
    assert list(AuditEvent.objects.matching(**asked).values_list("target_label", flat=True)) == found


def test_older_than_starts_below_an_event(varied: None) -> None:
    newest, second, *older = AuditEvent.objects.all()
    assert list(AuditEvent.objects.older_than(second.id)) == older
    assert list(AuditEvent.objects.older_than(None)) == [newest, second, *older]


def test_event_says_what_it_is(happen: Happen) -> None:
    event = happen(target_label="green")
    assert (str(event), str(AuditEvent(event="safe.dusted"))) == ("safe.inspected green", "safe.dusted")
    assert event.sentence == "Someone looked at a safe."
    assert AuditEvent(event="safe.of_a_later_version").sentence == ""


def test_event_refuses_to_be_saved_again(happen: Happen) -> None:
    event = happen()
    event.actor_label = "charlie"
    with pytest.raises(AuditRowsAreImmutable, match="never changed or deleted"):
        event.save()
    with pytest.raises(AuditRowsAreImmutable):
        event.save(update_fields=["actor_label"])
    assert AuditEvent.objects.get().actor_label == "alice@example.com"


def test_event_refuses_to_be_deleted(happen: Happen) -> None:
    event = happen()
    with pytest.raises(AuditRowsAreImmutable):
        event.delete()
    assert AuditEvent.objects.get() == event


def test_queryset_refuses_to_change_or_delete(happen: Happen) -> None:
    event = happen()
    event.actor_label = "charlie"
    with pytest.raises(AuditRowsAreImmutable):
        AuditEvent.objects.update(actor_label="charlie")
    with pytest.raises(AuditRowsAreImmutable):
        AuditEvent.objects.filter(pk=event.pk).delete()
    with pytest.raises(AuditRowsAreImmutable):
        AuditEvent.objects.bulk_update([event], ["actor_label"])
    with pytest.raises(AuditRowsAreImmutable):
        AuditEvent.objects.update_or_create(pk=event.pk, defaults={"actor_label": "charlie"})
    assert AuditEvent.objects.get().actor_label == "alice@example.com"
