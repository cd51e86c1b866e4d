from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Project
from apikeys import actions
from apikeys.models import ApiKey, Policy
from apikeys.permissions import Permission
from audit.models import AuditEvent
from tests.cast import Issued, Person, later, use

Issue = Callable[..., Issued]
Queries = Callable[[int], Any]
PAGE, APPLY = "/settings/policies/", "/settings/policies/apply/"


def filled(**changes: Any) -> dict[str, Any]:
    """Return the form as the browser sends it, where nothing but `changes` differs from the defaults."""
    return {
        "max_lifetime": "",
        "team_issuers": "team_admin",
        "project_issuers": "developer",
        "never_together": "",
        "networks": "",
        "warn_unused_after": "90",
        "disable_unused_after": "",
        "rotate_after": "90",
        "existing": "date",
        "existing_on": "2026-04-01",
    } | changes


def turn_on(client: Client, sent: dict[str, Any], **more: Any) -> Any:
    """Preview what was filled in and confirm it, as the page of the preview does."""
    preview: Any = client.post(PAGE, sent)
    return client.post(APPLY, sent | {"digest": preview.context["digest"]}, **more)


@pytest.mark.parametrize("who", ["bob", "dana", "charlie"])
def test_settings_are_the_super_admins(who: str, issued: Issued, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(f"{who}_client")
    for method, path in (("get", PAGE), ("post", PAGE), ("post", APPLY), ("get", APPLY)):
        response = getattr(client, method)(path, filled(max_lifetime="30"))
        if who == "charlie":
            # A super admin elsewhere, whose own organization it is about.
            assert issued.row.name not in response.content.decode()
        else:
            assert response.status_code == 403
    assert not Policy.objects.filter(organization=issued.row.organization_id).exists()
    assert ApiKey.objects.get().expires_at is None


@pytest.mark.parametrize(("who", "is_shown"), [("alice", True), ("bob", False), ("dana", False)])
def test_sidebar_shows_settings_to_super_admins(who: str, is_shown: bool, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(f"{who}_client")
    assert ("/settings/organization/" in client.get("/").content.decode()) is is_shown


def test_page_shows_the_policy_as_it_is(alice_client: Client) -> None:
    response: Any = alice_client.get(PAGE)
    assert response.status_code == 200
    assert response.context["form"]["warn_unused_after"].value() == 90
    assert response.context["preview"] is None


def test_preview_tells_what_would_be_touched_and_changes_nothing(
    issue: Issue, dana: Person, project: Project, alice_client: Client
) -> None:
    with time_machine.travel(later(), tick=False):
        keys = [issue(dana, project, name=f"job {number}") for number in range(3)]
        use(keys[0].row, at=later(hours=-1))
        response: Any = alice_client.post(PAGE, filled(max_lifetime="30"))
    text = " ".join(response.text.split())
    assert "<strong>3 keys, 1 used today</strong>, would stop on 2026-04-02 00:00 UTC because they break" in text
    assert all(f'href="/keys/{key.row.pk}/"' in text for key in keys)
    assert '<input type="hidden" name="max_lifetime" value="30">' in text
    assert not Policy.objects.exists()
    assert not ApiKey.objects.exclude(expires_at=None).exists()


def test_confirmation_turns_on_what_was_sent(
    issue: Issue, dana: Person, project: Project, alice_client: Client
) -> None:
    with time_machine.travel(later(), tick=False):
        issued = issue(dana, project)
        sent = filled(
            max_lifetime="30",
            is_expiry_required="on",
            never_together="scan:read, keys:read\n",
            networks="203.0.113.0/24\n\n2001:db8::/32",
        )
        response: Any = turn_on(alice_client, sent, follow=True)
        shown: Any = alice_client.get(PAGE)
    assert response.redirect_chain == [(PAGE, 302)]
    assert "from now on; 1 key that does not meet it works until 2026-04-02 00:00 UTC." in response.text
    policy = Policy.objects.get()
    assert (policy.max_lifetime, policy.is_expiry_required) == (30, True)
    assert policy.never_together == [["keys:read", "scan:read"]]
    stored = policy.organization.network_policy
    assert stored["networks"] == ["203.0.113.0/24", "2001:db8::/32"]
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(days=30, hours=12)
    events = ["policy.created", "organization.networks_changed", "api_key.grandfathered"]
    assert [AuditEvent.objects.filter(event=event).count() for event in events] == [1, 1, 1]
    assert shown.context["form"]["never_together"].value() == "keys:read, scan:read"


def test_at_once_is_at_once(issue: Issue, dana: Person, project: Project, alice_client: Client) -> None:
    with time_machine.travel(later(hours=1), tick=False):
        issued = issue(dana, project)
        preview: Any = alice_client.post(PAGE, filled(max_lifetime="30", existing="now"))
        turn_on(alice_client, filled(max_lifetime="30", existing="now"))
    assert "would stop at once" in " ".join(preview.text.split())
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(hours=1)


def test_form_that_changes_nothing_says_so(alice_client: Client) -> None:
    with time_machine.travel(later(), tick=False):
        response: Any = alice_client.post(PAGE, filled())
        assert "Nothing would change." in response.text
        assert 'action="/settings/policies/apply/"' not in response.text
        turn_on(alice_client, filled())
    assert not Policy.objects.exists()


def test_changes_are_told_in_words(alice_client: Client) -> None:
    sent = filled(
        project_issuers="super_admin",
        is_expiry_required="on",
        never_together="scan:read keys:read",
        networks="203.0.113.0/24",
        warn_unused_after="1",
        rotate_after="",
    )
    with time_machine.travel(later(), tick=False):
        response: Any = alice_client.post(PAGE, sent)
    assert {(line.label, line.before, line.after) for line in response.context["changes"]} == {
        ("Project keys are issued by", "developer", "super admin"),
        ("Every key must expire", "no", "yes"),
        ("Never together", "none", "keys:read + scan:read"),
        ("Networks", "everywhere", "203.0.113.0/24"),
        ("Warn when unused", "90 days", "1 day"),
        ("Recommend rotation", "90 days", "never"),
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_lifetime": "0"}, "max_lifetime"),
        ({"max_lifetime": "soon"}, "max_lifetime"),
        ({"team_issuers": "developer"}, "team_issuers"),
        ({"never_together": "scan:read"}, "never_together"),
        ({"never_together": "scan:read, no:such"}, "never_together"),
        ({"never_together": "scan:read, *"}, "never_together"),
        ({"never_together": "scan:read, keys:read\n" * 51}, "never_together"),
        ({"networks": "203.0.113.1/24"}, "networks"),
        ({"networks": "\n".join(f"10.0.{number}.0/24" for number in range(51))}, "networks"),
        ({"existing_on": ""}, "existing_on"),
        ({"existing_on": "2026-03-01"}, "existing_on"),
        ({"existing_on": "2036-03-01"}, "existing_on"),
        ({"existing_on": "soon"}, "existing_on"),
        ({"existing": ""}, "existing"),
    ],
)
@pytest.mark.parametrize("path", [PAGE, APPLY])
def test_field_that_is_not_valid_is_marked(
    path: str, changes: dict[str, str], field: str, alice_client: Client
) -> None:
    with time_machine.travel(later(), tick=False):
        response: Any = alice_client.post(path, filled(**changes))
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]
    assert not Policy.objects.exists()


