"""Before anyone is in: set-up, invitations, sign-in, and what the frame of every page does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import Invitation, Organization, OrganizationMembership, Role, Team, TeamMembership, User
from accounts.setup_link import is_setup_token, setup_link
from tests.accounts.mailbox import link_to
from tests.accounts.scenes import (
    FRAGMENT,
    event_names,
    everything_in_sessions,
    invited,
    is_page,
    last_event,
    text_of,
    together,
    without_password,
)
from tests.cast import NOON, PASSWORD, Person

SignIn = Callable[[Person], Client]
JOIN = "/invitations/"
SETUP = {"organization_name": "Northwind", "email": "Alice@example.com", "password": PASSWORD}
SIGNED_IN_PAGES = [
    "/",
    "/teams/",
    "/teams/new/",
    "/projects/",
    "/projects/new/",
    "/integrations/",
    "/integrations/new/",
    "/integrations/new/sentence/",
    "/audit/",
    "/account/confirm/",
    "/account/connections/",
    "/account/password/change/",
    "/account/reauthenticate/",
]


def setup_url() -> str:
    return setup_link().removeprefix("http://127.0.0.1:8000")


# Set-up


def test_setup_link_shows_the_form(client: Client, db: None) -> None:
    response = client.get(setup_url())
    assert (response.status_code, [*response.context["form"].fields]) == (
        200,
        ["organization_name", "email", "password"],
    )
    assert "no-store" in response["Cache-Control"]


def test_setup_makes_the_super_admin_and_signs_in(client: Client, db: None) -> None:
    response = client.post(setup_url(), SETUP)
    assert (response.status_code, response["Location"]) == (302, "/")
    membership = OrganizationMembership.objects.get()
    assert (membership.user.email, membership.organization.name, membership.role) == (
        "alice@example.com",
        "Northwind",
        "super_admin",
    )
    assert "Northwind" in text_of(client.get("/"))


def test_setup_signs_in_on_record(client: Client, db: None) -> None:
    client.post(setup_url(), SETUP)
    event = last_event()
    assert (event["event"], event["actor_label"], event["target_label"]) == (
        "user.signed_in",
        "alice@example.com",
        "alice@example.com",
    )


def test_setup_makes_an_account_that_is_on_the_organizations_page(client: Client, db: None) -> None:
    client.post(setup_url(), SETUP)
    shown = client.get("/audit/?target_table=users&action=create")
    assert [(row.event, row.target_label, row.actor_label) for row in shown.context["events"]] == [
        ("user.created", "alice@example.com", "set-up link")
    ]


def test_setup_counts_as_a_recent_sign_in(client: Client, db: None) -> None:
    client.post(setup_url(), SETUP)
    assert client.get("/integrations/new/").status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_setup_link_works_once(client: Client, db: None, method: str) -> None:
    client.post(setup_url(), SETUP)
    again = getattr(Client(), method)(setup_url(), SETUP | {"email": "mallory@example.com"})
    assert again.status_code == 410
    assert "The set-up link was used already" in text_of(again)
    assert User.objects.count() == 1


@pytest.mark.parametrize("token", ["x", "needed", "0" * 64, "ä"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_setup_refuses_a_wrong_token(client: Client, db: None, token: str, method: str) -> None:
    response = getattr(client, method)(f"/setup/{quote(token)}/", SETUP)
    assert (response.status_code, User.objects.count()) == (410, 0)


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"password": "fourteen chars"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "123456789987654321"}, "password"),
        ({"email": "alice.of.northwind@example.com", "password": "alice.of.northwind"}, "password"),
        ({"email": "alice"}, "email"),
        ({"organization_name": " "}, "organization_name"),
    ],
)
def test_setup_refuses_what_breaks_a_rule(client: Client, db: None, typed: dict[str, str], field: str) -> None:
    response = client.post(setup_url(), SETUP | typed)
    assert (response.status_code, [*response.context["form"].errors]) == (422, [field])
    assert User.objects.count() == 0
    assert f'value="{(SETUP | typed)["password"]}"' not in response.content.decode()


def test_setup_sent_with_nothing_is_a_form_filled_in_wrongly(client: Client, db: None) -> None:
    response = client.post(setup_url())
    assert (response.status_code, [*response.context["form"].errors]) == (
        422,
        ["organization_name", "email", "password"],
    )


def test_setup_lost_to_someone_else_says_so(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise actions.AlreadySetUp

    monkeypatch.setattr(actions, "set_up", refuse)
    assert client.post(setup_url(), SETUP).status_code == 410


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_setup_is_won_by_one_of_two_browsers() -> None:
    answers = together(
        2, lambda number: Client().post(setup_url(), SETUP | {"email": f"n{number}@example.com"}).status_code
    )
    assert sorted(answers) == [302, 410]
    assert User.objects.count() == 1


def test_setup_token_follows_the_secret(settings: Any) -> None:
    token = setup_url().split("/")[2]
    assert is_setup_token(token)
    settings.SECRET_KEY = "another secret than that of the tests"
    assert not is_setup_token(token)


@pytest.mark.parametrize("url", SIGNED_IN_PAGES)
def test_page_of_an_empty_portal_points_to_the_set_up_link(client: Client, db: None, url: str) -> None:
    response = client.get(url)
    assert (response.status_code, response["Location"]) == (302, "/setup/")


def test_setup_needed_says_where_the_link_is(client: Client, db: None) -> None:
    response = client.get("/setup/")
    assert response.status_code == 200
    assert "set-up link" in text_of(response)
    assert setup_url() not in response.content.decode()


def test_setup_needed_leads_to_sign_in_once_there_is_a_user(client: Client, alice: Person) -> None:
    assert client.get("/setup/")["Location"] == "/account/sign-in/"


# Who is not signed in


@pytest.mark.parametrize("url", SIGNED_IN_PAGES)
def test_anonymous_is_sent_to_sign_in_and_back(client: Client, alice: Person, url: str) -> None:
    response = client.get(f"{url}?a=b")
    assert (response.status_code, response["Location"]) == (302, f"/account/sign-in/?next={quote(url)}%3Fa%3Db")


def test_lost_session_under_htmx_leads_the_whole_browser_to_sign_in(client: Client, alice: Person) -> None:
    headers = FRAGMENT | {"HX-Current-URL": "http://testserver/integrations/?tab=active"}
    response = client.get("/integrations/new/sentence/", headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    assert response["HX-Redirect"] == "/account/sign-in/?next=/integrations/%3Ftab%3Dactive"
    assert "Location" not in response


def test_lost_session_comes_back_to_no_other_portals_page(client: Client, alice: Person) -> None:
    headers = FRAGMENT | {"HX-Current-URL": "https://evil.example/"}
    assert client.get("/teams/new/", headers=headers)["HX-Redirect"] == "/account/sign-in/?next=/teams/new/"


@pytest.mark.parametrize("url", ["/", "/teams/", "/integrations/", "/audit/", "/projects/new/"])
def test_person_in_no_organization_is_told_so(sign_in_as: SignIn, alice: Person, url: str) -> None:
    client = sign_in_as(alice)
    OrganizationMembership.objects.all().delete()
    response = client.get(url)
    assert response.status_code == 403
    assert "You belong to no organization" in text_of(response)
    assert "alice@example.com" in text_of(response)


def test_person_in_no_organization_goes_on_with_an_open_invitation(
    sign_in_as: SignIn, alice: Person, dana: Person, team: Team
) -> None:
    _, token = invited(alice, team)
    client = sign_in_as(dana)
    OrganizationMembership.objects.filter(user=dana.user).delete()
    assert "/account/profile/" in client.get("/").content.decode()
    assert "Go on with your invitation" not in text_of(client.get("/"))
    client.get(f"/invitations/{token}/")
    assert 'href="/invitations/"' in client.get("/").content.decode()
    Invitation.objects.all().delete()
    assert "Go on with your invitation" not in text_of(client.get("/"))


def test_person_in_no_organization_can_still_sign_out(sign_in_as: SignIn, alice: Person) -> None:
    client = sign_in_as(alice)
    OrganizationMembership.objects.all().delete()
    assert client.post("/account/sign-out/")["Location"] == "/"
    assert "_auth_user_id" not in client.session


def test_person_in_no_organization_calls_the_api_in_vain(sign_in_as: SignIn, alice: Person) -> None:
    client = sign_in_as(alice)
    OrganizationMembership.objects.all().delete()
    response = client.get("/v1/projects")
    assert (response.status_code, response.json()["code"]) == (401, "missing_credentials")


# Invitations


@pytest.fixture
def link(bob: Person, team: Team) -> str:
    """The link that was mailed with an invitation for erin, who has no account."""
    invited(bob, team)
    return link_to("erin@example.com")


@pytest.fixture
def erin_client(alice: Person, other_team: Team, sign_in_as: SignIn) -> Client:
    """Erin has an account by now, and a place in another team."""
    user = actions.create_user(email="erin@example.com", password=PASSWORD, at=NOON)
    in_team = actions.add_to_team(team=other_team, user=user, role=Role.DEVELOPER, at=NOON)
    return sign_in_as(Person(in_team.membership))


def roles_of(email: str) -> list[tuple[str, str]]:
    found = TeamMembership.objects.filter(membership__user__email=email).order_by("team__name")
    return [*found.values_list("team__name", "role")]


def test_invitation_says_who_invites_to_what(client: Client, link: str) -> None:
    opened = client.get(link)
    assert (opened.status_code, opened["Location"]) == (302, JOIN)
    assert "no-store" in opened["Cache-Control"]
    response = client.get(JOIN)
    page = text_of(response)
    assert "Join Payments" in page
    assert "Northwind invites erin@example.com as Developer" in page
    assert "no-store" in response["Cache-Control"]


def test_invitation_leaves_its_digest_and_not_its_token_in_the_session(client: Client, link: str) -> None:
    client.get(link)
    stored = everything_in_sessions()
    assert actions.token_digest(link.split("/")[2]) in stored
    assert link.split("/")[2] not in stored


def test_invitation_makes_the_account_and_signs_in(client: Client, link: str, team: Team) -> None:
    client.get(link)
    response = client.post(JOIN, {"name": "Erin", "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/")
    assert roles_of("erin@example.com") == [("Payments", "developer")]
    user = User.objects.get(email="erin@example.com")
    assert (user.name, user.check_password(PASSWORD)) == ("Erin", True)
    assert "Erin" in text_of(client.get("/"))
    assert last_event(event="user.signed_in")["target_label"] == "erin@example.com"


@pytest.mark.parametrize(
    "typed",
    [
        {"name": "Erin", "password": "too short"},
        {"name": "Erin", "password": "erin@example.com"},
        {"name": "Erin Elizabeth Smith", "password": "erin elizabeth smith"},
        {"name": "", "password": PASSWORD},
        {},
    ],
)
def test_invitation_refuses_what_breaks_a_rule(client: Client, link: str, typed: dict[str, str]) -> None:
    client.get(link)
    response = client.post(JOIN, typed)
    assert response.status_code == 422
    assert response.context["form"].errors
    assert not User.objects.filter(email="erin@example.com").exists()
    assert Invitation.objects.get().accepted_at is None


@pytest.mark.parametrize("method", ["get", "post"])
def test_invitation_works_once(client: Client, link: str, method: str) -> None:
    second = Client()
    for browser in (client, second):
        browser.get(link)
    client.post(JOIN, {"name": "Erin", "password": PASSWORD})
    for response in (
        getattr(second, method)(JOIN, {"name": "Mallory", "password": PASSWORD}),
        Client().get(link),
    ):
        assert response.status_code == 410
        assert "This invitation no longer works" in text_of(response)


@pytest.mark.parametrize("method", ["get", "post"])
def test_invitation_ends_after_a_week(client: Client, bob: Person, team: Team, method: str) -> None:
    invitation, token = invited(bob, team, at=timezone.now() - timedelta(days=6))
    assert client.get(f"/invitations/{token}/").status_code == 302
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=timezone.now())
    for response in (
        getattr(client, method)(JOIN, {"name": "Erin", "password": PASSWORD}),
        Client().get(f"/invitations/{token}/"),
    ):
        assert response.status_code == 410
        assert "Join Payments" not in text_of(response)
    assert not User.objects.filter(email="erin@example.com").exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_invitation_that_nobody_opened_is_none(client: Client, link: str, method: str) -> None:
    response = getattr(client, method)(JOIN, {"name": "Erin", "password": PASSWORD})
    assert response.status_code == 410
    assert "This invitation no longer works" in text_of(response)
    assert not User.objects.filter(email="erin@example.com").exists()


def test_invitation_is_opened_by_a_get_and_accepted_under_another_address(client: Client, link: str) -> None:
    response = client.post(link, {"name": "Erin", "password": PASSWORD})
    assert (response.status_code, response["Allow"]) == (405, "GET")
    assert not User.objects.filter(email="erin@example.com").exists()


def test_invitation_made_up_is_opened_by_nobody(client: Client, link: str) -> None:
    response = client.get("/invitations/no-such-token/")
    assert response.status_code == 410
    assert Session.objects.count() == 0


def test_invitation_leaves_its_token_on_no_later_page(client: Client, link: str) -> None:
    token = link.split("/")[2]
    opened = client.get(link)
    answers = [
        opened,
        client.get(opened["Location"]),
        client.post(JOIN, {}),
        client.get(f"/account/sign-in/?next={JOIN}"),
        client.post(JOIN, {"name": "Erin", "password": PASSWORD}),
        client.get("/"),
    ]
    assert [answer.status_code for answer in answers] == [302, 200, 422, 200, 302, 200]
    for answer in answers:
        assert token not in f"{answer.headers} {answer.content.decode()}"
    assert token not in everything_in_sessions()


def test_invitation_is_gone_from_the_session_once_it_is_accepted(client: Client, link: str) -> None:
    client.get(link)
    client.post(JOIN, {"name": "Erin", "password": PASSWORD})
    assert actions.token_digest(link.split("/")[2]) not in everything_in_sessions()


@pytest.mark.parametrize("method", ["get", "post"])
def test_invitation_by_someone_who_left_is_void(client: Client, bob: Person, link: str, method: str) -> None:
    client.get(link)
    bob.membership.delete()
    for response in (
        getattr(client, method)(JOIN, {"name": "Erin", "password": PASSWORD}),
        Client().get(link),
    ):
        assert response.status_code == 410
        assert "This invitation no longer works" in text_of(response)
    assert not User.objects.filter(email="erin@example.com").exists()


def test_account_made_by_an_invitation_is_on_the_organizations_page(
    client: Client, alice_client: Client, link: str
) -> None:
    client.get(link)
    client.post(JOIN, {"name": "Erin", "password": PASSWORD})
    shown = alice_client.get("/audit/?target_table=users&action=create")
    assert [(row.event, row.target_label, row.actor_label) for row in shown.context["events"]] == [
        ("user.created", "erin@example.com", "invitation link")
    ]


def test_account_made_by_an_invitation_is_on_no_other_organizations_page(
    client: Client, charlie_client: Client, link: str
) -> None:
    client.get(link)
    client.post(JOIN, {"name": "Erin", "password": PASSWORD})
    shown = charlie_client.get("/audit/?target_table=users&action=create")
    assert [*shown.context["events"]] == []


def test_invitation_lost_to_someone_else_says_so(client: Client, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise actions.InvitationNotUsable

    monkeypatch.setattr(actions, "register_invited", refuse)
    client.get(link)
    assert client.post(JOIN, {"name": "Erin", "password": PASSWORD}).status_code == 410


def test_invitation_signed_in_lost_to_someone_else_says_so(
    erin_client: Client, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise actions.InvitationNotUsable

    monkeypatch.setattr(actions, "accept_invitation", refuse)
    erin_client.get(link)
    assert erin_client.post(JOIN).status_code == 410


def test_invitation_for_an_existing_account_asks_to_sign_in(client: Client, link: str, erin_client: Client) -> None:
    client.get(link)
    response = client.post(JOIN, {"name": "Mallory", "password": "something else entirely"})
    assert response.status_code == 422
    assert "There is an account with this address already. Sign in below to accept." in text_of(response)
    assert f"/account/sign-in/?next={JOIN}" in response.content.decode()
    assert User.objects.get(email="erin@example.com").check_password(PASSWORD)


def test_invitation_is_accepted_signed_in(erin_client: Client, link: str) -> None:
    shown = erin_client.get(link, follow=True)
    assert "Join team" in text_of(shown)
    assert shown.context["form"] is None
    response = erin_client.post(JOIN)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert roles_of("erin@example.com") == [("Payments", "developer"), ("Platform", "developer")]
    event = last_event()
    assert (event["event"], event["actor_label"]) == ("invitation.accepted", "erin@example.com")


def test_invitation_of_someone_else_is_not_accepted(dana_client: Client, link: str) -> None:
    shown = dana_client.get(link, follow=True)
    assert "You are signed in as dana@example.com. Sign out, then open the link again as erin@example.com." in (
        text_of(shown)
    )
    response = dana_client.post(JOIN)
    assert (response.status_code, response.context["is_wrong_user"]) == (403, True)
    assert Invitation.objects.get().accepted_at is None


def test_invitation_to_ones_own_team_says_so(erin_client: Client, bob: Person, team: Team, link: str) -> None:
    user = User.objects.get(email="erin@example.com")
    actions.add_to_team(team=team, user=user, role=Role.DEVELOPER, at=NOON)
    erin_client.get(link)
    response = erin_client.post(JOIN, follow=True)
    assert response.redirect_chain == [("/", 302)]
    assert "You are in Payments already." in text_of(response)


def test_invitation_from_elsewhere_leads_into_that_organization(charlie: Person, erin_client: Client) -> None:
    far = Team.objects.get(organization=charlie.membership.organization)
    _, token = invited(charlie, far)
    erin_client.get(f"/invitations/{token}/")
    erin_client.post(JOIN)
    response = erin_client.get("/")
    assert response.wsgi_request.member.organization.name == "Elsewhere"  # type: ignore[attr-defined] # a page's


# Which organization, which theme


@pytest.fixture
def of_both(alice: Person, charlie: Person) -> Organization:
    """Alice is in Elsewhere too."""
    elsewhere = charlie.membership.organization
    actions.add_to_organization(organization=elsewhere, user=alice.user, role=Role.MEMBER, at=NOON)
    return elsewhere


def test_organization_switch_holds_from_the_next_page_on(alice_client: Client, of_both: Organization) -> None:
    before = alice_client.get("/")
    assert [membership.organization.name for membership in before.wsgi_request.memberships] == [  # type: ignore[attr-defined] # a page's
        "Elsewhere",
        "Northwind",
    ]
    for name in ("Northwind", "Elsewhere"):
        chosen = str(Organization.objects.get(name=name).pk)
        assert alice_client.post("/organization/switch/", {"organization": chosen})["Location"] == "/"
        shown = alice_client.get("/teams/")
        assert shown.wsgi_request.member.organization.name == name  # type: ignore[attr-defined] # a page's
        assert shown.context["may_create"] == (name == "Northwind")


@pytest.mark.parametrize("chosen", ["{elsewhere}", "", "no id", "018f0000-0000-7000-8000-000000000000"])
def test_organization_switch_finds_no_foreign_one(alice_client: Client, charlie: Person, chosen: str) -> None:
    text = chosen.format(elsewhere=charlie.membership.organization_id)
    response = alice_client.post("/organization/switch/", {"organization": text})
    assert response.status_code == 404
    assert alice_client.get("/").wsgi_request.member.organization.name == "Northwind"  # type: ignore[attr-defined] # a page's


def test_organization_that_one_left_is_not_shown_again(alice_client: Client, of_both: Organization) -> None:
    alice_client.post("/organization/switch/", {"organization": str(of_both.pk)})
    OrganizationMembership.objects.filter(organization=of_both).delete()
    assert alice_client.get("/").wsgi_request.member.organization.name == "Northwind"  # type: ignore[attr-defined] # a page's


@pytest.mark.parametrize("url", ["/organization/switch/", "/theme/"])
def test_switches_take_posts_only(alice_client: Client, url: str) -> None:
    assert alice_client.get(url).status_code == 405


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_is_kept_in_a_cookie_and_rendered(client: Client, alice: Person, theme: str) -> None:
    response = client.post("/theme/", {"theme": theme, "next": "/account/sign-in/"})
    assert response["Location"] == "/account/sign-in/"
    cookie = response.cookies["theme"]
    assert (cookie.value, cookie["samesite"], cookie["max-age"]) == (theme, "Lax", 365 * 24 * 3600)
    assert client.get("/account/sign-in/").context["theme"] == theme


@pytest.mark.parametrize("theme", ["", "system", "Dark", "dark;x", "<script>"])
def test_theme_is_light_or_dark_or_the_systems(client: Client, alice: Person, theme: str) -> None:
    client.post("/theme/", {"theme": "dark"})
    response = client.post("/theme/", {"theme": theme})
    assert (response.cookies["theme"].value, response.cookies["theme"]["max-age"]) == ("", 0)
    client.cookies["theme"] = theme
    assert client.get("/account/sign-in/").context["theme"] == ""


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "http:evil.example",
    "http:///evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " https://evil.example/",
    "\thttps://evil.example/",
    "https://testserver@evil.example/",
    "https://evil.example/?testserver",
    "/\t/evil.example/",
    "http://localhost/",
    "http://127.0.0.1:9000/",
    "http://[::1]/",
    "//localhost/",
    "",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_theme_leads_nowhere_else(client: Client, alice: Person, url: str) -> None:
    assert client.post("/theme/", {"theme": "dark", "next": url})["Location"] == "/"


@pytest.mark.parametrize("url", [url for url in ELSEWHERE if url])
def test_sign_in_leads_nowhere_else(client: Client, alice: Person, url: str, settings: Any) -> None:
    # As the portal has them: it answers to these names, and whatever else listens on the machine does too.
    settings.ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1", "[::1]"]
    response = client.post("/account/sign-in/", {"login": alice.email, "password": PASSWORD, "next": url})
    assert (response.status_code, response["Location"]) == (302, "/")


@pytest.mark.parametrize("url", [url for url in ELSEWHERE if url])
def test_sign_in_again_leads_nowhere_else(alice_client: Client, url: str) -> None:
    assert alice_client.get("/account/confirm/", {"next": url}).context["next"] == "/"


def test_sign_in_again_keeps_the_way_back(alice_client: Client) -> None:
    response = alice_client.get("/account/confirm/", {"next": "/integrations/new/?scope=org"})
    assert response.context["next"] == "/integrations/new/?scope=org"
    assert 'href="/account/reauthenticate/?next=%2Fintegrations%2Fnew%2F%3Fscope%3Dorg"' in response.content.decode()


def test_sign_in_again_says_where_nothing_is_left_to_prove_it_by(alice: Person, alice_client: Client) -> None:
    without_password(alice)
    alice_client.force_login(
        User.objects.get(pk=alice.user.pk), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    assert "No sign-in method is connected to your account." in text_of(alice_client.get("/account/confirm/"))


@pytest.mark.parametrize("url", ["/teams/", "/account/sign-in/"])
def test_page_is_a_page_for_htmx_too_where_it_has_no_fragment(alice_client: Client, url: str) -> None:
    response = alice_client.get(url, headers=FRAGMENT)
    assert is_page(response) or response["HX-Redirect"] == "/"


def test_refused_page_is_no_event(dana_client: Client, team: Team) -> None:
    before = event_names()
    assert dana_client.get("/teams/new/").status_code == 403
    assert event_names() == before
