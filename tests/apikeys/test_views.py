from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session as StoredSession
from django.db import transaction
from django.test import Client
from uuid_utils.compat import uuid7

from accounts import actions as people
from accounts.models import Organization, Project, Role, Team
from apikeys import actions
from apikeys.actions import PermissionNotGrantable, ScopeNotAllowed, disable_key, mark_exposed, revoke_key
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit import uses
from tests.apikeys.audited import (
    LogIsFull,
    Row,
    break_the_audit_log,
    events_of,
    everything_recorded,
    rows_of,
)
from tests.apikeys.logbook import Logbook
from tests.apikeys.people import change_team_role, leave_teams
from tests.apikeys.sessions import Session
from tests.cast import NOON, Issued, Person, later, use

FRAGMENT = {"HX-Request": "true"}
LIST, NEW, SENTENCE = "/integrations/", "/integrations/new/", "/integrations/new/sentence/"
Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
SignIn = Callable[[Person], Client]


def templates(response: Any) -> list[str]:
    return [template.name for template in response.templates]


def shown(response: Any) -> list[str]:
    return [row.api_key.name for row in response.context["rows"]]


def filled(**changes: Any) -> dict[str, Any]:
    return {
        "issue_id": str(uuid7()),
        "name": "nightly scan",
        "scope": "org",
        "environment": "live",
        "permissions": ["scan:read"],
        "expiry": "90",
    } | changes


NEW_FOR_ALL = "/organization/keys/new/"


def paths_of(issued: Issued) -> list[str]:
    return [f"/keys/{issued.row.pk}/", f"/keys/{issued.row.pk}/revoke/", f"/projects/{issued.row.project_id}/"]


# Who gets in


def test_stranger_gets_404_for_every_key_and_project(issued: Issued, charlie_client: Client) -> None:
    for path in paths_of(issued):
        for headers in ({}, FRAGMENT):
            response = charlie_client.get(path, headers=headers)
            assert response.status_code == 404
            assert issued.row.label not in response.text
    assert charlie_client.post(f"/keys/{issued.row.pk}/revoke/").status_code == 404
    assert not ApiKey.objects.get().is_revoked


def test_strangers_list_is_empty(issued: Issued, charlie_client: Client) -> None:
    response: Any = charlie_client.get(LIST)
    assert (shown(response), response.context["has_any"]) == ([], False)
    assert "No API keys yet" in response.text


def test_developer_gets_404_for_keys_of_another_team(
    issue: Issue, alice: Person, other_project: Project, dana_client: Client
) -> None:
    for path in paths_of(issue(alice, other_project)):
        assert dana_client.get(path).status_code == 404


def test_person_who_left_the_team_gets_404(issued: Issued, dana: Person, dana_client: Client) -> None:
    assert dana_client.get(paths_of(issued)[0]).status_code == 200
    leave_teams(dana)
    assert [dana_client.get(path).status_code for path in paths_of(issued)] == [404, 404, 404]


def test_who_can_issue_nothing_is_told_so(dana: Person, dana_client: Client, project: Project) -> None:
    leave_teams(dana)
    response: Any = dana_client.get(NEW)
    assert response.status_code == 403
    assert "You are in no team that has a project." in response.text
    assert dana_client.post(NEW_FOR_ALL, filled()).status_code == 403
    listed: Any = dana_client.get(LIST)
    assert listed.context["may_issue"] is False
    assert "New API key" not in listed.text


def test_who_issues_no_keys_is_told_what_fits(
    alice: Person, bob_client: Client, dana: Person, dana_client: Client, team: Team
) -> None:
    def said(client: Client, path: str) -> str:
        return client.get(path).content.decode()

    waiting, habit = "Your team has no project yet. Ask its admin to create one.", ">Issue a key</a>"
    for path in (NEW, LIST, "/projects/"):
        assert [waiting in said(client, path) for client in (dana_client, bob_client)] == [True, False]
    assert habit in said(dana_client, "/account/habits/")
    people.change_organization_role(at=NOON, principal=alice.principal, membership=dana.membership, role=Role.AUDITOR)
    assert all("Auditors issue no keys." in said(dana_client, path) for path in (NEW, LIST))
    assert "Auditors create none." in said(dana_client, "/projects/")
    assert habit not in said(dana_client, "/account/habits/")


def test_developer_does_not_revoke_a_colleagues_key(
    issue: Issue, bob: Person, project: Project, dana_client: Client
) -> None:
    issued = issue(bob, project)
    path = f"/keys/{issued.row.pk}/revoke/"
    assert [dana_client.get(path).status_code, dana_client.post(path).status_code] == [403, 403]
    detail: Any = dana_client.get(f"/keys/{issued.row.pk}/")
    assert detail.context["row"].may_revoke is False
    assert path not in detail.text
    assert not ApiKey.objects.get().is_revoked


