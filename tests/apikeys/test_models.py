from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from uuid_utils.compat import uuid7

from accounts import actions as people
from accounts.models import Organization, Project, Role, Team
from accounts.narrowing import narrowed
from accounts.principals import Principal
from apikeys.actions import disable_key, mark_exposed, revoke_key
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from tests.apikeys.people import acting_as, change_team_role, demote
from tests.cast import NOON, Issued, Person, later, use

SECOND = timedelta(seconds=1)
Issue = Callable[..., Issued]


def save_copy(issued: Issued, **changes: Any) -> ApiKey:
    """Save another row like that of a key, with these changes, past every rule but the database's."""
    values = {field.attname: getattr(issued.row, field.attname) for field in ApiKey._meta.concrete_fields}
    row = ApiKey(**values | {"id": uuid7(), "prefix": "Zz9Zz9Zz"} | changes)
    with transaction.atomic():
        row.save(force_insert=True)
    return row


# Constraints


@pytest.mark.parametrize(
    ("scope", "has_team", "has_project"),
    [
        ("org", True, False),
        ("org", False, True),
        ("team", False, False),
        ("team", True, True),
        ("project", False, False),
        ("project", True, False),
        ("project", True, True),
        ("galaxy", False, False),
    ],
)
def test_scope_has_its_place_or_is_refused_by_the_database(
    issued: Issued, team: Team, project: Project, scope: str, has_team: bool, has_project: bool
) -> None:
    with pytest.raises(IntegrityError, match="api_key_scope_has_its_place"):
        save_copy(
            issued,
            scope=scope,
            team_id=team.pk if has_team else None,
            project_id=project.pk if has_project else None,
        )


def test_each_scope_with_its_place_is_taken_by_the_database(issued: Issued, team: Team, project: Project) -> None:
    save_copy(issued, prefix="aaaaaaaa", scope="org", project_id=None)
    save_copy(issued, prefix="bbbbbbbb", scope="team", project_id=None, team_id=team.pk)
    save_copy(issued, prefix="cccccccc", scope="project", project_id=project.pk)
    assert ApiKey.objects.count() == 4


def test_publishable_key_is_of_a_project(issued: Issued) -> None:
    save_copy(issued, kind="publishable")
    with pytest.raises(IntegrityError, match="api_key_publishable_is_of_a_project"):
        save_copy(issued, kind="publishable", scope="org", project_id=None, prefix="aaaaaaaa")


def test_unknown_kind_is_refused_by_the_database(issued: Issued) -> None:
    with pytest.raises(IntegrityError, match="api_key_publishable_is_of_a_project"):
        save_copy(issued, kind="golden")


@pytest.mark.parametrize("after", [timedelta(0), -SECOND])
def test_key_that_ends_before_it_begins_is_refused_by_the_database(issued: Issued, after: timedelta) -> None:
    with pytest.raises(IntegrityError, match="api_key_expires_later"):
        save_copy(issued, expires_at=NOON + after)
    assert save_copy(issued, expires_at=NOON + SECOND).expires_at == NOON + SECOND


def test_prefix_is_unique(issued: Issued) -> None:
    with pytest.raises(IntegrityError, match="prefix"):
        save_copy(issued, prefix=issued.row.prefix)


def test_prefix_is_case_sensitive(issued: Issued) -> None:
    other = save_copy(issued, prefix=issued.row.prefix.swapcase())
    assert [row["id"] for row in ApiKey.objects.presented(issued.row.prefix)] == [issued.row.pk]
    assert [row["id"] for row in ApiKey.objects.presented(other.prefix)] == [other.pk]


# Facts of one row


def test_key_is_called_by_its_label(issued: Issued) -> None:
    assert str(issued.row) == f"kp_sk_live_{issued.row.prefix}"


def test_place_is_what_the_key_is_for(
    issue: Issue, alice: Person, organization: Organization, team: Team, project: Project
) -> None:
    places: list[Organization | Team | Project] = [organization, team, project]
    for place in places:
        issue(alice, place)
    keys = ApiKey.objects.with_places().order_by("id")
    assert [key.place for key in keys] == places
    assert [key.place_team_id for key in keys] == [None, team.pk, team.pk]


# Who sees which