@pytest.mark.parametrize("path", [PAGE, APPLY])
def test_recent_sign_in_is_asked_for_and_what_was_filled_in_is_kept(path: str, alice_client: Client) -> None:
    session = alice_client.session
    session["account_authentication_methods"] = [{"method": "password", "at": 0}]
    session.save()
    response: Any = alice_client.post(path, filled(max_lifetime="30"))
    assert response.status_code == 302
    assert response["Location"].startswith("/account/reauthenticate/")
    assert "max_lifetime%3D30" in response["Location"]
    assert not Policy.objects.exists()


def test_who_comes_back_from_the_sign_in_looks_at_it_once_more(alice_client: Client) -> None:
    response: Any = alice_client.get(f"{APPLY}?max_lifetime=30&existing=now", follow=True)
    assert response.redirect_chain == [(f"{PAGE}?max_lifetime=30&existing=now", 302)]
    form = response.context["form"]
    assert (form["max_lifetime"].value(), form["existing"].value()) == ("30", "now")
    assert not Policy.objects.exists()


@pytest.mark.parametrize("count", [1, 3])
def test_preview_costs_the_same_for_one_and_many(
    issue: Issue,
    dana: Person,
    project: Project,
    alice_client: Client,
    count: int,
    django_assert_num_queries: Queries,
) -> None:
    with time_machine.travel(later(), tick=False):
        for _ in range(count):
            issue(dana, project)
        # The session, the person and their organization; the policy, for the form and for the preview; the keys, and
        # those that are shown.
        with django_assert_num_queries(8):
            alice_client.post(PAGE, filled(max_lifetime="30"))


