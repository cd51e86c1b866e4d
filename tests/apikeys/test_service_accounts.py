"""Keys that act for service accounts, by HTTP in every state, and keys that are handed to them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts import actions as people
from accounts.models import Organization, Project, Role, ServiceAccount, Team, TeamMembership
from apikeys import actions
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from audit.models import AuditEvent
from tests.accounts.scenes import FRAGMENT, is_page, queries_of, text_of
from tests.apikeys.audited import LogIsFull, break_the_audit_log, events_of, newest_changes
from tests.apikeys.people import acting_as, change_team_role, deactivate, leave_organization, leave_teams
from tests.apikeys.sessions import Session
from tests.cast import NOON, PASSWORD, Issued, Person, later, use

Issue = Callable[..., Issued]
SignIn = Callable[[Person], Client]


def make(person: Person, team: Team, **changes: Any) -> ServiceAccount:
    wanted: dict[str, Any] = {"name": "ci-deployer", "role": Role.DEVELOPER, "steward": person.user, "at": NOON}
    return people.create_service_account(principal=person.principal, team=team, **wanted | changes)


@pytest.fixture
def account(bob: Person, team: Team) -> ServiceAccount:
    return make(bob, team)


@pytest.fixture
def olga(other_team: Team) -> Person:
    """The admin of another team of the same organization."""
    user = people.create_user(email="olga@example.com", password=PASSWORD, name="Olga", at=NOON)
    return Person(people.add_to_team(team=other_team, user=user, role=Role.TEAM_ADMIN, at=NOON).membership)


def call(issued: Issued, path: str = "/v1/projects") -> tuple[int, str]:
    """Send a key from a client, and return the status and the code of the answer."""
    response = Client().get(path, headers=issued.headers)
    return response.status_code, response.json().get("code", "")


def stop(person: Person, account: ServiceAccount) -> None:
    people.stop_service_account(principal=person.principal, service_account=account, at=NOON)


def hand(person: Person, issued: Issued, account: ServiceAccount) -> ApiKey:
    return actions.hand_to_service_account(
        principal=person.principal, api_key=issued.row, service_account=account, at=NOON
    )


# What a key of an account may do, whoever issued it


def test_key_of_an_account_outlives_its_issuer(
    issue: Issue, alice: Person, bob: Person, dana: Person, project: Project, account: ServiceAccount
) -> None:
    key = issue(dana, project, service_account=account)
    own = issue(dana, project)
    assert (call(key), call(own)) == ((200, ""), (200, ""))
    for leave in (leave_teams, leave_organization, deactivate):
        leave(dana)
        assert call(key) == (200, "")
        assert call(own) == (401, "issuer_gone")


def test_key_of_an_account_has_the_role_of_the_account_and_not_its_issuers(
    issue: Issue, bob: Person, team: Team
) -> None:
    wanted = ["audit:read", "projects:read"]
    of_developer = issue(bob, team, service_account=make(bob, team), permissions=wanted)
    of_admin = issue(bob, team, service_account=make(bob, team, name="b", role=Role.TEAM_ADMIN), permissions=wanted)
    assert call(of_developer, "/v1/audit-events") == (403, "insufficient_scope")
    assert call(of_admin, "/v1/audit-events") == (200, "")
    change_team_role(bob, Role.DEVELOPER)
    assert call(of_admin, "/v1/audit-events") == (200, "")


def test_stopping_an_account_stops_all_its_keys_at_the_next_request(
    issue: Issue, bob: Person, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    keys = [issue(dana, project, service_account=account), issue(bob, team, service_account=account)]
    others = [issue(dana, project), issue(bob, team, service_account=make(bob, team, name="other"))]
    assert [call(key) for key in keys + others] == [(200, "")] * 4
    stop(bob, account)
    assert [call(key) for key in keys] == [(401, "service_account_stopped")] * 2
    assert [call(key) for key in others] == [(200, "")] * 2


def test_what_ended_for_another_reason_says_that_first(
    issue: Issue, bob: Person, dana: Person, project: Project, account: ServiceAccount
) -> None:
    revoked = issue(dana, project, service_account=account)
    expired = issue(dana, project, service_account=account, expires_at=later(minutes=1))
    disabled = issue(dana, project, service_account=account)
    actions.revoke_key(principal=bob.principal, api_key=revoked.row, at=NOON)
    ApiKey.objects.filter(pk=disabled.row.pk).update(disabled_at=NOON)
    stop(bob, account)
    found = [verify(key.text, at=later(hours=1)).outcome for key in (revoked, expired, disabled)]
    assert found == [Outcome.KEY_REVOKED, Outcome.KEY_EXPIRED, Outcome.KEY_DISABLED]


def test_account_without_a_steward_keeps_its_keys_and_gets_no_new_ones(
    issue: Issue, bob: Person, dana: Person, team: Team, project: Project
) -> None:
    account = make(bob, team, steward=dana.user)
    key = issue(bob, project, service_account=account)
    leave_teams(dana)
    assert call(key) == (200, "")
    with pytest.raises(actions.ServiceAccountNotUsable):
        issue(bob, project, service_account=account)
    account = people.change_steward(principal=bob.principal, service_account=account, steward=bob.user)
    assert call(issue(bob, project, service_account=account)) == (200, "")


def test_whoami_says_for_whom_a_key_acts(issue: Issue, bob: Person, project: Project, account: ServiceAccount) -> None:
    key = issue(bob, project, service_account=account)
    body = Client().get("/v1/whoami", headers=key.headers).json()
    assert body["service_account"] == {"id": str(account.pk), "name": "ci-deployer"}
    assert (body["role"], body["issuer"]["email"]) == ("developer", "bob@example.com")


# Handing over


def test_handed_over_key_works_at_its_next_request_and_is_on_record(
    issue: Issue, alice: Person, bob: Person, dana: Person, project: Project, account: ServiceAccount
) -> None:
    key = issue(dana, project)
    leave_organization(dana)
    assert call(key) == (401, "issuer_gone")
    found = hand(bob, key, account)
    assert (found.service_account_id, found.issuer_id) == (account.pk, dana.user.pk)
    assert call(key) == (200, "")
    assert events_of(key.row) == ["api_key.created", "api_key.handed_over"]
    assert newest_changes(key.row.pk) == {"service_account_id": [None, str(account.pk)]}


def test_hand_over_is_for_the_issuer_and_for_admins_of_the_keys_team(
    issue: Issue, alice: Person, bob: Person, dana: Person, charlie: Person, olga: Person, project: Project
) -> None:
    account = make(bob, project.team)
    erin_user = people.create_user(email="erin@example.com", password=PASSWORD, at=NOON)
    in_team = people.add_to_team(team=project.team, user=erin_user, role=Role.DEVELOPER, at=NOON)
    for person in (charlie, olga, Person(in_team.membership)):
        key = issue(dana, project)
        with pytest.raises(actions.HandOverNotAllowed):
            hand(person, key, account)
        assert events_of(key.row) == ["api_key.created"]
    for person in (alice, bob, dana):
        assert hand(person, issue(dana, project), account).service_account_id == account.pk


@pytest.mark.parametrize("ending", ["revoked", "expired"])
def test_ended_key_is_not_handed_over(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount, ending: str
) -> None:
    key = (
        issue(bob, project, expires_at=later(minutes=1), at=later(days=-1))
        if ending == "expired"
        else issue(bob, project)
    )
    if ending == "revoked":
        actions.revoke_key(principal=bob.principal, api_key=key.row, at=NOON)
    with pytest.raises(actions.KeyNotActive):
        actions.hand_to_service_account(
            principal=bob.principal, api_key=key.row, service_account=account, at=later(hours=1)
        )


def test_disabled_key_is_handed_over_and_stays_disabled(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount
) -> None:
    key = issue(bob, project)
    actions.disable_key(api_key=key.row, at=NOON)
    hand(bob, key, account)
    assert call(key) == (401, "key_disabled")


def test_key_of_one_account_is_not_handed_to_another(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount
) -> None:
    """A stopped account's keys must not come back to life under another name."""
    key = issue(bob, project, service_account=account)
    stop(bob, account)
    with pytest.raises(actions.ServiceAccountNotUsable):
        hand(bob, key, make(bob, project.team, name="other"))
    assert call(key) == (401, "service_account_stopped")