@pytest.fixture
def member(organization: Organization) -> Person:
    """In the organization, and in no team."""
    user = people.create_user(email="erin@example.com", password=None, at=NOON)
    return Person(
        people.add_to_organization(organization=organization, user=user, role=Role.MEMBER, at=NOON),
    )


@pytest.fixture
def lot(
    issue: Issue,
    alice: Person,
    bob: Person,
    dana: Person,
    organization: Organization,
    team: Team,
    project: Project,
    other_team: Team,
    other_project: Project,
) -> dict[str, Issued]:
    """A key of each scope and team, by name."""
    sibling = people.create_project(principal=alice.principal, team=team, name="Ledger", at=NOON)
    places: dict[str, tuple[Person, Organization | Team | Project]] = {
        "org": (alice, organization),
        "team": (bob, team),
        "project": (dana, project),
        "project, bob's": (bob, project),
        "sibling": (bob, sibling),
        "other team": (alice, other_team),
        "other project": (alice, other_project),
    }
    return {
        name: issue(person, place, name=name, permissions=["*"], environment="test" if name == "sibling" else "live")
        for name, (person, place) in places.items()
    }


def seen_by(principal: Principal) -> set[str]:
    return set(ApiKey.objects.visible_to(principal).values_list("name", flat=True))


IN_TEAM = {"team", "project", "project, bob's", "sibling"}
IN_PROJECT = {"project", "project, bob's"}
EVERYTHING = IN_TEAM | {"org", "other team", "other project"}


def test_keys_are_visible_to_the_people_who_could_issue_them(
    lot: dict[str, Issued], alice: Person, bob: Person, dana: Person, member: Person, charlie: Person
) -> None:
    assert seen_by(alice.principal) == EVERYTHING
    assert seen_by(bob.principal) == IN_TEAM
    assert seen_by(dana.principal) == IN_PROJECT | {"sibling"}
    assert seen_by(member.principal) == set()
    assert seen_by(charlie.principal) == set()


def test_team_key_stays_visible_to_its_issuer_who_is_a_developer_now(lot: dict[str, Issued], bob: Person) -> None:
    change_team_role(bob, Role.DEVELOPER)
    assert seen_by(bob.principal) == IN_TEAM


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        ("org", EVERYTHING),
        ("team", IN_TEAM),
        ("project", IN_PROJECT),
        ("project, bob's", IN_PROJECT),
        ("sibling", {"sibling"}),
        ("other team", {"other team", "other project"}),
        ("other project", {"other project"}),
    ],
)
def test_key_sees_the_keys_inside_its_scope(lot: dict[str, Issued], caller: str, seen: set[str]) -> None:
    assert seen_by(acting_as(lot[caller])) == seen


def test_organization_key_of_a_demoted_issuer_sees_no_key(lot: dict[str, Issued], alice: Person) -> None:
    demote(alice)
    assert seen_by(acting_as(lot["org"])) == set()


def test_narrowed_key_sees_the_keys_of_the_project_it_names(lot: dict[str, Issued], project: Project) -> None:
    for caller in ("org", "team"):
        assert seen_by(narrowed(acting_as(lot[caller]), str(project.pk))) == IN_PROJECT


def test_outsiders_key_sees_nothing_of_ours(lot: dict[str, Issued], issue: Issue, charlie: Person) -> None:
    theirs = issue(charlie, charlie.membership.organization, name="theirs")
    assert seen_by(acting_as(theirs)) == {"theirs"}


# States at their boundaries


def in_state(name: str, at: datetime) -> bool:
    keys = ApiKey.objects.all()
    states: dict[str, Any] = {
        "active": keys.active(at=at),
        "expired": keys.expired(at=at),
        "revoked": keys.revoked(at=at),
        "attention": keys.needing_attention(at=at),
    }
    return bool(states[name].exists())


@pytest.mark.parametrize(
    ("at", "is_active"),
    [(later(days=30) - SECOND, True), (later(days=30), False), (later(days=30) + SECOND, False)],
)
def test_key_expires_exactly_at_its_second(
    issue: Issue, dana: Person, project: Project, at: datetime, is_active: bool
) -> None:
    issue(dana, project, expires_at=later(days=30))
    assert in_state("active", at) is is_active
    assert in_state("expired", at) is not is_active


def test_key_without_expiry_never_expires(issued: Issued) -> None:
    assert in_state("active", later(days=40_000))
    assert not in_state("expired", later(days=40_000))


