"""Finding keys: every filter, who sees what, and that many keys cost what few do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions import create_service_account
from accounts.models import Organization, Project, Role, Team
from apikeys import finding
from apikeys.actions import disable_key, hand_to_service_account, mark_exposed, revoke_key
from apikeys.filters import KeyFilter, words_of
from apikeys.finding import Cursor, Search, search_of
from apikeys.models import ApiKey, KeyTerm
from apikeys.models.conditions import state_parts
from apikeys.models.terms import after, terms_of
from audit import uses
from audit.context import audit_context
from tests.audit.used import a_use
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
Names = list[str]
LIST = "/integrations/"


@pytest.fixture
def keys(
    noon: time_machine.Traveller,
    issue: Issue,
    alice: Person,
    bob: Person,
    dana: Person,
    organization: Organization,
    team: Team,
    project: Project,
    other_project: Project,
) -> dict[str, ApiKey]:
    """Keys that differ in everything that can be asked for."""
    made = {
        "of the org": issue(alice, organization, name="of the org", permissions=["org:read", "keys:read"]),
        "of the team": issue(bob, team, name="of the team", permissions=["*"]),
        "nightly report": issue(dana, project, name="nightly report", expires_at=later(days=10)),
        "old": issue(dana, project, name="old", at=later(days=-100)),
        "elsewhere": issue(alice, other_project, name="elsewhere"),
        "expired": issue(dana, project, name="expired", at=later(days=-9), expires_at=later(days=-1)),
        "revoked": issue(dana, project, name="revoked"),
        "disabled": issue(dana, project, name="disabled"),
    }
    revoke_key(principal=None, api_key=made["revoked"].row, at=NOON)
    disable_key(principal=None, api_key=made["disabled"].row, at=NOON)
    _use(made["nightly report"], "203.0.113.7")
    _use(made["elsewhere"], "2001:db8::7", at=later(days=-3))
    return {name: issued.row for name, issued in made.items()}


def _use(issued: Issued, address: str, **said: Any) -> None:
    row = issued.row
    uses.record(
        a_use(
            key_id=row.pk,
            prefix=row.prefix,
            label=row.label,
            organization_id=row.organization_id,
            address=address,
            **said,
        )
    )
    uses.flush()


ASKED: dict[str, tuple[dict[str, str], set[str]]] = {
    "a word": ({"q": "report"}, {"nightly report"}),
    "the beginning of a word, in any case": ({"q": "NIGHT"}, {"nightly report"}),
    "words in any order": ({"q": "report nightly"}, {"nightly report"}),
    "words of which one is not there": ({"q": "report daily"}, set()),
    "a project": ({"q": "deploym"}, {"elsewhere"}),
    "a team": ({"q": "payments"}, {"of the team"}),
    "an issuer": ({"q": "bob@"}, {"of the team"}),
    "scope": ({"scope": "org"}, {"of the org"}),
    "issuer by email": ({"issuer": "BOB@example.com"}, {"of the team"}),
    "permission": ({"permission": "keys:read"}, {"of the org", "of the team"}),
    "created": ({"created_to": "2026-02-28", "created_from": "2025-01-01"}, {"old", "expired"}),
    "created to a moment": ({"created_to": NOON.isoformat()}, {"old", "expired"}),
    "used": ({"used_from": "2026-03-02"}, {"nightly report"}),
    "used earlier": ({"used_to": "2026-02-27"}, {"elsewhere"}),
    "never used": (
        {"used": "never"},
        {"of the org", "of the team", "old", "expired", "revoked", "disabled"},
    ),
    "not used for days": ({"unused_days": "2"}, {"old", "elsewhere", "expired"}),
    "expires": ({"expires_from": "2026-03-02", "expires_to": "2026-04-01"}, {"nightly report"}),
    "never expires": ({"expires": "never", "scope": "team"}, {"of the team"}),
    "seen from a network": ({"seen_from": "203.0.113.0/24"}, {"nightly report"}),
    "seen from an address": ({"seen_from": "2001:db8::7"}, {"elsewhere"}),
    "seen from elsewhere": ({"seen_from": "198.51.100.0/24"}, set()),
    "active": ({"state": "active", "scope": "project"}, {"nightly report", "old", "elsewhere", "disabled"}),
    "attention": ({"state": "attention"}, {"nightly report", "old", "disabled"}),
    "disabled": ({"state": "disabled"}, {"disabled"}),
    "expired": ({"state": "expired"}, {"expired"}),
    "revoked": ({"state": "revoked"}, {"revoked"}),
    "retired": ({"state": "retired"}, set()),
    "several": ({"scope": "project", "used": "never", "state": "expired", "q": "exp"}, {"expired"}),
}


def listed(client: Client, parameters: dict[str, str], headers: dict[str, str]) -> set[str]:
    response: Any = client.get("/v1/api-keys", parameters, headers=headers)
    assert response.status_code == 200, response.text
    return {item["name"] for item in response.json()["items"]} - {"asks"}


@pytest.mark.parametrize("bound", [1_000, 1])
def test_filters_find_the_same_among_few_and_many(
    keys: dict[str, ApiKey],
    issue: Issue,
    alice: Person,
    organization: Organization,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    bound: int,
) -> None:
    """With a bound of 1, what is found counts as many, and keys are looked through from the newest on."""
    monkeypatch.setattr(finding, "BOUND", bound)
    headers = issue(alice, organization, name="asks", permissions=["keys:read"], at=NOON).headers
    found = {asked: listed(client, parameters, headers) for asked, (parameters, _) in ASKED.items()}
    assert found == {asked: names for asked, (_, names) in ASKED.items()}


def test_filters_mean_the_same_to_the_table_and_to_bulk(
    keys: dict[str, ApiKey], alice: Person, alice_client: Client
) -> None:
    for asked, (parameters, names) in ASKED.items():
        shown: set[str] = set()
        for tab in ("active", "expired", "revoked"):
            response: Any = alice_client.get(LIST, {**parameters, "tab": tab})
            shown |= {row.api_key.name for row in response.context["rows"]}
            kept = {name: value for name, value in parameters.items() if name != "state"}
            assert response.context["bar"].parameters == kept, (asked, tab)
        if "state" not in parameters:
            assert shown == names, asked
        else:
            assert shown >= names, asked


def test_team_is_its_keys_and_those_of_its_projects(
    keys: dict[str, ApiKey], alice: Person, team: Team, project: Project
) -> None:
    visible = ApiKey.objects.visible_to(alice.principal)
    names = {row.name for row in visible.filtered(KeyFilter(team_id=team.pk), at=NOON)}
    assert names == {"of the team", "nightly report", "old", "expired", "revoked", "disabled"}
    assert visible.filtered(KeyFilter(project_id=project.pk), at=NOON).count() == 5
    assert not visible.filtered(KeyFilter(project_id=uuid4()), at=NOON).exists()
    label = keys["old"].label
    assert [row.name for row in visible.filtered(KeyFilter(label=label), at=NOON)] == ["old"]
    assert [row.name for row in visible.filtered(KeyFilter(text=label), at=NOON)] == ["old"]
    assert [row.name for row in visible.filtered(KeyFilter(text=keys["old"].prefix), at=NOON)] == ["old"]


def test_service_account_tells_its_keys_from_those_of_people(
    keys: dict[str, ApiKey], bob: Person, alice: Person, alice_client: Client, team: Team
) -> None:
    account = create_service_account(
        principal=bob.principal, team=team, name="ci", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )
    with audit_context(actor=alice.principal.as_actor(), at=NOON):
        hand_to_service_account(principal=alice.principal, api_key=keys["old"], service_account=account, at=NOON)
    dana = {"issuer": "dana@example.com", "tab": "active"}
    for asked, names in (("none", {"nightly report", "disabled"}), (str(account.pk), {"old"})):
        page: Any = alice_client.get(LIST, dana | {"service_account": asked})
        assert {row.api_key.name for row in page.context["rows"]} == names
    assert ("Service account", "Payments / ci") in [chip[:2] for chip in page.context["bar"].chips]


def test_each_sees_what_is_theirs_alone(keys: dict[str, ApiKey], dana: Person, charlie: Person) -> None:
    found = finding.read_page(search_of(dana.principal, KeyFilter(permission="keys:read"), at=NOON), Cursor(), size=9)
    assert found.keys == []
    theirs = finding.read_page(search_of(charlie.principal, KeyFilter(text="report"), at=NOON), Cursor(), size=9)
    assert theirs.keys == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "gone"),
        ("scope", "galaxy"),
        ("team", "x"),
        ("issuer", "nobody"),
        ("permission", "keys read"),
        ("created_from", "yesterday"),
        ("created_to", "2026-02-30"),
        ("used_from", "2026-02-01T12:00:00"),
        ("expires_to", "9999-12-31"),
        ("unused_days", "0"),
        ("seen_from", "203.0.113.0/33"),
        ("label", "x" * 65),
        ("service_account", "ci"),
    ],
)
def test_bad_filter_is_refused_by_name(
    issue: Issue, alice: Person, organization: Organization, client: Client, alice_client: Client, name: str, value: str
) -> None:
    headers = issue(alice, organization, permissions=["keys:read"]).headers
    response: Any = client.get("/v1/api-keys", {name: value}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in response.json()["errors"]] == [name]
    page: Any = alice_client.get(LIST, {name: value})
    assert (page.status_code, page.context["rows"]) == (422, [])
    assert "This filter cannot be used" in page.text


def test_end_before_its_beginning_is_refused(alice_client: Client) -> None:
    page: Any = alice_client.get(LIST, {"used_from": "2026-03-02", "used_to": "2026-03-01"})
    assert (page.status_code, page.context["bar"].errors) == (422, {"used_to": ["The end is before the beginning."]})


def test_page_has_a_chip_for_each_filter_that_takes_it_away(
    keys: dict[str, ApiKey], alice_client: Client, project: Project
) -> None:
    asked = {"tab": "active", "q": "night", "project": str(project.pk), "used_from": "2026-03-01"}
    page: Any = alice_client.get(LIST, asked)
    assert [row.api_key.name for row in page.context["rows"]] == ["nightly report"]
    assert page.context["bar"].chips == [
        ("Project", "Payments / Checkout", "?tab=active&q=night&used_from=2026-03-01"),
        ("Last used from", "2026-03-01", f"?tab=active&q=night&project={project.pk}"),
    ]
    counts = {tab.value: tab.said for tab in page.context["tabs"]}
    assert counts == {"active": "1", "attention": "1", "expired": "0", "revoked": "0"}


def test_counts_end_at_a_bound(keys: dict[str, ApiKey], alice_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "BOUND", 3)
    monkeypatch.setattr("apikeys.listing.BOUND", 3)
    page: Any = alice_client.get(LIST)
    said = {tab.value: tab.said for tab in page.context["tabs"]}
    assert said == {"active": "2+", "attention": "2+", "expired": "1", "revoked": "1"}
    # Nobody counts what passes a filter that many keys pass.
    page = alice_client.get(LIST, {"scope": "project"})
    assert [tab.said for tab in page.context["tabs"]] == ["", "", "", ""]
    assert len(page.context["rows"]) == 4


def test_figures_of_the_overview_lead_to_what_they_count(
    keys: dict[str, ApiKey], noon: time_machine.Traveller, alice: Person, sign_in_as: Callable[[Person], Client]
) -> None:
    client = sign_in_as(alice)
    overview: Any = client.get("/")
    for title, figure, url in overview.context["figures"]:
        assert str(len(client.get(url).context["rows"])) == figure, title
    assert overview.context["counts"] == {"active": 6, "used_today": 1, "attention": 3, "expiring": 1}


@pytest.mark.parametrize("bound", [1_000, 2])
def test_overview_names_the_most_urgent_among_few_and_many(
    keys: dict[str, ApiKey], alice: Person, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(finding, "BOUND", bound)
    mark_exposed(key_id=keys["of the org"].pk, at=NOON)
    urgent = finding.most_urgent(search_of(alice.principal, KeyFilter(), at=NOON), size=2)
    assert [row.name for row in urgent] == ["of the org", "nightly report"]


# What it costs


def statements(client: Client, address: str, headers: dict[str, str]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address, headers=headers).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize(
    "query", ["", *sorted({f"{name}={value}" for asked, _ in ASKED.values() for name, value in asked.items()})]
)
def test_as_many_statements_for_few_as_for_many(
    issue: Issue,
    alice: Person,
    organization: Organization,
    project: Project,
    alice_client: Client,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    headers = issue(alice, organization, permissions=["keys:read"]).headers
    # Where nothing is found, there is nothing to read; so something is.
    issue(alice, project, name="a nightly report of payments and deployments of bob@")
    few, many = list[int](), list[int]()
    for bound, found in ((1_000, few), (1, many)):
        monkeypatch.setattr(finding, "BOUND", bound)
        found.append(len(statements(alice_client, f"{LIST}?{query}".replace("+", "%2B"), {})))
        found.append(len(statements(client, f"/v1/api-keys?{query}".replace("+", "%2B"), headers)))
        for number in range(3):
            issue(alice, project, name=f"report {number}")
    assert few == many


# Which index PostgreSQL takes goes by what its tables hold, here next to nothing; `bench.finding` has them filled.
@pytest.mark.sqlite
@pytest.mark.parametrize("state", ["active", "attention", "disabled", "expired", "retired", "revoked"])
def test_each_part_of_a_state_has_an_index(organization: Organization, state: str) -> None:
    for part in state_parts(state, at=NOON, unused_after=90):
        plan = ApiKey.objects.filter(part, organization_id=organization.pk).explain()
        assert "api_key_" in plan, plan


@pytest.mark.parametrize(
    "asked",
    [KeyFilter(permission="keys:read"), KeyFilter(text="report"), KeyFilter(seen_from="203.0.113.0/24")],
    ids=["permission", "text", "seen_from"],
)
def test_other_rows_lead_to_keys_by_an_index(alice: Person, asked: KeyFilter) -> None:
    search = search_of(alice.principal, asked, at=NOON)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    plan = finding._narrowed(search)[0].explain()
    assert ("key_term" in plan.lower() or "keyterm" in plan.lower()) or "audit_key_address" in plan, plan


# What a key is found by


def held(api_key: ApiKey) -> set[bytes]:
    return {bytes(term) for term in KeyTerm.objects.filter(key=api_key).values_list("term", flat=True)}


def test_key_is_found_by_what_it_holds_now(issued: Issued) -> None:
    row = issued.row
    assert held(row) == terms_of(row)
    row.name, row.permissions = "another", ["keys:read"]
    row.save(update_fields=["name", "permissions"])
    assert held(row) == terms_of(row)
    assert {term for term in held(row) if term[:2] == b"p:"} == {b"p:keys:read"}
    row.last_used_at = later(seconds=1)
    row.save(update_fields=["last_used_at"])
    assert held(row) == terms_of(row)


@pytest.mark.pure
def test_words_are_without_case_and_what_stands_between() -> None:
    assert words_of("GitHub-action_CHECKOUT (100%) straße") == ["github", "action", "checkout", "100", "strasse"]
    assert words_of("%_") == []
    assert after(b"n:git") == b"n:giu"
    assert all(b"n:git" <= text.encode() < after(b"n:git") for text in ("n:git", "n:github", "n:git\U0010ffff"))


def test_everything_is_of_the_organization_only(alice: Person, dana: Person) -> None:
    assert search_of(alice.principal, KeyFilter(), at=NOON).is_everything
    assert not search_of(dana.principal, KeyFilter(), at=NOON).is_everything
    assert isinstance(search_of(dana.principal, KeyFilter(), at=NOON), Search)


def test_filter_says_what_it_asks_for_as_json() -> None:
    asked = KeyFilter(text="ci", project_id=uuid4(), used_to=NOON - timedelta(days=1))
    assert asked.as_json(mask=str.upper) == {
        "text": "CI",
        "project_id": str(asked.project_id),
        "used_to": "2026-03-01T12:00:00+00:00",
    }
    assert not KeyFilter(state="active").is_narrowing
    assert asked.is_narrowing
