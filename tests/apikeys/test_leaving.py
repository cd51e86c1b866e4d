"""What becomes of the keys of people who leave or are demoted: shown before, held at once, decided on after."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import Client

from accounts import actions as people
from accounts.models import Organization, OrganizationMembership, Project, Role, ServiceAccount, Team, TeamMembership
from apikeys import actions, leaving
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from apikeys.rules import role_of
from apikeys.verification import Outcome, verify
from tests.accounts.scenes import FRAGMENT, is_page, queries_of, text_of
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, everything_recorded
from tests.apikeys.people import change_team_role, deactivate, demote, leave_organization, leave_teams
from tests.cast import NOON, PASSWORD, Issued, Person, later

Issue = Callable[..., Issued]
SignIn = Callable[[Person], Client]


@pytest.fixture(autouse=True)
def at_noon(noon: object) -> None:
    """Keys that expire in these tests do so after noon."""


@pytest.fixture
def olga(other_team: Team) -> Person:
    """The admin of another team of the same organization."""
    user = people.create_user(email="olga@example.com", password=PASSWORD, name="Olga", at=NOON)
    return Person(people.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON).membership)


@pytest.fixture
def account(bob: Person, team: Team) -> ServiceAccount:
    return people.create_service_account(
        principal=bob.principal, team=team, name="ci-deployer", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )


def urls(person: Person, team: Team) -> dict[str, str]:
    who = f"/people/{person.user.pk}"
    member = f"/teams/{team.pk}/members/{person.user.pk}"
    return {
        "team role": f"{member}/role/",
        "team remove": f"{member}/remove/",
        "role": f"{who}/role/",
        "remove": f"{who}/remove/",
        "keys": f"{who}/keys/",
        "revoke": f"{who}/keys/revoke/",
        "hand over": f"{who}/keys/hand-over/",
    }


def call(issued: Issued, path: str = "/v1/projects") -> tuple[int, str]:
    response = Client().get(path, headers=issued.headers)
    return response.status_code, response.json().get("code", "")


def shown(response: Any) -> list[tuple[str, list[str], list[str], bool]]:
    """Return of each key on the page: its name, what it may do, what it has lost, and whether it is refused."""
    return [(row.api_key.name, row.effective, row.lost, row.is_refused) for row in response.context["rows"]]


# What keys lose at the next request


def test_removal_from_the_team_holds_at_the_next_request_of_its_keys_and_no_others(
    issue: Issue, bob: Person, dana: Person, team: Team, other_team: Team, project: Project, other_project: Project
) -> None:
    people.add_to_team(team=other_team, user=dana.user, role=Role.DEVELOPER, at=NOON)
    here, there = issue(dana, project), issue(dana, other_project)
    assert (call(here), call(there)) == ((200, ""), (200, ""))
    member = TeamMembership.objects.get(team=team, membership=dana.membership)
    people.remove_from_team(at=NOON, principal=bob.principal, team_membership=member)
    assert (call(here), call(there)) == ((401, "issuer_gone"), (200, ""))


def test_removal_from_the_organization_holds_at_the_next_request_of_all_keys(
    issue: Issue, alice: Person, dana: Person, organization: Organization, project: Project
) -> None:
    people.change_organization_role(
        at=NOON, principal=alice.principal, membership=dana.membership, role=Role.SUPER_ADMIN
    )
    keys = [issue(dana, project), issue(dana, organization)]
    people.remove_from_organization(at=NOON, principal=alice.principal, membership=dana.membership)
    assert [call(key) for key in keys] == [(401, "issuer_gone")] * 2


@pytest.mark.parametrize("is_left_over", [False, True])
def test_becoming_an_auditor_holds_at_the_next_request_of_all_keys_and_of_the_session(
    issue: Issue,
    alice: Person,
    bob: Person,
    bob_client: Client,
    organization: Organization,
    team: Team,
    project: Project,
    is_left_over: bool,
) -> None:
    people.change_organization_role(
        at=NOON, principal=alice.principal, membership=bob.membership, role=Role.SUPER_ADMIN
    )
    keys = [issue(bob, place, permissions=["*"]) for place in (organization, team, project)]
    form = {"email": "x@example.com", "role": "developer"}
    assert [call(key) for key in keys] == [(200, "")] * 3
    assert bob_client.get(f"/teams/{team.pk}/invite/").status_code == 200
    people.change_organization_role(at=NOON, principal=alice.principal, membership=bob.membership, role=Role.AUDITOR)
    if is_left_over:
        # As nothing here does: the role in the organization rules, whatever else a row says.
        TeamMembership.objects.create(team=team, membership=bob.membership, role=Role.TEAM_ADMIN, created_at=NOON)
    assert [call(key) for key in keys] == [(401, "issuer_gone")] * 3
    assert set(ApiKey.objects.left_behind()) == {key.row for key in keys}
    assert {role_of(key) for key in ApiKey.objects.with_roles().select_related("service_account")} == {None}
    assert bob_client.get(f"/teams/{team.pk}/").status_code == 200
    assert bob_client.post(f"/teams/{team.pk}/invite/", form).status_code == 403
    assert bob_client.post(f"/v1/api-keys/{keys[0].row.pk}/disable").status_code == 403


def test_demotion_in_the_team_takes_from_its_keys_what_the_role_no_longer_allows(
    issue: Issue, alice: Person, bob: Person, team: Team
) -> None:
    key = issue(bob, team, permissions=["audit:read", "projects:read"])
    member = TeamMembership.objects.get(team=team, membership=bob.membership)
    people.change_team_role(at=NOON, principal=alice.principal, team_membership=member, role=Role.DEVELOPER)
    assert (call(key), call(key, "/v1/audit-events")) == ((200, ""), (403, "insufficient_scope"))


def test_demotion_in_the_organization_leaves_its_keys_with_nothing(
    issue: Issue, alice: Person, dana: Person, organization: Organization
) -> None:
    people.change_organization_role(
        at=NOON, principal=alice.principal, membership=dana.membership, role=Role.SUPER_ADMIN
    )
    key = issue(dana, organization)
    people.change_organization_role(at=NOON, principal=alice.principal, membership=dana.membership, role=Role.MEMBER)
    assert (call(key), call(key, "/v1/whoami")) == ((403, "insufficient_scope"), (200, ""))


@pytest.mark.parametrize("change", [demote, leave_teams, leave_organization, deactivate])
def test_what_the_page_says_is_what_verification_does(
    issue: Issue,
    alice: Person,
    dana: Person,
    organization: Organization,
    team: Team,
    project: Project,
    change: Callable[[Person], None],
) -> None:
    """Two places decide whether an issuer is gone; they must not come apart."""
    demote(dana, Role.SUPER_ADMIN)
    keys = [issue(dana, place, permissions=["*"]) for place in (organization, team, project)]
    change(dana)
    found = leaving.now(leaving.live_keys_of(dana.user, alice.principal, at=NOON), alice.principal)
    refused = {row.api_key.pk: row.is_refused for row in found}
    outcomes = {key.row.pk: verify(key.text, at=NOON).outcome for key in keys}
    assert refused == {pk: outcome is Outcome.ISSUER_GONE for pk, outcome in outcomes.items()}
    left = ApiKey.objects.left_behind().values_list("pk", flat=True)
    assert set(left) == {pk for pk, is_refused in refused.items() if is_refused}


# Who may look, and who may act


@pytest.mark.parametrize(
    ("who", "member_pages", "person_pages", "keys"),
    [
        ("alice", 200, 200, 200),
        ("bob", 200, 403, 200),
        ("dana", 403, 403, 404),
        ("olga", 404, 403, 404),
        ("charlie", 404, 404, 404),
    ],
)
def test_pages_are_for_those_who_administer_the_person(
    request: pytest.FixtureRequest,
    sign_in_as: SignIn,
    bob: Person,
    dana: Person,
    team: Team,
    issued: Issued,
    who: str,
    member_pages: int,
    person_pages: int,
    keys: int,
) -> None:
    client = sign_in_as(request.getfixturevalue(who))
    expected = dict.fromkeys(("team role", "team remove"), member_pages)
    expected |= dict.fromkeys(("role", "remove"), person_pages) | dict.fromkeys(("keys", "revoke", "hand over"), keys)
    found = {name: client.get(url).status_code for name, url in urls(dana, team).items()}
    assert found == expected
    if who not in {"alice", "bob"}:
        for url in urls(dana, team).values():
            client.post(url, {"role": "super_admin", "key": str(issued.row.pk)})
        assert dana.principal.team_roles == {team.pk: "developer"}
        assert call(issued) == (200, "")


def test_team_admin_touches_no_super_admin(bob_client: Client, alice: Person, bob: Person, team: Team) -> None:
    people.add_to_team(team=team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    for name in ("team role", "team remove"):
        assert bob_client.post(urls(alice, team)[name], {"role": "developer"}).status_code == 403
    assert TeamMembership.objects.filter(team=team, membership=alice.membership).exists()


def test_team_admin_sees_the_keys_of_their_team_alone(
    issue: Issue,
    bob_client: Client,
    alice: Person,
    bob: Person,
    dana: Person,
    organization: Organization,
    project: Project,
    other_project: Project,
    team: Team,
) -> None:
    demote(dana, Role.SUPER_ADMIN)
    issue(dana, project, name="here")
    elsewhere = [issue(dana, other_project, name="there"), issue(dana, organization, name="everywhere")]
    url = urls(dana, team)
    assert [name for name, *_ in shown(bob_client.get(url["keys"]))] == ["here"]
    for key in elsewhere:
        bob_client.post(url["revoke"], {"key": str(key.row.pk)})
        assert call(key) == (200, "")


def test_pages_of_nobody_are_404(alice_client: Client, charlie: Person, team: Team) -> None:
    for url in urls(charlie, team).values():
        assert alice_client.get(url).status_code == 404


# Before: what it would cost


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_removal_shows_first_what_the_persons_keys_would_lose(
    issue: Issue, bob: Person, bob_client: Client, dana: Person, team: Team, project: Project, headers: dict[str, str]
) -> None:
    for number in range(7):
        issue(dana, project, name=f"key-{number}")
    issue(dana, project, name="ended", expires_at=later(seconds=-1), at=later(days=-1))
    people.create_service_account(
        principal=bob.principal, team=team, name="robot", role=Role.DEVELOPER, steward=dana.user, at=NOON
    )
    response = bob_client.get(urls(dana, team)["team remove"], headers=headers)
    text = text_of(response)
    assert is_page(response) is not bool(headers)
    assert "7 keys would be refused from the next request on: key-6 key-5 key-4 key-3 key-2 and 2 more" in text
    assert "They are the steward of robot , which would get no new keys" in text


def test_demotion_shows_first_what_each_key_would_lose(
    issue: Issue, alice_client: Client, bob: Person, team: Team
) -> None:
    issue(bob, team, name="ci", permissions=["audit:read", "keys:write", "projects:read"])
    issue(bob, team, name="all", permissions=["*"])
    text = text_of(alice_client.get(urls(bob, team)["team role"]))
    assert "As developer, from the next request on:" in text
    assert "2 keys would lose permissions:" in text
    assert "ci : audit:read, keys:write" in text
    assert "all : audit:read, deployments:delete, deployments:write, keys:write" in text


def test_promotion_says_that_nothing_is_lost(
    issue: Issue, bob_client: Client, bob: Person, dana: Person, team: Team, issued: Issued
) -> None:
    text = text_of(bob_client.get(urls(dana, team)["team role"]))
    assert "As team admin, from the next request on:" in text
    assert "None of their 1 live key here would lose anything." in text


def test_dialogs_of_the_organization_show_what_all_keys_would_lose(
    issue: Issue, alice_client: Client, dana: Person, organization: Organization, project: Project, team: Team
) -> None:
    demote(dana, Role.SUPER_ADMIN)
    issue(dana, project, name="checkout")
    issue(dana, organization, name="everywhere", permissions=["org:read"])
    url = urls(dana, team)
    as_member, _, as_auditor = text_of(alice_client.get(url["role"])).partition("As auditor")
    # She stays a developer of the team, so that her key there goes on.
    assert "1 key would lose permissions: everywhere : org:read" in as_member
    assert "would be refused" not in as_member
    assert "2 keys would be refused from the next request on: everywhere checkout" in as_auditor
    assert "They leave Payments : an auditor is in no team." in as_auditor
    assert "2 keys would be refused from the next request on" in text_of(alice_client.get(url["remove"]))


@pytest.mark.parametrize("page", ["team role", "team remove", "role", "remove"])
def test_preview_reads_no_more_than_the_keys_it_names(
    issue: Issue,
    alice_client: Client,
    dana: Person,
    organization: Organization,
    team: Team,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
) -> None:
    demote(dana, Role.SUPER_ADMIN)
    change_team_role(dana, Role.TEAM_ADMIN)
    for _ in range(9):
        issue(dana, team, permissions=["audit:read", "projects:read"])
        issue(dana, organization, permissions=["org:read"])
    read: list[object] = []
    from_db: Any = ApiKey.from_db

    def counted(*given: Any) -> ApiKey:
        read.append(given)
        api_key: ApiKey = from_db(*given)
        return api_key

    monkeypatch.setattr(ApiKey, "from_db", counted)
    found: Any = alice_client.get(urls(dana, team)[page])
    # What someone would be as a member and as an auditor stands side by side.
    previews: list[Any] = found.context["previews"] if page == "role" else [found.context]
    assert len(read) <= 10 * len(previews)
    counts = {
        "team role": (0, 0),  # she is a super admin besides
        "team remove": (0, 0),
        "role": (0, 9),
        "remove": (18, 0),
    }
    assert (previews[0]["refused"].count, previews[0]["narrowed"].count) == counts[page]
    if page == "role":
        assert (previews[1]["to"], previews[1]["refused"].count, previews[1]["narrowed"].count) == ("auditor", 18, 0)
    assert {preview["live_count"] for preview in previews} == {18}
    assert queries_of(alice_client, urls(dana, team)[page]) <= 15 + 5 * (len(previews) - 1)


# After: where it leads


def test_removal_leads_to_the_keys_that_were_left(
    bob_client: Client, bob: Person, dana: Person, team: Team, issued: Issued
) -> None:
    url = urls(dana, team)
    response = bob_client.post(url["team remove"], follow=True)
    assert response.redirect_chain == [(url["keys"], 302)]
    assert "Dana is no longer in Payments." in text_of(response)
    assert shown(response) == [(issued.row.name, [], ["projects:read"], True)]
    assert call(issued) == (401, "issuer_gone")


def test_removal_of_someone_without_keys_leads_back_to_the_team(
    bob_client: Client, bob: Person, dana: Person, team: Team
) -> None:
    response = bob_client.post(urls(dana, team)["team remove"])
    assert response["Location"] == f"/teams/{team.pk}/"
    assert bob_client.post(urls(dana, team)["team remove"]).status_code == 404


def test_demotion_leads_to_the_keys_and_promotion_does_not(
    issue: Issue, alice_client: Client, bob: Person, team: Team
) -> None:
    issue(bob, team, permissions=["audit:read", "projects:read"])
    url = urls(bob, team)
    response = alice_client.post(url["team role"], {"role": "developer"}, follow=True)
    assert response.redirect_chain == [(url["keys"], 302)]
    assert shown(response) == [("github-action-checkout-service", ["projects:read"], ["audit:read"], False)]
    back = alice_client.post(url["team role"], {"role": "team_admin"})
    assert back["Location"] == f"/teams/{team.pk}/"


def test_removal_from_the_organization_leads_to_the_keys(
    alice_client: Client, dana: Person, team: Team, issued: Issued
) -> None:
    url = urls(dana, team)
    response = alice_client.post(url["remove"], follow=True)
    assert response.redirect_chain == [(url["keys"], 302)]
    assert not OrganizationMembership.objects.filter(user=dana.user).exists()
    assert "Has left" in text_of(response)
    assert "Remove from organization" not in text_of(response)


def test_role_in_the_organization_changes(alice_client: Client, dana: Person, team: Team) -> None:
    response = alice_client.post(urls(dana, team)["role"], {"role": "super_admin"})
    assert response["Location"] == "/people/"
    assert dana.principal.is_super_admin


def test_last_super_admin_is_told_why_not(alice_client: Client, alice: Person, team: Team) -> None:
    url = urls(alice, team)
    for name in ("role", "remove"):
        response = alice_client.post(url[name], {"role": "member"})
        assert response.status_code == 422
        assert "This is the only super admin of the organization." in text_of(response)
    assert alice.principal.is_super_admin


def test_who_demotes_themselves_goes_where_they_may_still_look(
    bob_client: Client, bob: Person, team: Team, issue: Issue
) -> None:
    issue(bob, team)
    response = bob_client.post(urls(bob, team)["team remove"], follow=True)
    assert response.redirect_chain == [("/teams/", 302)]
    assert response.status_code == 200


# Deciding


def test_keys_of_a_person_are_those_that_act_for_them(
    issue: Issue, bob: Person, bob_client: Client, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    issue(dana, project, name="own")
    issue(dana, project, name="for the account", service_account=account)
    issue(bob, project, name="of someone else")
    assert [name for name, *_ in shown(bob_client.get(urls(dana, team)["keys"]))] == ["own"]


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_keys_of_a_person_begin_with_those_that_lost_something(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, headers: dict[str, str]
) -> None:
    change_team_role(dana, Role.TEAM_ADMIN)
    issue(dana, project, name="narrowed", permissions=["audit:read", "scan:read"])
    issue(dana, project, name="whole")
    change_team_role(dana, Role.DEVELOPER)
    response = bob_client.get(urls(dana, team)["keys"], headers=headers)
    assert is_page(response) is not bool(headers)
    assert shown(response) == [
        ("narrowed", ["scan:read"], ["audit:read"], False),
        ("whole", ["projects:read"], [], False),
    ]


def test_keys_that_may_do_everything_say_so(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project
) -> None:
    issue(dana, project, permissions=["*"])
    assert "Whatever their role allows:" in text_of(bob_client.get(urls(dana, team)["keys"]))
    leave_teams(dana)
    assert "Refused Nobody stands behind it here any more. Everything" in text_of(
        bob_client.get(urls(dana, team)["keys"])
    )


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_keys_of_a_person_cost_the_same_with_more_keys(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, headers: dict[str, str]
) -> None:
    url = urls(dana, team)["keys"]
    issue(dana, project)
    before = queries_of(bob_client, url, **headers)
    for _ in range(2):
        issue(dana, project)
    assert queries_of(bob_client, url, **headers) == before


def test_all_can_be_chosen_at_once(issue: Issue, bob_client: Client, dana: Person, team: Team, issued: Issued) -> None:
    url = urls(dana, team)["keys"]
    assert b" checked" not in bob_client.get(url).content
    assert b" checked" in bob_client.get(f"{url}?choose=all").content


def test_chosen_keys_are_revoked_and_the_rest_is_kept(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project
) -> None:
    first, second, kept = (issue(dana, project, name=name) for name in ("first", "second", "kept"))
    url = urls(dana, team)["revoke"]
    ids = [str(first.row.pk), str(second.row.pk), "no id"]
    asked = text_of(bob_client.get(url, {"key": ids}))
    assert "first" in asked
    assert "Revoke 2 keys" in asked
    assert "kept" not in asked
    done = bob_client.post(url, {"key": ids, "reason": "Left"}, follow=True)
    assert "2 keys revoked at 12:00 UTC. Refused since." in text_of(done)
    assert [call(key)[1] for key in (first, second, kept)] == ["key_revoked", "key_revoked", ""]
    assert ApiKey.objects.get(pk=first.row.pk).revoke_reason == "Left"
    # Sent again, as the back button does: nothing is chosen that is still alive.
    again = bob_client.post(url, {"key": ids})
    assert "No live key was chosen." in text_of(again)


def test_chosen_keys_are_handed_over_and_work_at_the_next_request(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    handed, kept = issue(dana, project, name="handed"), issue(dana, project, name="kept")
    leave_organization(dana)
    url = urls(dana, team)["hand over"]
    ids = [str(handed.row.pk), str(kept.row.pk)]
    form = {"key": ids, f"account_{handed.row.pk.hex}": str(account.pk), f"account_{kept.row.pk.hex}": ""}
    assert "handed acts for" in text_of(bob_client.get(url, {"key": ids}))
    done = bob_client.post(url, form, follow=True)
    assert "1 key handed over, and working from the next request on." in text_of(done)
    assert (call(handed), call(kept)) == ((200, ""), (401, "issuer_gone"))
    assert [name for name, *_ in shown(done)] == ["kept"]
    assert events_of(handed.row) == ["api_key.created", "api_key.handed_over"]


def test_hand_over_offers_running_accounts_of_the_keys_team_and_says_why_there_are_none(
    issue: Issue,
    alice: Person,
    alice_client: Client,
    dana: Person,
    organization: Organization,
    team: Team,
    other_team: Team,
    project: Project,
    other_project: Project,
    account: ServiceAccount,
) -> None:
    demote(dana, Role.SUPER_ADMIN)
    keys = [
        issue(dana, project, name="offered"),
        issue(dana, project, name="everything", permissions=["*"]),
        issue(dana, other_project, name="elsewhere"),
        issue(dana, organization, name="organization"),
    ]
    response = alice_client.get(urls(dana, team)["hand over"], {"key": [str(key.row.pk) for key in keys]})
    lines = {line.api_key.name: line for line in response.context["form"].lines()}
    assert lines["offered"].field.field.choices == [("", "Keep it as it is"), (str(account.pk), "ci-deployer")]
    assert lines["offered"].field.value() == str(account.pk)
    assert {name for name, line in lines.items() if line.field is None} == {"everything", "elsewhere", "organization"}
    assert lines["everything"].obstacle.startswith("It may do whatever its issuer may (*).")
    assert lines["elsewhere"].obstacle.startswith("Its team has no service account")
    assert lines["organization"].obstacle.startswith("An organization key cannot act")


def test_hand_over_is_all_or_nothing_and_says_what_is_in_the_way(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    # An organization key cannot act for a team's account, and one of super admins' permissions is not bob's to grant.
    demote(dana, Role.SUPER_ADMIN)
    good, beyond = issue(dana, project, name="good"), issue(dana, project, name="beyond", permissions=["org:read"])
    form = {"key": [str(good.row.pk), str(beyond.row.pk)]}
    form |= {f"account_{key.row.pk.hex}": str(account.pk) for key in (good, beyond)}  # type: ignore[misc] # one or many
    response = bob_client.post(urls(dana, team)["hand over"], form)
    assert response.status_code == 422
    assert response.context["form"].errors == {
        f"account_{beyond.row.pk.hex}": ["Your role there does not allow: org:read."]
    }
    assert not ApiKey.objects.exclude(service_account=None).exists()
    assert events_of(good.row) == ["api_key.created"]


def test_hand_over_of_nothing_asks_for_a_choice(
    bob_client: Client, dana: Person, team: Team, issued: Issued, account: ServiceAccount
) -> None:
    url = urls(dana, team)["hand over"]
    empty = bob_client.post(url, {"key": str(issued.row.pk), f"account_{issued.row.pk.hex}": ""})
    assert "Choose a service account for at least one key." in text_of(empty)
    assert "No live key was chosen." in text_of(bob_client.get(url))
    assert "No live key was chosen." in text_of(bob_client.get(urls(dana, team)["revoke"]))


def test_revoking_the_chosen_is_all_or_nothing(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [issue(dana, project) for _ in range(2)]
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        bob_client.post(urls(dana, team)["revoke"], {"key": [str(key.row.pk) for key in keys]})
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_key_is_no_reason(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project, issued: Issued
) -> None:
    other = issue(dana, project)
    for path in (urls(dana, team)["revoke"], f"/keys/{issued.row.pk}/revoke/"):
        response = bob_client.post(path, {"key": str(issued.row.pk), "reason": f"leaked: {other.text}"})
        assert (response.status_code, "A key was pasted here." in text_of(response)) == (422, True)
    assert ApiKey.objects.get(pk=issued.row.pk).revoked_at is None
    assert other.text not in everything_recorded()


@pytest.mark.django_db(transaction=True)
def test_chosen_keys_are_locked_from_the_oldest_on(
    transactional_db: None,
    issue: Issue,
    bob: Person,
    bob_client: Client,
    dana: Person,
    team: Team,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As all who change many keys do: two of them in different orders would wait for each other for good."""
    keys = [issue(dana, project) for _ in range(3)]
    asked, is_begun = KeyFilter(issuer_email="dana@example.com"), threading.Event()
    digest = actions.preview_bulk(principal=bob.principal, asked=asked, at=NOON).digest
    revoke = actions.revoke_key
    order: list[UUID] = []

    def slowly(**given: Any) -> ApiKey:
        done = revoke(**given)
        order.append(done.pk)
        is_begun.set()
        # Long enough for the other to lock what it can.
        time.sleep(0.3)
        return done

    monkeypatch.setattr(actions, "revoke_key", slowly)

    def bulk() -> object:
        is_begun.wait(10)
        try:
            return actions.end_keys(
                principal=bob.principal,
                asked=asked,
                action=actions.BulkAction.DISABLE,
                expected=digest,
                reason="left",
                at=NOON,
            )
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return type(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(bulk)
        response = bob_client.post(urls(dana, team)["revoke"], {"key": [str(key.row.pk) for key in keys]})
        assert other.result() is actions.SelectionChanged
    assert response.status_code == 302
    assert order == [key.row.pk for key in keys]


def test_handed_over_keys_are_locked_from_the_oldest_on(
    issue: Issue,
    bob_client: Client,
    dana: Person,
    team: Team,
    project: Project,
    account: ServiceAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [issue(dana, project) for _ in range(3)]
    hand = actions.hand_to_service_account
    order: list[UUID] = []

    def noted(**given: Any) -> ApiKey:
        order.append(given["api_key"].pk)
        return hand(**given)

    monkeypatch.setattr(actions, "hand_to_service_account", noted)
    sent = {f"account_{key.row.pk.hex}": str(account.pk) for key in keys}
    bob_client.post(urls(dana, team)["hand over"], sent | {"key": [str(key.row.pk) for key in keys]})
    assert order == [key.row.pk for key in keys]


# The overview


def test_overview_tells_admins_of_keys_that_were_left_behind(
    issue: Issue,
    alice_client: Client,
    bob_client: Client,
    olga: Person,
    sign_in_as: SignIn,
    dana: Person,
    team: Team,
    project: Project,
) -> None:
    erin = Person(
        people.add_to_team(
            team=team,
            user=people.create_user(email="erin@example.com", password=PASSWORD, at=NOON),
            role=Role.DEVELOPER,
            at=NOON,
        ).membership
    )
    for person in (dana, dana, erin):
        issue(person, project)
    said = "has no role there any more"
    assert said not in text_of(bob_client.get("/"))
    leave_teams(dana)
    assert "2 keys are refused because whoever issued them has no role there any more." in text_of(bob_client.get("/"))
    leave_organization(erin)
    assert "3 keys are refused because whoever issued them has no role there any more." in text_of(
        alice_client.get("/")
    )
    assert said not in text_of(sign_in_as(olga).get("/"))
    page = text_of(bob_client.get("/people/left/"))
    assert "Keys whose issuer has no role there any more" in page
    assert "Dana dana@example.com 2 keys erin@example.com erin@example.com 1 key" in page
    assert "Nobody" in text_of(sign_in_as(olga).get("/people/left/"))


def test_developer_reads_of_nobody_who_left(
    issue: Issue, bob: Person, dana: Person, dana_client: Client, project: Project
) -> None:
    issue(bob, project)
    leave_organization(bob)
    assert bob.email not in text_of(dana_client.get("/people/left/"))


def test_overview_counts_no_further_than_anyone_reads(
    issue: Issue, bob_client: Client, dana: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        issue(dana, project)
    leave_teams(dana)
    for module in ("apikeys.views.overview", "apikeys.listing"):
        monkeypatch.setattr(f"{module}.BOUND", 5)
    assert "4+ keys are refused because whoever issued them has no role there any more." in text_of(bob_client.get("/"))


def test_people_who_left_cost_the_same_with_more_of_them(
    issue: Issue, bob_client: Client, dana: Person, team: Team, project: Project
) -> None:
    issue(dana, project)
    leave_teams(dana)
    before = queries_of(bob_client, "/people/left/")
    for number in range(2):
        user = people.create_user(email=f"p{number}@example.com", password=PASSWORD, at=NOON)
        person = Person(people.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON).membership)
        issue(person, project)
        leave_teams(person)
    assert queries_of(bob_client, "/people/left/") == before


# The form that issues


def test_issue_form_offers_usable_accounts_and_issues_for_the_chosen_one(
    bob_client: Client, bob: Person, dana_client: Client, team: Team, project: Project, account: ServiceAccount
) -> None:
    people.create_service_account(
        principal=bob.principal, team=team, name="greater", role=Role.TEAM_ADMIN, steward=bob.user, at=NOON
    )
    offered = {
        name: [label for _, label in client.get("/integrations/new/").context["form"].fields["service_account"].choices]
        for name, client in (("bob", bob_client), ("dana", dana_client))
    }
    assert offered == {
        "bob": ["You (bob@example.com)", "Payments / ci-deployer", "Payments / greater"],
        "dana": ["You (dana@example.com)", "Payments / ci-deployer"],
    }
    form = bob_client.get(f"/integrations/new/?service_account={account.pk}").context["form"]
    sent = {
        "issue_id": str(form["issue_id"].value()),
        "name": "deploys",
        "scope": "project",
        "project": str(project.pk),
        "environment": "live",
        "permissions": ["projects:read"],
        "expiry": "90",
        "service_account": form["service_account"].value(),
    }
    sentence = bob_client.get("/integrations/new/sentence/", sent)
    assert "Acts for ci-deployer, not for you." in text_of(sentence)
    assert bob_client.post("/integrations/new/", sent).status_code == 200
    assert ApiKey.objects.get().service_account == account


def test_issue_form_says_beside_the_field_why_an_account_cannot_be_had(
    bob_client: Client, alice_client: Client, bob: Person, other_project: Project, account: ServiceAccount
) -> None:
    form = alice_client.get("/integrations/new/").context["form"]
    sent = {
        "issue_id": str(form["issue_id"].value()),
        "name": "deploys",
        "scope": "project",
        "project": str(other_project.pk),
        "environment": "live",
        "permissions": ["projects:read"],
        "expiry": "90",
        "service_account": str(account.pk),
    }
    response = alice_client.post("/integrations/new/", sent)
    assert response.status_code == 422
    assert response.context["form"].errors == {
        "service_account": ["The service account belongs to another team than the key would."]
    }


def test_issue_form_does_not_ask_where_there_is_no_account(dana_client: Client, project: Project) -> None:
    assert "Acts for" not in text_of(dana_client.get("/integrations/new/"))


def test_key_page_and_table_say_for_whom_a_key_acts(
    issue: Issue, bob: Person, bob_client: Client, project: Project, account: ServiceAccount
) -> None:
    key = issue(bob, project, service_account=account)
    page = text_of(bob_client.get(f"/keys/{key.row.pk}/"))
    assert "Acts for ci-deployer" in page
    assert "ci-deployer acts as developer" in page
    people.stop_service_account(principal=bob.principal, service_account=account, at=NOON)
    assert "Account stopped" in text_of(bob_client.get(f"/keys/{key.row.pk}/"))
    assert "for ci-deployer by Bob" in text_of(bob_client.get("/integrations/"))


# Who was quicker


def test_who_left_while_the_dialog_was_open_is_said_to_have_left(
    bob_client: Client, bob: Person, dana: Person, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**_: object) -> None:
        raise people.NotAMember

    monkeypatch.setattr(people, "change_team_role", gone)
    monkeypatch.setattr(people, "remove_from_team", gone)
    for name in ("team role", "team remove"):
        response = bob_client.post(urls(dana, team)[name], {"role": "developer"})
        assert response.status_code == 422
        assert "This person is not a member here any more." in text_of(response)


def test_key_that_someone_else_revoked_meanwhile_is_not_counted(
    issue: Issue, bob_client: Client, dana: Person, team: Team, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked(**_: object) -> None:
        raise actions.KeyAlreadyRevoked

    monkeypatch.setattr(actions, "revoke_key", revoked)
    done = bob_client.post(urls(dana, team)["revoke"], {"key": str(issued.row.pk)}, follow=True)
    assert "0 keys revoked at 12:00 UTC." in text_of(done)


def test_key_whose_issuer_left_its_team_says_so_wherever_it_is_shown(
    issue: Issue, bob_client: Client, sign_in_as: SignIn, dana: Person, project: Project
) -> None:
    key = issue(dana, project).row
    paths = (f"/keys/{key.pk}/", "/integrations/", f"/projects/{project.pk}/")
    assert not any("Issuer left" in text_of(bob_client.get(path)) for path in paths)
    leave_teams(dana)
    for path in paths:
        page = text_of(bob_client.get(path))
        assert "Issuer left" in page, path
        assert "It is refused: whoever issued it has no role there any more." in page, path
    assert "Issuer left" in text_of(sign_in_as(dana).get("/account/keys/"))
    assert "Issuer left" in text_of(bob_client.post("/keys/whose/", {"label": key.label}))


@pytest.mark.parametrize("deed", ["role", "remove"])
def test_only_super_admin_is_told_at_once_that_another_is_needed(
    alice: Person, alice_client: Client, bob: Person, deed: str
) -> None:
    path, said = f"/people/{alice.user.pk}/{deed}/", "This is the only super admin of the organization."
    page = alice_client.get(path)
    assert said in text_of(page)
    assert 'type="submit">Change role' not in page.content.decode()
    assert 'type="submit">Remove from' not in page.content.decode()
    OrganizationMembership.objects.filter(pk=bob.membership.pk).update(role=Role.SUPER_ADMIN)
    assert said not in text_of(alice_client.get(path))
