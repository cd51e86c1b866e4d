"""Changing a key: it may be renamed, and allowed less; whatever is asked for, it can never do more afterwards."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.models import Organization, Project, Role, Team
from apikeys.actions import (
    EditNotAllowed,
    KeyChange,
    KeyNotActive,
    WideningRefused,
    add_permission,
    disable_key,
    enable_key,
    narrow_key,
    remove_permission,
    revoke_key,
)
from apikeys.limits import Limits
from apikeys.models import ApiKey
from apikeys.networks import is_within
from apikeys.permissions import ALL, BUILT_IN, Permission
from apikeys.permissions import Role as Rank
from apikeys.rules import rules_of
from apikeys.verification import verify
from audit.context import audit_context
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, newest_changes
from tests.apikeys.people import change_team_role, leave_teams
from tests.apikeys.rotated import fresh, rotate
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
FRAGMENT = {"HX-Request": "true"}
NAMES = sorted(BUILT_IN.by_name)
NETWORKS = ["203.0.113.0/24", "203.0.113.128/25", "203.0.113.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48"]
ORIGINS = ["https://app.example.com", "https://www.example.com"]


def narrow(by: Person, issued: Issued, *, at: datetime = NOON, **change: Any) -> ApiKey:
    principal = by.principal
    with audit_context(actor=principal.as_actor(), at=at):
        return narrow_key(principal=principal, api_key=issued.row, change=KeyChange(**change), at=at)


def powers(issued: Issued, at: datetime = NOON) -> frozenset[str]:
    """What a key may do at its next request."""
    key = verify(issued.text, at=at).key
    return key.permissions if key else frozenset()


# What comes of it


def test_narrowed_key_can_do_less_at_its_next_request(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["projects:read", "scan:read"])
    assert powers(issued) == {"projects:read", "scan:read"}
    narrow(dana, issued, permissions=["scan:read"])
    assert powers(issued) == {"scan:read"}
    assert Client().get("/v1/projects", headers=issued.headers).json()["code"] == "insufficient_scope"


def test_everything_a_key_is_can_be_narrowed_at_once(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["projects:read", "scan:read"])
    narrow(
        dana,
        issued,
        name="  nightly ",
        permissions=["scan:read", "scan:read"],
        expires_at=later(days=1),
        networks=["203.0.113.0/24"],
        limits=Limits(5, 100, 1000),
    )
    row = fresh(issued)
    assert (row.name, row.permissions, row.expires_at) == ("nightly", ["scan:read"], later(days=1))
    assert (row.networks, row.per_second, row.per_minute, row.per_day) == (["203.0.113.0/24"], 5, 100, 1000)


def test_change_is_on_record_with_before_and_after(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=["projects:read", "scan:read"])
    narrow(dana, issued, name="nightly", permissions=["scan:read"], expires_at=later(days=1))
    assert events_of(issued.row) == ["api_key.created", "api_key.updated"]
    assert newest_changes(issued.row.pk) == {
        "name": ["github-action-checkout-service", "nightly"],
        "permissions": [["projects:read", "scan:read"], ["scan:read"]],
        "expires_at": [None, later(days=1).isoformat()],
    }


def test_what_is_as_it_was_is_not_written(issued: Issued, dana: Person) -> None:
    narrow(dana, issued)
    narrow(dana, issued, name=issued.row.name, permissions=["projects:read"], networks=[], never_expires=True)
    assert events_of(issued.row) == ["api_key.created"]


def test_nothing_is_saved_if_the_audit_row_fails(issued: Issued, dana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull), transaction.atomic():
        narrow(dana, issued, name="nightly")
    assert fresh(issued).name == "github-action-checkout-service"


def test_all_narrowed_to_a_list_stays_a_list_when_its_issuer_rises(
    issue: Issue, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, permissions=[ALL])
    held = powers(issued)
    narrow(dana, issued, permissions=["projects:read", "scan:read"])
    assert powers(issued) == {"projects:read", "scan:read"} < held
    change_team_role(dana, Role.TEAM_ADMIN)
    assert powers(issued) == {"projects:read", "scan:read"}


def test_all_has_what_it_means_now_and_no_more(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, permissions=[ALL])
    more = sorted(set(NAMES) - powers(issued))
    assert more
    with pytest.raises(WideningRefused) as refused:
        narrow(dana, issued, permissions=[more[0], "projects:read"])
    assert (refused.value.field, more[0] in str(refused.value)) == ("permissions", True)
    narrow(dana, issued, permissions=[ALL, "projects:read"])
    assert fresh(issued).permissions == [ALL, "projects:read"]


def test_permission_that_the_issuer_lost_may_be_kept(issue: Issue, bob: Person, alice: Person, team: Team) -> None:
    """It stays what was granted, and means nothing until the issuer's role allows it again."""
    above = min(BUILT_IN.grantable(Rank.TEAM_ADMIN) - BUILT_IN.grantable(Rank.DEVELOPER))
    issued = issue(bob, team, permissions=[above, "projects:read"])
    change_team_role(bob, Role.DEVELOPER)
    narrow(alice, issued, permissions=[above])
    assert (fresh(issued).permissions, powers(issued)) == ([above], frozenset())