@pytest.mark.parametrize("path", [LIST, NEW, SENTENCE, "/"])
def test_anonymous_is_sent_to_the_sign_in(issued: Issued, path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response["Location"]) == (302, f"/account/sign-in/?next={path}")
    htmx = Client().get(path, headers=FRAGMENT | {"HX-Current-URL": "http://testserver/integrations/"})
    assert (htmx.status_code, htmx["HX-Redirect"]) == (200, "/account/sign-in/?next=/integrations/")


# The table


def test_list_is_page_or_fragment(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.get(LIST)
    part: Any = dana_client.get(LIST, headers=FRAGMENT)
    assert templates(page)[0] == "apikeys/key_list.html"
    assert templates(part)[0] == "apikeys/_key_table.html"
    assert ("<html" in page.text, "<html" in part.text) == (True, False)
    for response in (page, part):
        assert shown(response) == ["github-action-checkout-service"]
        assert f"{issued.row.label}…" in response.text
        assert "HX-Request" in response["Vary"]


def test_table_shows_what_is_known_of_a_key(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project, sign_in_as: SignIn
) -> None:
    issued = issue(dana, project, environment="test", expires_at=later(days=10))
    use(issued.row, address="192.0.2.7")
    text = sign_in_as(dana).get(LIST).text
    for part in ("Checkout", "Test environment", "by Dana", "192.0.2.7", "projects:read", "Expires in 10 days"):
        assert part in text


def test_names_are_shown_as_text(issue: Issue, dana: Person, project: Project, dana_client: Client) -> None:
    issued = issue(dana, project, name="<script>alert(1)</script>")
    for path in (LIST, *paths_of(issued), "/"):
        text = dana_client.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.fixture
def every_state(noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project) -> None:
    issue(dana, project, name="good")
    revoke_key(principal=None, api_key=issue(dana, project, name="revoked").row, at=NOON)
    disable_key(api_key=issue(dana, project, name="disabled").row, at=NOON)
    mark_exposed(key_id=issue(dana, project, name="exposed").row.pk, at=NOON)
    issue(dana, project, name="expiring", expires_at=later(days=14))
    issue(dana, project, name="expired", at=later(days=-2), expires_at=later(days=-1))
    issue(dana, project, name="unused", at=later(days=-91))


TABS = {
    "active": ["unused", "expiring", "exposed", "disabled", "good"],
    "attention": ["unused", "expiring", "exposed", "disabled"],
    "expired": ["expired"],
    "revoked": ["revoked"],
}


@pytest.mark.parametrize(("tab", "names"), TABS.items())
def test_tab_holds_the_keys_in_its_state(
    every_state: None, dana: Person, sign_in_as: SignIn, tab: str, names: Any
) -> None:
    response: Any = sign_in_as(dana).get(LIST, {"tab": tab})
    assert shown(response) == names
    tabs = {item.value: (item.count, item.is_current) for item in response.context["tabs"]}
    assert tabs == {value: (len(held), value == tab) for value, held in TABS.items()}
    assert [item.url for item in response.context["tabs"]] == [f"?tab={value}" for value in TABS]


@pytest.mark.parametrize("tab", ["", "galaxy", "\0", "x" * 10_000])
def test_unknown_tab_is_the_first_one(every_state: None, dana: Person, sign_in_as: SignIn, tab: str) -> None:
    assert shown(sign_in_as(dana).get(LIST, {"tab": tab})) == TABS["active"]


def test_row_says_how_the_key_is_doing(every_state: None, dana: Person, sign_in_as: SignIn) -> None:
    client = sign_in_as(dana)
    health = {
        row.api_key.name: (row.health.code, row.may_revoke, row.expires_soon)
        for tab in TABS
        for row in client.get(LIST, {"tab": tab}).context["rows"]
    }
    assert health == {
        "good": ("never_used", True, False),
        "disabled": ("disabled", True, False),
        "exposed": ("exposed", True, False),
        "expiring": ("expiring", True, True),
        "unused": ("unused", True, False),
        "expired": ("expired", True, False),
        "revoked": ("revoked", False, False),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("CHECK", ["checkout-ci", "100%_off"]),
        ("checkout-ci", ["checkout-ci"]),
        ("%", []),
        ("off", ["100%_off"]),
        ("_off", ["100%_off"]),
        ("dana@example", ["checkout-ci", "100%_off"]),
        ("kp_sk_live_", ["checkout-ci", "100%_off"]),
        ("\0", ["checkout-ci", "100%_off"]),
        ("check\0out-ci", ["checkout-ci"]),
        ("  checkout-ci  ", ["checkout-ci"]),
        ("nothing of the kind", []),
        ("x" * 100_000, []),
        ("' OR 1=1 --", []),
        ("\ufffd\u0130\u00df", []),
    ],
)
def test_search_finds_text_as_it_is_written(
    issue: Issue, dana: Person, project: Project, dana_client: Client, query: str, found: list[str]
) -> None:
    for name in ("100%_off", "checkout-ci"):
        issue(dana, project, name=name)
    for headers in ({}, FRAGMENT):
        response: Any = dana_client.get(LIST, {"q": query}, headers=headers)
        assert response.status_code == 200
        assert shown(response) == found
        assert len(response.context["query"]) <= 100