def test_preview_of_a_policy_that_was_changed_since_turns_nothing_on(
    issue: Issue, dana: Person, project: Project, alice: Person, alice_client: Client
) -> None:
    with time_machine.travel(later(), tick=False):
        issued = issue(dana, project)
        sent = filled(max_lifetime="30")
        first: Any = alice_client.post(PAGE, sent)
        assert f'name="digest" value="{first.context["digest"]}"' in first.text
        actions.change_policy(
            principal=alice.principal, changes={"is_expiry_required": True}, existing_from=later(days=90), at=later()
        )
        for digest in (first.context["digest"], "", "made up"):
            refused: Any = alice_client.post(APPLY, sent | {"digest": digest})
            assert refused.status_code == 422
            assert "Someone else has changed the policy meanwhile." in refused.text
            assert ("Every key must expire", "yes", "no") in {
                (line.label, line.before, line.after) for line in refused.context["changes"]
            }
        policy = Policy.objects.get()
        assert (policy.is_expiry_required, policy.max_lifetime) == (True, None)
        # Who has seen what it undoes may do so.
        again = alice_client.post(APPLY, sent | {"digest": refused.context["digest"]})
        assert again.status_code == 302
    policy.refresh_from_db()
    assert (policy.is_expiry_required, policy.max_lifetime) == (False, 30)
    assert ApiKey.objects.get(pk=issued.row.pk).expires_at == later(days=30, hours=12)


def test_preview_says_that_an_end_is_not_taken_back(
    issue: Issue, dana: Person, project: Project, alice_client: Client
) -> None:
    with time_machine.travel(later(), tick=False):
        issue(dana, project)
        response: Any = alice_client.post(PAGE, filled(max_lifetime="30"))
        assert "Turning the rule off again does not take that back" in " ".join(response.text.split())
        turn_on(alice_client, filled(max_lifetime="30"))
        response = alice_client.post(PAGE, filled())
        assert "Keys that were given an end keep it" in " ".join(response.text.split())


def test_policy_can_be_changed_though_a_permission_it_names_is_gone(alice: Person, alice_client: Client) -> None:
    principal = alice.principal
    actions.add_permission(principal=principal, entry=Permission("invoices:read", "See invoices."))
    together: Any = {"never_together": [["audit:read", "invoices:read"]]}
    actions.change_policy(principal=principal, changes=together, existing_from=later(), at=later())
    actions.remove_permission(principal=principal, name="invoices:read")
    with time_machine.travel(later(), tick=False):
        sent = filled(never_together="audit:read, invoices:read", max_lifetime="30")
        assert turn_on(alice_client, sent).status_code == 302
        other = alice_client.post(PAGE, filled(never_together="audit:read, invoices:write"))
    assert other.status_code == 422
    policy = Policy.objects.get()
    assert (policy.never_together, policy.max_lifetime) == ([["audit:read", "invoices:read"]], 30)


# What a project accepts


def test_project_says_and_changes_what_it_accepts(
    issue: Issue, dana: Person, project: Project, bob_client: Client
) -> None:
    issue(dana, project, environment="test")
    live = issue(dana, project)
    use(live.row, at=later())
    with time_machine.travel(later(), tick=False):
        page: Any = bob_client.get(f"/projects/{project.pk}/environments/")
        assert page.context["refused"] == [("Live", 1, 1), ("Test", 1, 0)]
        response: Any = bob_client.post(f"/projects/{project.pk}/environments/", {"environments": "test"})
        assert response["Location"] == f"/projects/{project.pk}/"
        # Chosen once more, it is no change.
        bob_client.post(f"/projects/{project.pk}/environments/", {"environments": "test"})
        called: Any = Client().get("/v1/whoami", headers=live.headers)
        assert (called.status_code, called.json()["code"]) == (403, "environment_not_accepted")
        assert "test only" in bob_client.get(f"/projects/{project.pk}/").content.decode()
    assert Project.objects.get(pk=project.pk).environments == "test"
    assert AuditEvent.objects.get(event="project.updated").changes == {"environments": ["any", "test"]}


def test_fragment_is_the_dialog(project: Project, bob_client: Client) -> None:
    response: Any = bob_client.get(f"/projects/{project.pk}/environments/", headers={"HX-Request": "true"})
    assert "<html" not in response.text
    assert "Which keys it accepts" in response.text


def test_developer_does_not_say_what_a_project_accepts(project: Project, dana_client: Client) -> None:
    for method in ("get", "post"):
        response = getattr(dana_client, method)(f"/projects/{project.pk}/environments/", {"environments": "test"})
        assert response.status_code == 403
    assert Project.objects.get(pk=project.pk).environments == "any"
    assert "/environments/" not in dana_client.get(f"/projects/{project.pk}/").content.decode()


def test_wrong_choice_is_marked(project: Project, bob_client: Client) -> None:
    assert bob_client.post(f"/projects/{project.pk}/environments/", {"environments": "none"}).status_code == 422
    assert Project.objects.get(pk=project.pk).environments == "any"


@pytest.mark.parametrize(("sent", "stored"), [({}, "any"), ({"environments": "live"}, "live")])
def test_new_project_accepts_what_was_chosen(
    project: Project, bob_client: Client, sent: dict[str, str], stored: str
) -> None:
    bob_client.post("/projects/new/", {"name": "New", "team": str(project.team_id)} | sent)
    assert Project.objects.get(name="New").environments == stored