def test_publishable_key_loses_origins_but_gets_none(issue: Issue, dana: Person, project: Project) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=ORIGINS)
    narrow(dana, issued, allowed_origins=ORIGINS[:1])
    assert fresh(issued).allowed_origins == ORIGINS[:1]
    with pytest.raises(WideningRefused) as refused:
        narrow(dana, issued, allowed_origins=ORIGINS)
    assert refused.value.field == "allowed_origins"


# What is refused


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("permissions", {"permissions": ["projects:read", "scan:read"]}),
        ("permissions", {"permissions": [ALL]}),
        ("expires_at", {"expires_at": later(days=31)}),
        ("expires_at", {"expires_at": NOON}),
        ("expires_at", {"expires_at": later(days=-1)}),
        ("expires_at", {"never_expires": True}),
        ("networks", {"networks": []}),
        ("networks", {"networks": ["203.0.112.0/23"]}),
        ("networks", {"networks": ["203.0.113.0/24", "198.51.100.7/32"]}),
        ("networks", {"networks": ["2001:db8::/32"]}),
        ("allowed_origins", {"allowed_origins": ["https://app.example.com"]}),
        ("per_second", {"limits": Limits(6, 100, 1000)}),
        ("per_second", {"limits": Limits(None, 100, 1000)}),
        ("per_minute", {"limits": Limits(5, 101, 1000)}),
        ("per_day", {"limits": Limits(5, 100, None)}),
    ],
)
def test_widening_is_refused_with_its_field(
    issue: Issue, dana: Person, project: Project, field: str, change: dict[str, Any]
) -> None:
    issued = issue(
        dana,
        project,
        expires_at=later(days=30),
        networks=["203.0.113.0/24"],
        limits=Limits(5, 100, 1000),
    )
    before = ApiKey.objects.values().get()
    with pytest.raises(WideningRefused) as refused:
        narrow(dana, issued, name="nightly", **change)
    assert (refused.value.code, refused.value.field) == ("widening_refused", field)
    assert ApiKey.objects.values().get() == before


def test_ended_key_is_not_changed(issue: Issue, dana: Person, project: Project) -> None:
    revoked, expired, retired = (
        issue(dana, project),
        issue(dana, project, expires_at=later(days=1)),
        issue(dana, project),
    )
    revoke_key(principal=dana.principal, api_key=revoked.row, at=NOON)
    rotate(dana, retired, reason="leaked")
    for issued in (revoked, expired, retired):
        with pytest.raises(KeyNotActive):
            narrow(dana, issued, at=later(days=2), name="nightly")
    assert not ApiKey.objects.filter(name="nightly").exists()