def test_search_stays_within_its_tab_and_counts_the_others(every_state: None, dana: Person, sign_in_as: SignIn) -> None:
    response: Any = sign_in_as(dana).get(LIST, {"q": "expir", "tab": "expired"})
    assert shown(response) == ["expired"]
    assert {tab.value: tab.count for tab in response.context["tabs"]} == {
        "active": 1,
        "attention": 1,
        "expired": 1,
        "revoked": 0,
    }
    assert response.context["tabs"][0].url == "?tab=active&q=expir"


def test_search_that_finds_nothing_says_so(
    noon: time_machine.Traveller, issued: Issued, dana: Person, sign_in_as: SignIn
) -> None:
    dana_client = sign_in_as(dana)
    text = dana_client.get(LIST, {"q": "<b>"}).text
    assert "No key here matches “&lt;b&gt;”" in text
    assert "Nothing needs attention" in dana_client.get(LIST, {"tab": "attention"}).text
    assert "No keys in this state" in dana_client.get(LIST, {"tab": "revoked"}).text


def test_list_has_pages_of_25_which_lead_to_each_other(
    issue: Issue, dana: Person, project: Project, dana_client: Client
) -> None:
    for number in range(51):
        issue(dana, project, name=f"key {number}")
    first: Any = dana_client.get(LIST)
    assert (shown(first), first.context["newer_url"]) == ([f"key {n}" for n in range(50, 25, -1)], "")
    second: Any = dana_client.get(LIST + first.context["older_url"])
    assert shown(second) == [f"key {n}" for n in range(25, 0, -1)]
    last: Any = dana_client.get(LIST + second.context["older_url"])
    assert (shown(last), last.context["older_url"]) == (["key 0"], "")
    assert shown(dana_client.get(LIST + last.context["newer_url"])) == shown(second)
    back: Any = dana_client.get(LIST + second.context["newer_url"])
    assert (shown(back), back.context["newer_url"]) == (shown(first), "")


@pytest.mark.parametrize("asked", ["", "1", "-1", "x", "\0", "x" * 10_000])
@pytest.mark.parametrize("name", ["before", "after", "page"])
def test_page_that_there_is_not_is_the_newest(issued: Issued, dana_client: Client, name: str, asked: str) -> None:
    assert len(shown(dana_client.get(LIST, {name: asked}))) == 1


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
@pytest.mark.parametrize("count", [1, 3, 25])
def test_list_costs_the_same_for_any_number_of_keys(
    issue: Issue,
    dana: Person,
    project: Project,
    dana_client: Client,
    count: int,
    headers: dict[str, str],
    django_assert_num_queries: Queries,
) -> None:
    for _ in range(count):
        issue(dana, project)
    with django_assert_num_queries(13):
        response = dana_client.get(LIST, headers=headers)
    assert len(shown(response)) == count


# The page of a project


def test_project_page_lists_its_keys_alone(
    issue: Issue, bob: Person, team: Team, issued: Issued, project: Project, bob_client: Client
) -> None:
    issue(bob, team, name="of the team")
    page: Any = bob_client.get(f"/projects/{project.pk}/")
    part: Any = bob_client.get(f"/projects/{project.pk}/", headers=FRAGMENT)
    assert (templates(page)[0], templates(part)[0]) == ("apikeys/project_detail.html", "apikeys/_key_table.html")
    for response in (page, part):
        assert shown(response) == ["github-action-checkout-service"]
        assert "HX-Request" in response["Vary"]
    assert page.context["issue_url"] == f"/integrations/new/?scope=project&project={project.pk}"


@pytest.mark.parametrize("count", [1, 3, 25])
def test_project_page_costs_the_same_for_any_number_of_keys(
    issue: Issue, dana: Person, project: Project, dana_client: Client, count: int, django_assert_num_queries: Queries
) -> None:
    for _ in range(count):
        issue(dana, project)
    with django_assert_num_queries(13):
        assert len(shown(dana_client.get(f"/projects/{project.pk}/"))) == count


# Issuing