def test_disabled_key_has_not_ended_and_needs_attention(issued: Issued) -> None:
    disable_key(api_key=issued.row, at=NOON)
    assert in_state("active", NOON)
    assert in_state("attention", NOON)


def test_revoked_key_is_revoked_and_nothing_else(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, expires_at=later(days=1))
    mark_exposed(key_id=issued.row.pk, at=NOON)
    revoke_key(principal=None, api_key=issued.row, at=NOON)
    for at in (NOON, later(days=2)):
        found = {name for name in ("active", "expired", "revoked", "attention") if in_state(name, at)}
        assert found == {"revoked"}


@pytest.mark.parametrize(
    ("at", "needs_attention"),
    [
        (later(days=16) - SECOND, False),
        (later(days=16), True),
        (later(days=30) - SECOND, True),
        (later(days=30), False),
    ],
)
def test_key_needs_attention_from_14_days_before_its_end(
    issue: Issue, dana: Person, project: Project, at: datetime, needs_attention: bool
) -> None:
    issue(dana, project, expires_at=later(days=30))
    assert in_state("attention", at) is needs_attention


@pytest.mark.parametrize(("at", "needs_attention"), [(later(days=90), False), (later(days=90) + SECOND, True)])
@pytest.mark.parametrize("is_used", [True, False])
def test_key_needs_attention_after_90_days_without_use(
    issued: Issued, at: datetime, needs_attention: bool, is_used: bool
) -> None:
    if is_used:
        use(issued.row)
    assert in_state("attention", at) is needs_attention


def test_exposed_key_needs_attention(issued: Issued) -> None:
    assert not in_state("attention", NOON)
    mark_exposed(key_id=issued.row.pk, at=NOON)
    assert in_state("attention", NOON)


# Search and order


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("CHECKOUT-service", 1),
        ("dana@", 1),
        ("Dana", 1),
        ("checkout", 1),
        ("payments", 0),
        ("%", 0),
        ("kp_sk_live_", 1),
        ("heckout", 1),
    ],
)
def test_search_finds_by_name_label_issuer_and_project(issued: Issued, text: str, count: int) -> None:
    assert ApiKey.objects.filtered(KeyFilter(text=text), at=NOON).count() == count


def test_search_finds_by_team(issue: Issue, bob: Person, team: Team) -> None:
    issue(bob, team)
    assert ApiKey.objects.filtered(KeyFilter(text="payments"), at=NOON).count() == 1


def test_newest_key_comes_first_and_before_continues(issue: Issue, dana: Person, project: Project) -> None:
    ids = [issue(dana, project).row.pk for _ in range(3)]
    keys = ApiKey.objects.newest_first()
    assert [key.pk for key in keys] == ids[::-1]
    assert [key.pk for key in keys.before(ids[1])] == [ids[0]]
    assert [key.pk for key in keys.before(None)] == ids[::-1]


# Uses and digests


def last_use(issued: Issued) -> tuple[datetime | None, str | None]:
    row = ApiKey.objects.get(pk=issued.row.pk)
    return row.last_used_at, row.last_used_ip


@pytest.mark.parametrize(
    ("at", "is_noted"),
    [
        (NOON - timedelta(days=1), False),
        (NOON, False),
        (NOON + timedelta(seconds=59, microseconds=999_999), False),
        (NOON + timedelta(seconds=60), True),
    ],
)
def test_use_moves_forward_and_once_a_minute(issued: Issued, at: datetime, is_noted: bool) -> None:
    assert use(issued.row, address="192.0.2.1") == 1
    assert use(issued.row, at=at, address="2001:db8::7") == int(is_noted)
    assert last_use(issued) == ((at, "2001:db8::7") if is_noted else (NOON, "192.0.2.1"))


def test_use_concerns_one_key_only(issued: Issued, issue: Issue, dana: Person, project: Project) -> None:
    other = issue(dana, project)
    use(issued.row)
    assert last_use(other) == (None, None)


def test_digest_is_replaced_only_if_it_is_still_the_one_that_was_read(issued: Issued) -> None:
    old = issued.row.digest
    keys = ApiKey.objects
    assert keys.upgrade_digest(issued.row.pk, old=old, new="$new") == 1
    assert keys.upgrade_digest(issued.row.pk, old=old, new="$late") == 0
    assert keys.get(pk=issued.row.pk).digest == "$new"