def test_disabled_key_can_be_narrowed_and_stays_disabled(issued: Issued, dana: Person) -> None:
    disable_key(principal=dana.principal, api_key=issued.row, at=NOON)
    narrow(dana, issued, name="nightly")
    assert (fresh(issued).name, fresh(issued).disabled_at) == ("nightly", NOON)


def test_who_may_not_end_a_key_does_not_change_it(
    issue: Issue, bob: Person, dana: Person, charlie: Person, team: Team, project: Project
) -> None:
    issued = issue(bob, project)
    leave = issue(dana, project)
    leave_teams(dana)
    for person, key in ((dana, issued), (charlie, issued), (dana, leave)):
        with pytest.raises(EditNotAllowed):
            narrow(person, key, name="nightly")
    narrow(bob, leave, name="by an admin")
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["by an admin", "github-action-checkout-service"]


@pytest.mark.usefixtures("db")
@settings(
    max_examples=120,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    granted=st.sets(st.sampled_from([*BUILT_IN.grantable(Rank.DEVELOPER), ALL]), min_size=1),
    held_networks=st.lists(st.sampled_from(NETWORKS), unique=True, max_size=3),
    held_end=st.none() | st.integers(1, 60),
    change=st.fixed_dictionaries(
        {},
        optional={
            "permissions": st.sets(st.sampled_from([*NAMES, ALL]), min_size=1),
            "networks": st.lists(st.sampled_from(NETWORKS), unique=True, max_size=3),
            "expires_at": st.integers(-5, 90).map(lambda days: later(days=days)),
            "never_expires": st.just(True),
            "limits": st.builds(Limits, *[st.none() | st.integers(1, 9)] * 3),
        },
    ),
    role=st.sampled_from([Role.DEVELOPER, Role.TEAM_ADMIN]),
)
@example(granted={ALL}, held_networks=[], held_end=None, change={"permissions": {ALL}}, role=Role.TEAM_ADMIN)
def test_whatever_is_asked_for_a_key_can_do_no_more_than_before(
    issue: Issue,
    dana: Person,
    project: Project,
    granted: set[str],
    held_networks: list[str],
    held_end: int | None,
    change: dict[str, Any],
    role: Role,
) -> None:
    """Also after its issuer has got another role, to which what it had could have been widened."""
    with undone():
        end = later(days=held_end) if held_end else None
        issued = issue(dana, project, permissions=sorted(granted), networks=held_networks, expires_at=end)
        before = ApiKey.objects.get(pk=issued.row.pk)
        held = {each: _powers_as(dana, issued, each) for each in (role, Role.DEVELOPER)}
        with suppress(WideningRefused):
            narrow(dana, issued, **change)
        after = ApiKey.objects.get(pk=issued.row.pk)
        assert all(_powers_as(dana, issued, each) <= held[each] for each in held)
        assert before.expires_at is None or (after.expires_at is not None and after.expires_at <= before.expires_at)
        assert not held_networks or after.networks
        assert not held_networks or all(is_within(network, held_networks) for network in after.networks)


def _powers_as(person: Person, issued: Issued, role: Role) -> frozenset[str]:
    change_team_role(person, role)
    row = ApiKey.objects.with_places().with_roles().get(pk=issued.row.pk)
    return rules_of(row.organization_id).effective(row)