def test_key_that_may_do_everything_is_not_handed_over(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount
) -> None:
    key = issue(bob, project, permissions=["*"])
    with pytest.raises(actions.NotForServiceAccounts):
        hand(bob, key, account)
    assert call(key) == (200, "")


def test_hand_over_grants_nothing_that_the_caller_may_not_grant_now(
    issue: Issue, bob: Person, dana: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    change_team_role(dana, Role.TEAM_ADMIN)
    key = issue(dana, project, permissions=["keys:write"])
    change_team_role(dana, Role.DEVELOPER)
    with pytest.raises(actions.PermissionNotGrantable):
        hand(dana, key, account)
    assert hand(bob, key, account).service_account_id == account.pk


def test_hand_over_takes_an_account_that_could_get_a_new_key(
    issue: Issue, alice: Person, bob: Person, dana: Person, team: Team, other_team: Team, project: Project
) -> None:
    people.add_to_team(team=other_team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    elsewhere = make(alice, other_team)
    stopped = make(bob, team, name="stopped")
    stop(bob, stopped)
    orphan = make(bob, team, name="orphan", steward=dana.user)
    greater = make(bob, team, name="greater", role=Role.TEAM_ADMIN)
    key = issue(dana, project)
    with pytest.raises(actions.ServiceAccountNotUsable):
        hand(dana, key, greater)
    leave_teams(dana)
    for account in (elsewhere, stopped, orphan):
        with pytest.raises(actions.ServiceAccountNotUsable):
            hand(alice, key, account)
    assert events_of(key.row) == ["api_key.created"]


def test_organization_key_is_not_handed_over(
    issue: Issue, alice: Person, organization: Organization, team: Team
) -> None:
    people.add_to_team(team=team, user=alice.user, role=Role.DEVELOPER, at=NOON)
    key = issue(alice, organization)
    with pytest.raises(actions.ServiceAccountNotUsable):
        hand(alice, key, make(alice, team))


def test_key_hands_on_nothing_that_it_does_not_hold(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount, noon: object
) -> None:
    caller = acting_as(issue(bob, project, permissions=["keys:write", "projects:read"], expires_at=later(days=9)))
    for changes, refusal in (
        ({"permissions": ["scan:read"]}, actions.PermissionNotGrantable),
        ({"expires_at": None}, actions.ExpiryNotGrantable),
        ({"environment": "test", "expires_at": later(days=1)}, actions.EnvironmentNotGrantable),
    ):
        key = issue(bob, project, **changes)
        with pytest.raises(refusal):
            actions.hand_to_service_account(principal=caller, api_key=key.row, service_account=account, at=NOON)
    key = issue(bob, project, expires_at=later(days=1))
    actions.hand_to_service_account(principal=caller, api_key=key.row, service_account=account, at=NOON)
    assert call(key) == (200, "")


def test_hand_over_saves_nothing_if_the_audit_row_fails(
    issue: Issue, bob: Person, project: Project, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = issue(bob, project)
    break_the_audit_log(monkeypatch)
    with pytest.raises(LogIsFull):
        hand(bob, key, account)
    assert ApiKey.objects.get().service_account_id is None


# The API


@pytest.fixture
def api(issue: Issue, bob: Person, team: Team) -> Issued:
    """A team key of bob's that may manage service accounts."""
    return issue(bob, team, permissions=["service_accounts:read", "service_accounts:write"])


def post(issued: Issued, path: str, body: object) -> Any:
    return Client().post(path, body, content_type="application/json", headers=issued.headers)


def patch(issued: Issued, path: str, body: object) -> Any:
    return Client().patch(path, body, content_type="application/json", headers=issued.headers)


def test_api_creates_lists_changes_and_stops(api: Issued, bob: Person, dana: Person, team: Team) -> None:
    made = post(api, "/v1/service-accounts", {"name": "ci-deployer", "steward_id": str(dana.user.pk)})
    assert made.status_code == 201
    account = ServiceAccount.objects.get()
    body = made.json()
    assert made["Location"] == f"/v1/service-accounts/{account.pk}"
    created = body.pop("created_at")
    assert created
    assert body == {
        "id": str(account.pk),
        "name": "ci-deployer",
        "team": {"id": str(team.pk), "name": "Payments"},
        "role": "developer",
        "steward": {"id": str(dana.user.pk), "email": "dana@example.com"},
        "has_steward": True,
        "state": "running",
        "stopped_at": None,
    }
    path = f"/v1/service-accounts/{account.pk}"
    listed = Client().get("/v1/service-accounts", headers=api.headers).json()
    assert listed == {"items": [body | {"created_at": created}]}
    assert Client().get(path, headers=api.headers).json() == listed["items"][0]
    changed = patch(api, path, {"name": "deployer", "steward_id": str(bob.user.pk)}).json()
    assert (changed["name"], changed["steward"]["email"]) == ("deployer", "bob@example.com")
    stopped = post(api, f"{path}/stop", {})
    assert (stopped.status_code, stopped.json()["state"]) == (200, "stopped")
    again = post(api, f"{path}/stop", {})
    assert (again.status_code, again.json()["stopped_at"]) == (200, stopped.json()["stopped_at"])
    newest = AuditEvent.objects.filter(event="service_account.stopped").get()
    assert (newest.actor_kind, newest.issuer_label) == ("api_key", "bob@example.com")


def test_api_names_its_refusals(api: Issued, bob: Person, charlie: Person, team: Team) -> None:
    account = make(bob, team)
    path = f"/v1/service-accounts/{account.pk}"
    refusals = [
        post(api, "/v1/service-accounts", {"name": "CI-deployer"}),
        post(api, "/v1/service-accounts", {"name": "x", "steward_id": str(charlie.user.pk)}),
        post(api, "/v1/service-accounts", {"name": "x", "steward_id": str(uuid4())}),
        post(api, "/v1/service-accounts", {"name": "x", "team_id": str(uuid4())}),
        post(api, "/v1/service-accounts", {"name": "x", "role": "super_admin"}),
        post(api, "/v1/service-accounts", {"name": "x", "surprise": 1}),
        patch(api, path, {}),
        patch(api, f"/v1/service-accounts/{uuid4()}", {"name": "x"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in refusals] == [
        (409, "name_taken"),
        (409, "steward_not_in_team"),
        (409, "steward_not_in_team"),
        (404, "not_found"),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (404, "not_found"),
    ]
    stop(bob, account)
    late = patch(api, path, {"name": "x"})
    assert (late.status_code, late.json()["code"]) == (409, "service_account_already_stopped")
    assert ServiceAccount.objects.count() == 1


def test_api_changes_one_thing_and_leaves_the_other(api: Issued, bob: Person, dana: Person, team: Team) -> None:
    path = f"/v1/service-accounts/{make(bob, team).pk}"
    assert patch(api, path, {"name": "x"}).json()["steward"]["email"] == "bob@example.com"
    changed = patch(api, path, {"steward_id": str(dana.user.pk)}).json()
    assert (changed["name"], changed["steward"]["email"]) == ("x", "dana@example.com")


@pytest.mark.parametrize("name", ["", " ", "a\u202eb", "a\nb", "a" * 101])
def test_api_refuses_what_cannot_be_a_name(api: Issued, name: str) -> None:
    answer = post(api, "/v1/service-accounts", {"name": name})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")
    assert not ServiceAccount.objects.exists()


def test_api_changes_all_or_nothing(api: Issued, bob: Person, charlie: Person, team: Team) -> None:
    account = make(bob, team)
    answer = patch(api, f"/v1/service-accounts/{account.pk}", {"name": "x", "steward_id": str(charlie.user.pk)})
    assert answer.status_code == 409
    assert ServiceAccount.objects.get().name == "ci-deployer"


def test_api_is_for_keys_whose_scope_and_role_cover_the_team(
    issue: Issue,
    alice: Person,
    bob: Person,
    olga: Person,
    organization: Organization,
    team: Team,
    other_team: Team,
    project: Project,
) -> None:
    """A key makes accounts where its scope reaches, and never one that may do more than itself."""
    write = ["service_accounts:read", "service_accounts:write"]
    body = {"name": "x", "role": "team_admin", "team_id": str(team.pk), "steward_id": str(bob.user.pk)}
    of_organization = issue(alice, organization, permissions=write)
    of_other_team = issue(olga, other_team, permissions=write)
    of_project = issue(bob, project, permissions=write)
    reading = issue(bob, team, permissions=["service_accounts:read"])
    of_developer = issue(bob, team, permissions=write, service_account=make(bob, team, name="dev"))
    answers = [post(key, "/v1/service-accounts", body) for key in (of_other_team, of_project, reading, of_developer)]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (404, "not_found"),
        (403, "forbidden"),
        (403, "insufficient_scope"),
        (403, "insufficient_scope"),
    ]
    assert post(of_organization, "/v1/service-accounts", body).status_code == 201
    listed = [
        [item["name"] for item in Client().get("/v1/service-accounts", headers=key.headers).json()["items"]]
        for key in (of_organization, of_other_team, of_project, reading, of_developer)
    ]
    assert listed == [["dev", "x"], [], [], ["dev", "x"], ["dev", "x"]]


def test_api_takes_an_organization_key_only_with_a_team(
    issue: Issue, alice: Person, organization: Organization
) -> None:
    key = issue(alice, organization, permissions=["service_accounts:write"])
    answer = post(key, "/v1/service-accounts", {"name": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "team_id")


@pytest.mark.parametrize(
    ("who", "expected"), [("alice", 201), ("bob", 201), ("dana", 403), ("charlie", 404), ("olga", 404)]
)
def test_api_by_a_session_allows_what_the_pages_do(
    request: pytest.FixtureRequest, bob: Person, team: Team, who: str, expected: int
) -> None:
    session = Session(request.getfixturevalue(who))
    body = {"name": "x", "team_id": str(team.pk), "steward_id": str(bob.user.pk)}
    assert session.post("/v1/service-accounts", body).status_code == expected
    account = make(bob, team, name="y")
    seen = session.get(f"/v1/service-accounts/{account.pk}").status_code
    assert seen == (404 if expected == 404 else 200)
    stopped = session.post(f"/v1/service-accounts/{account.pk}/stop", {}).status_code
    assert stopped == (200 if expected == 201 else expected)


def test_api_costs_the_same_with_more_accounts(api: Issued, bob: Person, team: Team) -> None:
    make(bob, team)
    before = queries_of(Client(), "/v1/service-accounts", **api.headers)
    for number in range(3):
        make(bob, team, name=f"a{number}")
    assert queries_of(Client(), "/v1/service-accounts", **api.headers) == before


def test_api_hands_a_key_over(
    issue: Issue, bob: Person, dana: Person, charlie: Person, team: Team, project: Project, account: ServiceAccount
) -> None:
    key = issue(dana, project)
    caller = issue(bob, team, permissions=["keys:write", "projects:read"])
    path, body = f"/v1/api-keys/{key.row.pk}/hand-over", {"service_account_id": str(account.pk)}
    elsewhere = Session(charlie).post(path, body)
    unknown = post(caller, path, {"service_account_id": str(uuid4())})
    weak = post(issue(bob, team), path, body)
    assert [(answer.status_code, answer.json()["code"]) for answer in (elsewhere, unknown, weak)] == [
        (404, "not_found"),
        (404, "not_found"),
        (403, "insufficient_scope"),
    ]
    leave_organization(dana)
    done = post(caller, path, body)
    assert (done.status_code, done.json()["service_account"]["name"]) == (200, "ci-deployer")
    assert done.json()["effective"] == ["projects:read"]
    assert call(key) == (200, "")
    again = post(caller, path, body)
    assert (again.status_code, again.json()["code"]) == (403, "service_account_not_usable")
    actions.revoke_key(principal=bob.principal, api_key=key.row, at=NOON)
    ended = post(caller, path, body)
    assert (ended.status_code, ended.json()["code"]) == (409, "key_not_active")


# The pages


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_page_of_an_account_lists_its_keys(
    issue: Issue,
    bob: Person,
    bob_client: Client,
    project: Project,
    account: ServiceAccount,
    headers: dict[str, str],
) -> None:
    issue(bob, project, service_account=account, name="deploys")
    issue(bob, project, name="something-else")
    response = bob_client.get(f"/service-accounts/{account.pk}/", headers=headers)
    text = text_of(response)
    assert is_page(response) is not bool(headers)
    assert "deploys" in text
    assert "something-else" not in text
    assert headers or "Its keys act as developer, whoever issued them." in text
    assert b'href=""' not in response.content


def test_page_of_an_account_is_seen_by_its_team_and_changed_by_its_admins(
    account: ServiceAccount,
    alice_client: Client,
    bob_client: Client,
    dana_client: Client,
    charlie_client: Client,
    olga: Person,
    sign_in_as: SignIn,
) -> None:
    page, end = f"/service-accounts/{account.pk}/", f"/service-accounts/{account.pk}/stop/"
    clients = (alice_client, bob_client, dana_client, charlie_client, sign_in_as(olga))
    assert [client.get(page).status_code for client in clients] == [200, 200, 200, 404, 404]
    assert [client.get(end).status_code for client in clients] == [200, 200, 403, 404, 404]
    for client in clients[2:]:
        client.post(end, {"name": account.name})
    assert ServiceAccount.objects.get().stopped_at is None


def test_stop_shows_its_keys_and_wants_the_name(
    issue: Issue, bob: Person, bob_client: Client, project: Project, account: ServiceAccount, noon: object
) -> None:
    used = issue(bob, project, service_account=account)
    issue(bob, project, service_account=account)
    use(used.row, at=NOON)
    url = f"/service-accounts/{account.pk}/stop/"
    assert "2 keys act for it, 1 used in the last 24 hours." in text_of(bob_client.get(url, headers=FRAGMENT))
    wrong = bob_client.post(url, {"name": "ci"})
    assert wrong.status_code == 422
    assert "Type the name as it is written: ci-deployer" in text_of(wrong)
    assert call(used) == (200, "")
    done = bob_client.post(url, {"name": "ci-deployer"}, follow=True)
    assert "ci-deployer stopped at 12:00 UTC. Its keys have been refused since." in text_of(done)
    assert call(used) == (401, "service_account_stopped")
    again = bob_client.post(url, {"name": "ci-deployer"}, follow=True)
    assert "was stopped before" in text_of(again)


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_page_of_an_account_costs_the_same_with_more_keys(
    issue: Issue,
    bob: Person,
    bob_client: Client,
    project: Project,
    account: ServiceAccount,
    headers: dict[str, str],
) -> None:
    url = f"/service-accounts/{account.pk}/"
    issue(bob, project, service_account=account)
    before = queries_of(bob_client, url, **headers)
    for _ in range(2):
        issue(bob, project, service_account=account)
    assert queries_of(bob_client, url, **headers) == before


def test_page_says_where_there_is_no_steward(bob: Person, dana: Person, bob_client: Client, team: Team) -> None:
    account = make(bob, team, steward=dana.user)
    people.remove_from_team(
        at=NOON, principal=bob.principal, team_membership=TeamMembership.objects.get(membership=dana.membership)
    )
    assert "No steward: no new keys." in text_of(bob_client.get(f"/service-accounts/{account.pk}/"))