def test_form_is_page_or_fragment(alice_client: Client, project: Project) -> None:
    page: Any = alice_client.get(NEW)
    part: Any = alice_client.get(NEW, headers=FRAGMENT)
    assert (templates(page)[0], templates(part)[0]) == ("apikeys/key_issue.html", "apikeys/_key_issue.html")
    for response in (page, part):
        assert response.status_code == 200
        assert "HX-Request" in response["Vary"]
        assert "no-store" in response["Cache-Control"]
        assert "Can do nothing yet" in response.text


def test_form_is_prefilled_by_its_address(
    noon: time_machine.Traveller, alice: Person, sign_in_as: SignIn, project: Project
) -> None:
    response: Any = sign_in_as(alice).get(
        NEW,
        {
            "name": "github-action",
            "scope": "project",
            "project": str(project.pk),
            "environment": "test",
            "permissions": ["scan:read,scan:trigger", "report:download"],
            "expiry": "30",
        },
    )
    form = response.context["form"]
    assert {field: form[field].value() for field in ("name", "scope", "environment", "expiry")} == {
        "name": "github-action",
        "scope": "project",
        "environment": "test",
        "expiry": "30",
    }
    checked = [c.value for g in response.context["permission_groups"] for c in g.choices if c.is_checked]
    assert checked == ["scan:trigger", "scan:read", "report:download"]
    assert 'value="github-action"' in response.text
    assert response.context["sentence"].startswith(
        "Can trigger and read scans, and download reports in project Checkout (test) until 1 April 2026."
    )


@pytest.mark.parametrize(
    "query",
    [
        {"scope": "galaxy", "environment": "prod", "permissions": "galaxy:rule", "expiry": "7"},
        {"team": "\0", "project": "x", "name": "\0" * 200, "expires_on": "soon", "permissions": ","},
        {"scope": "team", "team": str(UUID(int=7)), "expiry": "date", "expires_on": "9999-12-31"},
        {"name": "<script>", "issue_id": "x", "csrfmiddlewaretoken": "x", "principal": "x"},
    ],
)
@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_prefill_that_makes_no_sense_shows_the_form(
    alice_client: Client, project: Project, query: dict[str, str], headers: dict[str, str]
) -> None:
    response = alice_client.get(NEW, query, headers=headers)
    assert response.status_code == 200
    assert "<script>" not in response.text.replace('<script type="module"', "")
    assert alice_client.get(SENTENCE, query).status_code == 200


def test_prefill_never_chooses_the_id(alice_client: Client, project: Project) -> None:
    chosen = str(uuid7())
    response: Any = alice_client.get(NEW, {"issue_id": chosen})
    assert str(response.context["form"]["issue_id"].value()) != chosen


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "Can do nothing yet: choose at least one permission."),
        ({"permissions": ["scan:read", "scan:trigger"], "name": ""}, "Can trigger and read scans."),
        ({"permissions": "scan:read", "scope": "team", "environment": "live"}, "in the team you choose (live)."),
        ({"permissions": "scan:read", "expiry": "never"}, "with no expiry"),
        ({"permissions": "*"}, "Can do everything its issuer&#x27;s role allows."),
    ],
)
def test_live_sentence_tells_of_partial_input(
    alice_client: Client, project: Project, query: dict[str, Any], sentence: str
) -> None:
    response = alice_client.get(SENTENCE, query, headers=FRAGMENT)
    assert response.status_code == 200
    assert sentence in response.text
    assert "<html" not in response.text


def revealed(response: Any) -> str:
    key: str = response.context["key"]
    return key


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_key_is_revealed_in_that_response_and_nowhere_else(
    noon: time_machine.Traveller,
    alice: Person,
    project: Project,
    sign_in_as: SignIn,
    logbook: Logbook,
    headers: dict[str, str],
) -> None:
    client = sign_in_as(alice)
    response: Any = client.post(NEW_FOR_ALL, filled(), headers=headers)
    assert response.status_code == 200
    # The notice by mail is rendered within the request, too.
    pages = [name for name in templates(response) if not name.startswith("mail/")]
    assert pages[0] == f"apikeys/{'_' if headers else ''}key_revealed.html"
    assert "no-store" in response["Cache-Control"]
    assert "HX-Request" in response["Vary"]
    text, row = revealed(response), ApiKey.objects.get()
    assert verify(text, at=NOON).outcome is Outcome.ACCEPTED
    assert f'value="{text}"' in response.text
    secret = text[-32:]
    later_pages = [client.get(path).text for path in (LIST, NEW, "/", f"/keys/{row.pk}/", response.context["done_url"])]
    stored = repr(list(ApiKey.objects.values_list())) + repr(list(StoredSession.objects.values_list()))
    session = repr(dict(client.session))
    messages = repr([str(message) for message in get_messages(response.wsgi_request)])
    for place in (*later_pages, stored, session, messages, everything_recorded(), logbook.text):
        for part in (secret, secret[:16], secret[16:]):
            assert part not in place
    for place in (*later_pages, response.text):
        assert row.digest not in place
    assert repr(response.headers).count(secret) == 0