@contextmanager
def undone() -> Iterator[None]:
    """What an example did to the database is gone before the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# As JSON


def patch(caller: Issued, issued: Issued, **body: Any) -> Any:
    path = f"/v1/api-keys/{issued.row.pk}"
    return Client().patch(path, body, content_type="application/json", headers=caller.headers)


@pytest.fixture
def noon_now(noon: Any) -> None:
    """The endpoints read the clock."""


@pytest.mark.usefixtures("noon_now")
class TestPatch:
    def test_answers_with_the_key_as_it_is_now(self, issue: Issue, bob: Person, team: Team, issued: Issued) -> None:
        caller = issue(bob, team, permissions=["keys:write"])
        answer = patch(caller, issued, name="nightly", expires_at="2026-03-05T00:00:00Z", per_second=5)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["name"], body["expires_at"], body["per_second"]) == ("nightly", "2026-03-05T00:00:00Z", 5)
        assert fresh(issued).name == "nightly"

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("permissions", {"permissions": ["scan:read"]}),
            ("permissions", {"permissions": ["*"]}),
            ("expires_at", {"expires_at": None}),
            ("expires_at", {"expires_at": "2027-01-01T00:00:00Z"}),
            ("networks", {"networks": []}),
            ("allowed_origins", {"allowed_origins": ["https://app.example.com"]}),
            ("per_second", {"per_second": None}),
            ("per_second", {"per_second": 6}),
        ],
    )
    def test_widening_is_409_and_names_its_member(
        self, issue: Issue, bob: Person, team: Team, project: Project, field: str, body: dict[str, Any]
    ) -> None:
        caller = issue(bob, team, permissions=["keys:write"])
        limits = Limits(per_second=5)
        issued = issue(bob, project, expires_at=later(days=9), networks=["203.0.113.0/24"], limits=limits)
        answer = patch(caller, issued, **body)
        assert (answer.status_code, answer.json()["code"]) == (409, "widening_refused")
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert events_of(issued.row) == ["api_key.created"]

    def test_members_left_out_stay(self, issue: Issue, bob: Person, team: Team, project: Project) -> None:
        caller = issue(bob, team, permissions=["keys:write"])
        issued = issue(bob, project, limits=Limits(5, 100, None), networks=["203.0.113.0/24"])
        assert patch(caller, issued, per_day=100).status_code == 200
        row = fresh(issued)
        assert (row.per_second, row.per_minute, row.per_day, row.networks) == (5, 100, 100, ["203.0.113.0/24"])

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("per_day", {"per_day": 99}),
            ("permissions.0", {"permissions": ["no:such"]}),
            ("permissions", {"permissions": []}),
            ("name", {"name": ""}),
            ("scope", {"scope": "org"}),
            ("networks.0", {"networks": ["203.0.113.7/24"]}),
        ],
    )
    def test_what_nobody_can_mean_is_422(
        self, issue: Issue, bob: Person, team: Team, project: Project, field: str, body: dict[str, Any]
    ) -> None:
        caller = issue(bob, team, permissions=["keys:write"])
        answer = patch(caller, issue(bob, project, limits=Limits(per_minute=100)), **body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)

    def test_ended_key_is_409(self, issue: Issue, bob: Person, team: Team, issued: Issued) -> None:
        caller = issue(bob, team, permissions=["keys:write"])
        revoke_key(principal=bob.principal, api_key=issued.row, at=NOON)
        answer = patch(caller, issued, name="nightly")
        assert (answer.status_code, answer.json()["code"]) == (409, "key_not_active")

    def test_key_narrows_itself_and_may_lose_the_right_to(self, issue: Issue, bob: Person, project: Project) -> None:
        issued = issue(bob, project, permissions=["keys:write", "scan:read"])
        assert patch(issued, issued, permissions=["scan:read"]).json()["permissions"] == ["scan:read"]
        again = patch(issued, issued, name="once more")
        assert (again.status_code, again.json()["code"]) == (403, "insufficient_scope")

    def test_key_widens_itself_no_more_than_others(self, issue: Issue, bob: Person, project: Project) -> None:
        issued = issue(bob, project, permissions=["keys:write"])
        assert patch(issued, issued, permissions=["*"]).json()["code"] == "widening_refused"

    def test_key_changes_nothing_outside_its_scope(
        self, issue: Issue, alice: Person, bob: Person, team: Team, project: Project, other_project: Project,
        organization: Organization, charlie: Person,
    ) -> None:  # fmt: skip
        caller = issue(alice, project, permissions=["keys:write"])
        stranger = issue(charlie, charlie.membership.organization, permissions=["*"])
        outside = [issue(bob, team), issue(alice, other_project), issue(alice, organization)]
        for target in (*outside, stranger):
            assert patch(caller, target, name="nightly").status_code == 404
        assert patch(stranger, outside[0], name="nightly").status_code == 404
        assert not ApiKey.objects.filter(name="nightly").exists()

    def test_person_who_may_not_end_it_is_403(self, issue: Issue, bob: Person, dana: Person, project: Project) -> None:
        session, issued = Session(dana), issue(bob, project)
        path = f"/v1/api-keys/{issued.row.pk}"
        answer = session.client.patch(path, {"name": "nightly"}, content_type="application/json", headers=session.token)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    def test_key_without_the_permission_changes_nothing(self, issued: Issued) -> None:
        assert patch(issued, issued, name="nightly").json()["code"] == "insufficient_scope"

    def test_session_of_a_person_may(self, dana: Person, issued: Issued) -> None:
        session = Session(dana)
        answer = session.client.patch(
            f"/v1/api-keys/{issued.row.pk}", {"name": "nightly"}, content_type="application/json", headers=session.token
        )
        assert (answer.status_code, answer.json()["name"]) == (200, "nightly")


# On the page


def edit(client: Client, issued: Issued, **changes: Any) -> Any:
    row = fresh(issued)
    typed: dict[str, Any] = {
        "name": row.name,
        "permissions": row.permissions,
        "expires_on": "",
        "networks": "\n".join(row.networks),
        "per_second": row.per_second or "",
        "per_minute": "",
        "per_day": "",
    }
    return client.post(f"/keys/{row.pk}/edit/", typed | changes)


def test_form_shows_the_key_as_it_is(issue: Issue, dana: Person, project: Project, dana_client: Client) -> None:
    issued = issue(dana, project, permissions=["scan:read"], expires_at=later(days=400), networks=["203.0.113.0/24"])
    for headers, template in (({}, "apikeys/key_edit.html"), (FRAGMENT, "apikeys/_key_edit.html")):
        response: Any = dana_client.get(f"/keys/{issued.row.pk}/edit/", headers=headers)
        assert response.status_code == 200
        assert response.templates[0].name == template
        form = response.context["form"]
        assert form["permissions"].value() == ["scan:read"]
        assert form["networks"].value() == "203.0.113.0/24"


def test_person_narrows_a_key(issue: Issue, dana: Person, project: Project, dana_client: Client) -> None:
    issued = issue(dana, project, permissions=["scan:read", "projects:read"])
    response = edit(dana_client, issued, name="nightly", permissions=["scan:read"], expires_on="2099-06-30")
    assert (response.status_code, response["Location"]) == (302, f"/keys/{issued.row.pk}/")
    row = fresh(issued)
    assert (row.name, row.permissions) == ("nightly", ["scan:read"])
    assert row.expires_at == datetime(2099, 7, 1, tzinfo=UTC)


def test_renaming_alone_changes_nothing_else(issue: Issue, dana: Person, project: Project, dana_client: Client) -> None:
    """An end in the middle of a day is not moved by a form that knows days alone."""
    end = later(days=20_000, minutes=7)
    issued = issue(dana, project, expires_at=end, limits=Limits(per_second=5))
    day = end.date().isoformat()
    assert edit(dana_client, issued, name="nightly", expires_on=day).status_code == 302
    assert (fresh(issued).expires_at, list(newest_changes(issued.row.pk))) == (end, ["name"])


def test_widening_on_the_page_leads_to_a_prefilled_successor(
    issue: Issue, dana: Person, project: Project, dana_client: Client
) -> None:
    issued = issue(dana, project, name="ci", environment="test", permissions=["scan:read"])
    response = edit(
        dana_client, issued, permissions=["scan:read", "projects:read"], networks="203.0.113.0/24", per_day="9"
    )
    assert response.status_code == 422
    assert "permissions" in response.context["form"].errors
    url = response.context["successor_url"]
    assert f'href="{url.replace("&", "&amp;")}"' in response.text
    assert {name: value for name, [value] in parse_qs(urlsplit(url).query).items()} == {
        "name": "ci",
        "scope": "project",
        "project": str(project.pk),
        "environment": "test",
        "permissions": "scan:read,projects:read",
        "expiry": "never",
        "networks": "203.0.113.0/24",
        "per_day": "9",
    }
    form = dana_client.get(url).context["form"]
    assert form["permissions"].value() == ["scan:read", "projects:read"]
    assert (form["environment"].value(), form["per_day"].value(), form["expiry"].value()) == ("test", "9", "never")
    assert events_of(issued.row) == ["api_key.created"]


@pytest.mark.parametrize(
    ("typed", "field", "prefilled"),
    [
        ({"expires_on": "2099-12-31"}, "expires_on", {"expiry": "date", "expires_on": "2099-12-31"}),
        ({"expires_on": ""}, "expires_on", {"expiry": "never"}),
        ({"networks": "198.51.100.0/24"}, "networks", {"networks": "198.51.100.0/24"}),
        ({"per_second": "50"}, "per_second", {"per_second": "50"}),
    ],
)
def test_what_was_refused_is_in_the_successors_form(
    issue: Issue,
    dana: Person,
    project: Project,
    dana_client: Client,
    typed: dict[str, str],
    field: str,
    prefilled: dict[str, str],
) -> None:
    issued = issue(dana, project, expires_at=later(days=900), networks=["203.0.113.0/24"], limits=Limits(per_second=5))
    same = {"expires_on": later(days=900).date().isoformat()}
    response = edit(dana_client, issued, **(same | typed))
    assert (response.status_code, list(response.context["form"].errors)) == (422, [field])
    given_on = {name: value for name, [value] in parse_qs(urlsplit(response.context["successor_url"]).query).items()}
    assert given_on.items() >= prefilled.items()
    form = dana_client.get(response.context["successor_url"]).context["form"]
    assert {name: str(form[name].value()) for name in prefilled} == prefilled


def test_successor_of_a_publishable_key_is_one_too(
    issue: Issue, dana: Person, project: Project, dana_client: Client
) -> None:
    issued = issue(dana, project, kind="publishable", permissions=[], allowed_origins=ORIGINS[:1])
    response = edit(dana_client, issued, allowed_origins="\n".join(ORIGINS))
    assert response.status_code == 422
    url = response.context["successor_url"]
    assert url.startswith("/sdk-keys/new/?")
    form = dana_client.get(url).context["form"]
    assert form["allowed_origins"].value() == "\n".join(ORIGINS)


def test_successor_of_an_organization_key_is_one_too(
    issue: Issue, alice: Person, organization: Organization, alice_client: Client
) -> None:
    issued = issue(alice, organization, permissions=["scan:read"])
    response = edit(alice_client, issued, permissions=["org:write"])
    assert response.context["successor_url"].startswith("/organization/keys/new/?")
    assert alice_client.get(response.context["successor_url"]).status_code == 200


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("permissions", {"permissions": []}),
        ("expires_on", {"expires_on": "9999-12-31"}),
        ("expires_on", {"expires_on": "0001-01-01"}),
        ("networks", {"networks": "everywhere"}),
        ("per_minute", {"per_second": "5", "per_minute": "4"}),
        ("name", {"name": ""}),
    ],
)
def test_form_that_nobody_can_mean_is_422(
    issued: Issued, dana_client: Client, field: str, typed: dict[str, Any]
) -> None:
    response = edit(dana_client, issued, **typed)
    assert (response.status_code, list(response.context["form"].errors)) == (422, [field])
    assert events_of(issued.row) == ["api_key.created"]


def test_page_says_that_the_key_has_ended(issued: Issued, dana: Person, dana_client: Client) -> None:
    revoke_key(principal=dana.principal, api_key=issued.row, at=NOON)
    for response in (dana_client.get(f"/keys/{issued.row.pk}/edit/"), edit(dana_client, issued, name="nightly")):
        assert response["Location"] == f"/keys/{issued.row.pk}/"
    assert "The key has ended." in dana_client.get(f"/keys/{issued.row.pk}/").text
    assert fresh(issued).name != "nightly"


def test_stranger_gets_404_and_colleague_403(
    issue: Issue, bob: Person, project: Project, dana_client: Client, charlie_client: Client
) -> None:
    issued = issue(bob, project)
    for client, status in ((charlie_client, 404), (dana_client, 403)):
        assert client.get(f"/keys/{issued.row.pk}/edit/").status_code == status
        assert edit(client, issued, name="nightly").status_code == status
    assert fresh(issued).name != "nightly"


def test_permission_that_the_organization_took_away_goes_when_the_form_is_saved(
    issue: Issue, alice: Person, project: Project, alice_client: Client
) -> None:
    add_permission(principal=alice.principal, entry=Permission("build:start", "Start builds.", Rank.DEVELOPER))
    issued = issue(alice, project, permissions=["build:start", "scan:read"])
    remove_permission(principal=alice.principal, name="build:start")
    assert edit(alice_client, issued, permissions=["scan:read"]).status_code == 302
    assert fresh(issued).permissions == ["scan:read"]


@pytest.mark.parametrize("count", [1, 3])
def test_form_costs_the_same_for_few_and_many_keys(
    issue: Issue,
    dana: Person,
    project: Project,
    dana_client: Client,
    django_assert_num_queries: Queries,
    count: int,
) -> None:
    issued = [issue(dana, project) for _ in range(count)][-1]
    with django_assert_num_queries(6):
        assert dana_client.get(f"/keys/{issued.row.pk}/edit/").status_code == 200


# At once


@pytest.fixture
def in_threads() -> Callable[..., list[object]]:
    """Do things at the same moment, and return what came of each, an exception's class included."""

    def run_all(*acts: Callable[[], object]) -> list[object]:
        together = threading.Barrier(len(acts))

        def run(act: Callable[[], object]) -> object:
            try:
                connection.ensure_connection()
                together.wait(10)
                return act()
            except Exception as error:  # noqa: BLE001 - it is what came of it
                return type(error)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(run, acts))

    return run_all


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_the_second_is_held_to_the_first(
    transactional_db: None, issue: Issue, dana: Person, project: Project, in_threads: Callable[..., list[object]]
) -> None:
    """Each would be a narrowing by itself, and the later one a widening of what the first has left."""
    both = ["projects:read", "scan:read"]
    issued, principal = issue(dana, project, permissions=both), dana.principal

    def to(name: str) -> Callable[[], object]:
        change = KeyChange(permissions=[name])
        return lambda: narrow_key(principal=principal, api_key=issued.row, change=change, at=NOON).permissions

    outcomes = in_threads(*[to(name) for name in both * 4])
    won = fresh(issued).permissions
    assert len(won) == 1
    assert [outcome for outcome in outcomes if outcome != won] == [WideningRefused] * 4
    assert events_of(issued.row) == ["api_key.created", "api_key.updated"]


@pytest.mark.django_db(transaction=True)
def test_change_against_revocation_ends_revoked(
    transactional_db: None, issued: Issued, dana: Person, in_threads: Callable[..., list[object]]
) -> None:
    principal = dana.principal
    outcomes = in_threads(
        lambda: narrow_key(principal=principal, api_key=issued.row, change=KeyChange(name="nightly"), at=NOON).name,
        lambda: revoke_key(principal=principal, api_key=issued.row, at=NOON).name,
        lambda: enable_key(principal=principal, api_key=issued.row, at=NOON).name,
    )
    assert fresh(issued).revoked_at == NOON
    assert outcomes[0] in {"nightly", KeyNotActive}
    assert fresh(issued).name == ("nightly" if outcomes[0] == "nightly" else issued.row.name)