def test_reveal_holds_ready_to_paste_snippets(alice_client: Client, project: Project) -> None:
    response: Any = alice_client.post(NEW_FOR_ALL, filled())
    text = revealed(response)
    assert [snippet.slug for snippet in response.context["snippets"]] == [
        "shell",
        "curl",
        "env",
        "github",
        "gitlab",
        "python",
    ]
    assert all(text in snippet.text for snippet in response.context["snippets"])
    assert text not in repr(response.context["snippets"])
    assert response.text.count(text) == 7


def test_new_row_is_marked_on_the_next_page(alice_client: Client, project: Project) -> None:
    response: Any = alice_client.post(NEW_FOR_ALL, filled())
    row = ApiKey.objects.get()
    assert response.context["done_url"] == f"/organization/keys/?issued={row.pk}"
    [listed] = alice_client.get(response.context["done_url"]).context["rows"]
    assert listed.is_issued_now
    [again] = alice_client.get(LIST).context["rows"]
    assert not again.is_issued_now


@pytest.mark.parametrize(
    ("scope", "environment", "expiry"), [("org", "live", "30"), ("team", "test", "never"), ("project", "live", "365")]
)
def test_row_is_what_the_form_asked_for(
    noon: time_machine.Traveller,
    alice: Person,
    team: Team,
    project: Project,
    sign_in_as: SignIn,
    scope: str,
    environment: str,
    expiry: str,
) -> None:
    sign_in_as(alice).post(
        NEW_FOR_ALL if scope == "org" else NEW,
        filled(scope=scope, environment=environment, expiry=expiry, team=str(team.pk), project=str(project.pk)),
    )
    row = ApiKey.objects.get()
    assert (row.name, row.scope, row.environment, row.permissions) == (
        "nightly scan",
        scope,
        environment,
        ["scan:read"],
    )
    assert (row.team_id, row.project_id) == (
        team.pk if scope == "team" else None,
        project.pk if scope == "project" else None,
    )
    assert row.expires_at == (None if expiry == "never" else later(days=int(expiry)))
    assert rows_of(row) == [Row("api_key.created", "create", row.label, "user", "alice@example.com")]


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_bad_form_is_422_and_keeps_what_was_typed_and_holds_no_key(
    alice_client: Client, project: Project, headers: dict[str, str]
) -> None:
    data = filled(name="nightly <scan>", permissions=["scan:read"], scope="", expiry="never")
    response: Any = alice_client.post(NEW, data, headers=headers)
    assert response.status_code == 422
    assert templates(response)[0] == f"apikeys/{'_' if headers else ''}key_issue.html"
    assert "Choose a scope." in response.text
    assert 'value="nightly &lt;scan&gt;"' in response.text
    assert f'value="{data["issue_id"]}"' in response.text
    checked = [c.value for g in response.context["permission_groups"] for c in g.choices if c.is_checked]
    assert checked == ["scan:read"]
    assert response.context["form"]["expiry"].value() == "never"
    assert "kp_" not in response.text
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_form_sent_twice_issues_once_and_says_so(
    alice_client: Client, project: Project, headers: dict[str, str]
) -> None:
    data = filled()
    first: Any = alice_client.post(NEW_FOR_ALL, data)
    second: Any = alice_client.post(NEW_FOR_ALL, data | {"name": "again"}, headers=headers)
    assert second.status_code == 409
    assert templates(second)[0] == f"apikeys/{'_' if headers else ''}key_already_issued.html"
    row = ApiKey.objects.get()
    assert row.name == "nightly scan"
    assert "This key was already issued" in second.text
    assert f"{row.label}…" in second.text
    assert revealed(first)[-32:] not in second.text
    assert events_of(row) == ["api_key.created"]


def test_form_of_someone_else_issues_a_key_of_its_own(
    alice_client: Client, bob_client: Client, team: Team, project: Project
) -> None:
    data = filled(scope="team", team=str(team.pk))
    assert [alice_client.post(NEW, data).status_code, bob_client.post(NEW, data).status_code] == [200, 200]
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(
    ("permissions", "message"),
    [
        (["keys:write"], "Your role there does not allow: keys:write."),
        (
            ["org:read", "scan:read", "deployments:write"],
            "Your role there does not allow: deployments:write, org:read.",
        ),
    ],
)
def test_permission_beyond_the_role_is_422(
    dana_client: Client, project: Project, permissions: list[str], message: str
) -> None:
    response: Any = dana_client.post(NEW, filled(scope="project", project=str(project.pk), permissions=permissions))
    assert response.status_code == 422
    assert response.context["form"].errors == {"permissions": [message]}
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize(
    ("error", "field"), [(ScopeNotAllowed(), "scope"), (PermissionNotGrantable(["scan:read"]), "permissions")]
)
def test_role_that_was_lost_meanwhile_is_422(
    alice_client: Client, project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, field: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(actions, "issue_key", refuse)
    response: Any = alice_client.post(NEW, filled(scope="project", project=str(project.pk)))
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]


@pytest.mark.parametrize("scope", ["org", "team"])
def test_scope_beyond_the_role_is_422(dana_client: Client, team: Team, project: Project, scope: str) -> None:
    response: Any = dana_client.post(NEW, filled(scope=scope, team=str(team.pk)))
    assert response.status_code == 422
    assert "scope" in response.context["form"].errors
    assert ApiKey.objects.count() == 0


def test_issuing_asks_for_a_recent_sign_in(alice: Person, project: Project) -> None:
    client = Session(alice, signed_in_ago=timedelta(minutes=16)).client
    for response in (client.get(NEW), client.post(NEW_FOR_ALL, filled(), headers=Session(alice).token)):
        assert response.status_code in {302, 403}
        assert "kp_" not in response.text
    assert client.get(NEW)["Location"].startswith("/account/reauthenticate/")
    assert ApiKey.objects.count() == 0


def test_person_without_a_password_signs_in_again_at_the_provider(alice: Person, project: Project) -> None:
    alice.user.set_unusable_password()
    with transaction.atomic():
        alice.user.save(update_fields=["password"])
    client = Session(alice, signed_in_ago=timedelta(minutes=16)).client
    response = client.get(NEW, {"scope": "org"})
    assert response["Location"] == "/account/confirm/?next=%2Fintegrations%2Fnew%2F%3Fscope%3Dorg"


def test_issuing_needs_the_csrf_token(alice: Person, project: Project) -> None:
    response = Session(alice).client.post(NEW_FOR_ALL, filled())
    assert response.status_code == 403
    assert ApiKey.objects.count() == 0


def test_issuing_saves_nothing_if_its_audit_row_fails(
    alice_client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        alice_client.post(NEW_FOR_ALL, filled())
    assert ApiKey.objects.count() == 0


# The page of a key


def test_key_page_tells_all_about_a_key(
    noon: time_machine.Traveller, issue: Issue, bob: Person, project: Project, sign_in_as: SignIn
) -> None:
    issued = issue(bob, project, permissions=["scan:read", "keys:write"], expires_at=later(days=3))
    response: Any = sign_in_as(bob).get(f"/keys/{issued.row.pk}/")
    assert templates(response)[0] == "apikeys/key_detail.html"
    assert [(line.name, line.is_effective) for line in response.context["permissions"]] == [
        ("keys:write", True),
        ("scan:read", True),
    ]
    assert response.context["role"] == "team admin"
    assert [event.event for event in response.context["events"]] == ["api_key.created"]
    assert [snippet.slug for snippet in response.context["snippets"]] == ["curl", "python", "github", "gitlab"]
    assert all("$KEYPORTAL_KEY" in s.text or "KEYPORTAL_KEY" in s.text for s in response.context["snippets"])
    for part in (f"{issued.row.label}…", "Expires in 3 days", "by Bob", "Never used", str(issued.row.pk)):
        assert part in response.text
    assert issued.key.secret not in response.text
    assert issued.row.digest not in response.text


def test_key_page_says_which_permissions_are_not_in_force(
    issue: Issue, bob: Person, alice_client: Client, team: Team
) -> None:
    issued = issue(bob, team, permissions=["scan:read", "keys:write"])
    everything = issue(bob, team, permissions=["*"])
    change_team_role(bob, Role.DEVELOPER)
    response: Any = alice_client.get(f"/keys/{issued.row.pk}/")
    lines = [(line.name, line.is_effective) for line in response.context["permissions"]]
    assert lines == [("keys:write", False), ("scan:read", True)]
    assert response.context["role"] == "developer"
    assert "Not in force" in response.text
    listed: Any = alice_client.get(f"/keys/{everything.row.pk}/")
    assert all(line.is_effective for line in listed.context["permissions"])
    leave_teams(bob)
    gone: Any = alice_client.get(f"/keys/{everything.row.pk}/")
    assert (gone.context["role"], gone.context["permissions"]) == ("nobody here any more", [])


def test_page_of_a_revoked_key_says_who_ended_it_and_why(
    noon: time_machine.Traveller, issued: Issued, bob: Person, sign_in_as: SignIn
) -> None:
    revoke_key(principal=bob.principal, api_key=issued.row, at=NOON, reason="left in a wiki")
    response: Any = sign_in_as(bob).get(f"/keys/{issued.row.pk}/")
    assert response.context["snippets"] == []
    assert response.context["row"].may_revoke is False
    for part in ("Revoked", "by Bob", "left in a wiki"):
        assert part in response.text


def test_key_page_costs_the_same_for_any_number_of_events(
    noon: time_machine.Traveller, issued: Issued, bob: Person, sign_in_as: SignIn, django_assert_num_queries: Queries
) -> None:
    client = sign_in_as(bob)
    path = f"/keys/{issued.row.pk}/"
    with django_assert_num_queries(9):
        assert len(client.get(path).context["events"]) == 1
    mark_exposed(key_id=issued.row.pk, at=NOON)
    disable_key(api_key=issued.row, at=NOON)
    with django_assert_num_queries(9):
        assert len(client.get(path).context["events"]) == 3


# Revoking


def revoke_path(issued: Issued) -> str:
    return f"/keys/{issued.row.pk}/revoke/"


def test_confirmation_is_page_or_fragment(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.get(revoke_path(issued))
    part: Any = dana_client.get(revoke_path(issued), headers=FRAGMENT)
    assert (templates(page)[0], templates(part)[0]) == ("apikeys/key_revoke.html", "apikeys/_key_revoke.html")
    for response in (page, part):
        assert "A revoked key cannot be restored." in response.text
        assert "It has never been used." in response.text
        assert "HX-Request" in response["Vary"]
    assert not ApiKey.objects.get().is_revoked


def said(client: Client, response: Any) -> list[str]:
    return [str(message) for message in client.get(response["Location"]).context["messages"]]


def test_revoking_ends_the_key_and_names_the_moment(
    noon: time_machine.Traveller, issued: Issued, dana: Person, sign_in_as: SignIn
) -> None:
    client = sign_in_as(dana)
    response: Any = client.post(revoke_path(issued), {"reason": "left in a wiki"})
    assert (response.status_code, response["Location"]) == (302, LIST)
    assert said(client, response) == ["github-action-checkout-service revoked at 12:00 UTC. It has been refused since."]
    row = ApiKey.objects.get()
    assert (row.revoked_at, row.revoke_reason, row.revoked_by_id) == (NOON, "left in a wiki", dana.user.pk)
    assert rows_of(row)[1:] == [Row("api_key.revoked", "update", row.label, "user", "dana@example.com")]
    assert verify(issued.text, at=NOON).outcome is Outcome.KEY_REVOKED


def test_revoking_again_says_that_it_was_revoked_before(
    noon: time_machine.Traveller, issued: Issued, dana: Person, sign_in_as: SignIn
) -> None:
    client = sign_in_as(dana)
    client.post(revoke_path(issued))
    client.get(LIST)
    response: Any = client.post(revoke_path(issued))
    assert said(client, response) == ["github-action-checkout-service was revoked before. It is refused."]
    assert events_of(issued.row) == ["api_key.created", "api_key.revoked"]


@pytest.mark.parametrize(
    ("ago", "asks"),
    [
        (timedelta(hours=24) - timedelta(seconds=1), True),
        (timedelta(hours=24), False),
        (timedelta(minutes=1), True),
    ],
)
def test_name_is_asked_for_only_if_the_key_was_used_within_a_day(
    noon: time_machine.Traveller, issued: Issued, dana: Person, sign_in_as: SignIn, ago: timedelta, asks: bool
) -> None:
    use(issued.row, at=NOON - ago, address="192.0.2.7")
    client = sign_in_as(dana)
    page: Any = client.get(revoke_path(issued))
    assert ("Type github-action-checkout-service to confirm" in page.text) is asks
    assert "192.0.2.7" in page.text
    response: Any = client.post(revoke_path(issued))
    assert response.status_code == (422 if asks else 302)
    assert ApiKey.objects.get().is_revoked is not asks


def test_wrong_name_is_422_and_the_right_one_revokes(
    noon: time_machine.Traveller, issued: Issued, dana: Person, sign_in_as: SignIn
) -> None:
    use(issued.row)
    client = sign_in_as(dana)
    for headers in ({}, FRAGMENT):
        response: Any = client.post(revoke_path(issued), {"name": "wrong", "reason": "kept"}, headers=headers)
        assert response.status_code == 422
        assert templates(response)[0] == f"apikeys/{'_' if headers else ''}key_revoke.html"
        assert "Type the name as it is written" in response.text
        assert 'value="kept"' in response.text
    client.post(revoke_path(issued), {"name": "github-action-checkout-service"})
    assert ApiKey.objects.get().is_revoked


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ("/projects/", "/projects/"),
        ("/integrations/?tab=expired", "/integrations/?tab=expired"),
        ("https://evil.example/", LIST),
        ("//evil.example/", LIST),
        ("javascript:alert(1)", LIST),
        ("", LIST),
    ],
)
def test_way_back_stays_in_the_portal(issued: Issued, dana_client: Client, asked: str, goes: str) -> None:
    assert dana_client.post(revoke_path(issued), {"next": asked})["Location"] == goes


def test_way_back_is_where_the_dialog_was_opened(issued: Issued, dana_client: Client) -> None:
    url = "http://testserver/integrations/?tab=attention"
    part: Any = dana_client.get(revoke_path(issued), headers=FRAGMENT | {"HX-Current-URL": url})
    page: Any = dana_client.get(revoke_path(issued))
    assert part.context["form"]["next"].value() == "/integrations/?tab=attention"
    assert page.context["form"]["next"].value() == f"/keys/{issued.row.pk}/"


def test_revoking_asks_for_no_recent_sign_in(issued: Issued, dana: Person) -> None:
    session = Session(dana, signed_in_ago=timedelta(days=1))
    assert session.client.post(revoke_path(issued), headers=session.token).status_code == 302
    assert ApiKey.objects.get().is_revoked


def test_revoking_saves_nothing_if_its_audit_row_fails(
    issued: Issued, dana_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        dana_client.post(revoke_path(issued))
    assert not ApiKey.objects.get().is_revoked


# The overview


def test_overview_counts_and_names_what_needs_attention(every_state: None, dana: Person, sign_in_as: SignIn) -> None:
    use(ApiKey.objects.get(name="good"))
    response: Any = sign_in_as(dana).get("/")
    assert response.context["counts"] == {"active": 5, "used_today": 1, "attention": 4, "expiring": 1}
    # What was seen in a URL comes first, then what ends soonest.
    assert [row.api_key.name for row in response.context["attention"]] == ["exposed", "expiring", "unused", "disabled"]
    assert response.context["steps"] == []


@pytest.mark.parametrize("count", [1, 3, 25])
def test_overview_costs_the_same_for_any_number_of_keys(
    noon: time_machine.Traveller,
    issue: Issue,
    dana: Person,
    project: Project,
    sign_in_as: SignIn,
    count: int,
    django_assert_num_queries: Queries,
) -> None:
    for _ in range(count):
        issue(dana, project, at=later(days=-91))
    client = sign_in_as(dana)
    with django_assert_num_queries(14):
        response: Any = client.get("/")
    assert response.context["counts"]["attention"] == count


def steps_of(response: Any) -> list[tuple[str, bool]]:
    return [(step.title, step.done) for step in response.context["steps"]]


def test_first_steps_lead_a_super_admin_to_a_key_in_use(
    alice: Person, alice_client: Client, organization: Organization, issue: Issue
) -> None:
    titles = ["Create a team", "Create a project", "Issue a key", "Use it"]
    expected = dict.fromkeys(titles, False)
    assert steps_of(alice_client.get("/")) == list(expected.items())
    team = people.create_team(principal=alice.principal, name="Payments", at=NOON)
    project = people.create_project(principal=alice.principal, team=team, name="Checkout", at=NOON)
    issued = issue(alice, project)
    expected |= dict.fromkeys(titles[:3], True)
    assert steps_of(alice_client.get("/")) == list(expected.items())
    Client().get("/v1/whoami", headers=issued.headers)
    uses.flush()
    assert steps_of(alice_client.get("/")) == []


def test_first_steps_are_those_that_the_person_can_take(
    bob: Person, bob_client: Client, dana_client: Client, team: Team
) -> None:
    steps = ["Create a project", "Issue a key", "Use it"]
    assert [title for title, _ in steps_of(bob_client.get("/"))] == steps
    asking: Any = dana_client.get("/")
    assert [(step.title, step.url) for step in asking.context["steps"]] == [("Wait for a project", "")]
    assert "Your team has no project yet. Ask its admin to create one." in asking.text
    people.create_project(principal=bob.principal, team=team, name="Checkout", at=NOON)
    assert [title for title, _ in steps_of(bob_client.get("/"))] == steps
    issuing: Any = dana_client.get("/")
    assert [(step.title, step.url) for step in issuing.context["steps"]] == [("Issue a key", NEW), ("Use it", "")]


def test_stranger_sees_nothing_of_ours_on_the_overview(issued: Issued, charlie_client: Client) -> None:
    response: Any = charlie_client.get("/")
    assert response.context["counts"]["active"] == 0
    assert issued.row.label not in response.text


@pytest.mark.parametrize("path", [LIST, "/", SENTENCE, "/v1/docs"])
def test_pages_that_only_show_cannot_be_posted_to(alice_client: Client, project: Project, path: str) -> None:
    assert alice_client.post(path).status_code == 405
