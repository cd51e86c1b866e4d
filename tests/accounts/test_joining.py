"""Joining by a verified domain and by groups: a real OpenID Connect server on loopback says who someone is."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount import providers
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.db import transaction
from django.test import Client
from django.utils import timezone
from oidc_provider_mock import run_server_in_thread

from accounts import actions
from accounts.actions import joining, security
from accounts.actions.joining import follow_groups
from accounts.mailing.content import unsealed
from accounts.models import (
    GroupRole,
    Invitation,
    Organization,
    OrganizationMembership,
    OutgoingMail,
    Role,
    Team,
    TeamMembership,
    User,
)
from accounts.security import SecurityPolicy
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, event_names, invited, text_of, together
from tests.accounts.test_entry import asks
from tests.cast import NOON, PASSWORD, Issued, Person

# The provider's own, which answers in a thread of this process.
pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")]
ERIN = "erin@northwind.example"
TEAM = TeamMembership.objects


@pytest.fixture(scope="module")
def company() -> Iterator[str]:
    with run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def provider(company: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The portal as KEYPORTAL_OIDC=company makes it."""
    app = {"provider_id": "company", "name": "Company", "client_id": "keyportal", "secret": "not so secret"}
    told: dict[str, Any] = {"server_url": company, "groups_claim": "groups"}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [app | {"settings": told}], "OAUTH_PKCE_ENABLED": True}
    }
    monkeypatch.setitem(providers.registry.provider_map, OpenIDConnectProvider.id, OpenIDConnectProvider)
    return told


@pytest.fixture
def sign_in(company: str) -> Callable[..., Client]:
    """Sign in through the provider, which says this of someone: `sign_in("erin-1", email=…, groups=[…])`."""

    def sign_in(subject: str, client: Client | None = None, **claims: Any) -> Client:
        httpx.put(f"{company}/users/{subject}", json=claims).raise_for_status()
        client = client or Client()
        start = client.post("/oidc/company/login/?process=login")
        back = httpx.post(start["Location"], data={"sub": subject}).headers["location"]
        vars(client)["answer"] = client.get(_path(back))
        return client

    return sign_in


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def connect(person: Person, subject: str) -> SocialAccount:
    with transaction.atomic():
        account: SocialAccount = SocialAccount.objects.create(user=person.user, provider="company", uid=subject)
    return account


# By domain


@pytest.fixture
def domain(alice: Person, team: Team) -> str:
    """Northwind's domain is verified, and its default team is Payments."""
    claimed = security.claim_domain(principal=alice.principal, name="northwind.example", at=NOON)
    security.verify_domain(organization=claimed.organization, name=claimed.name, at=NOON)
    record = [{"method": "password", "at": 1.0}]
    security.change_security(principal=alice.principal, policy=SecurityPolicy(), default_team=team, records=record)
    return claimed.name


@pytest.mark.usefixtures("domain")
def test_newcomer_of_a_verified_domain_joins_the_default_team(team: Team, sign_in: Any) -> None:
    before = len(event_names())
    client = sign_in("erin-1", email="Erin@Northwind.example", email_verified=True, name="Erin Smith")
    assert is_signed_in(client)
    user = User.objects.get(email=ERIN)
    assert (user.name, user.has_usable_password()) == ("Erin Smith", False)
    [row] = TEAM.filter(membership__user=user)
    assert (row.team, row.role, row.is_from_group) == (team, "developer", False)
    assert [*EmailAddress.objects.filter(user=user).values_list("email", "verified")] == [(ERIN, True)]
    assert "Payments" in text_of(client.get("/teams/"))
    assert sorted(event_names()[before:]) == [
        "connected_account.created",
        "organization_membership.created",
        "team_membership.created",
        "user.created",
        "user.signed_in",
    ]
    made = AuditEvent.objects.get(event="user.created", target_label=ERIN)
    assert (made.actor_label, made.organization_id) == ("verified domain", team.organization_id)


@pytest.mark.usefixtures("domain")
def test_newcomer_fulfils_what_the_domains_ask(alice: Person, sign_in: Any) -> None:
    asks(alice, domains=("northwind.example",), require_social=True)
    client = sign_in("erin-1", email=ERIN, email_verified=True)
    assert client.get("/teams/").status_code == 200


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize(
    "claims",
    [
        {"email": ERIN, "email_verified": False},
        {"email": ERIN, "email_verified": "false"},
        {"email": ERIN},
        {"email": "erin@sub.northwind.example", "email_verified": True},
        {"email": "erin@northwind.example.evil.example", "email_verified": True},
        {"email_verified": True},
        {"email": "erin@elsewhere.example", "email_verified": True, "verified_addresses": [ERIN]},
    ],
)
def test_address_that_the_provider_did_not_verify_joins_nothing(claims: dict[str, Any], sign_in: Any) -> None:
    client = sign_in("mallory-1", **claims)
    assert not is_signed_in(client)
    assert (SocialAccount.objects.count(), User.objects.count()) == (0, 1)


def test_domain_that_is_not_verified_lets_nobody_join(alice: Person, team: Team, sign_in: Any) -> None:
    security.claim_domain(principal=alice.principal, name="northwind.example", at=NOON)
    Organization.objects.update(default_team=team)
    assert not is_signed_in(sign_in("erin-1", email=ERIN, email_verified=True))


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize("change", ["none", "archived", "suspended"])
def test_organization_without_a_usable_default_team_lets_nobody_join(team: Team, sign_in: Any, change: str) -> None:
    if change == "none":
        Organization.objects.update(default_team=None)
    elif change == "archived":
        Team.objects.filter(pk=team.pk).update(archived_at=NOON)
    else:
        Organization.objects.update(suspended_at=NOON)
    assert not is_signed_in(sign_in("erin-1", email=ERIN, email_verified=True))
    assert not User.objects.filter(email=ERIN).exists()


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize("kind", ["own", "second"])
def test_account_with_the_address_is_neither_taken_over_nor_joined(charlie: Person, sign_in: Any, kind: str) -> None:
    if kind == "own":
        owner = actions.create_user(email=ERIN, password=PASSWORD, at=NOON)
    else:
        owner = charlie.user
        EmailAddress.objects.create(user=owner, email=ERIN, verified=False)
    client = sign_in("mallory-1", email=ERIN, email_verified=True)
    assert not is_signed_in(client)
    assert SocialAccount.objects.count() == 0
    assert not TEAM.filter(membership__user=owner, team__organization__name="Northwind").exists()


@pytest.mark.usefixtures("domain")
def test_member_without_a_team_joins_none_by_the_domain(alice: Person, sign_in: Any) -> None:
    user = actions.create_user(email=ERIN, password=None, at=NOON)
    actions.add_to_organization(organization=alice.membership.organization, user=user, role=Role.MEMBER, at=NOON)
    with transaction.atomic():
        SocialAccount.objects.create(user=user, provider="company", uid="erin-1")
    assert is_signed_in(sign_in("erin-1", email=ERIN, email_verified=True))
    assert not TEAM.filter(membership__user=user).exists()


@pytest.mark.usefixtures("domain")
def test_invitation_comes_before_the_domain(alice: Person, other_team: Team, company: str, sign_in: Any) -> None:
    _, token = invited(alice, other_team, "erin@private.example")
    client = Client()
    client.get(f"/invitations/{token}/")
    httpx.put(f"{company}/users/erin-1", json={"email": ERIN, "email_verified": True})
    start = client.post("/oidc/company/login/?process=login&next=/invitations/")
    back = httpx.post(start["Location"], data={"sub": "erin-1"}).headers["location"]
    client.get(_path(back))
    assert [row.team for row in TEAM.filter(membership__user__email="erin@private.example")] == [other_team]
    assert not User.objects.filter(email=ERIN).exists()


@pytest.mark.usefixtures("domain")
def test_place_that_is_gone_at_the_last_moment_makes_no_account(sign_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(**_: Any) -> None:
        raise joining.PlaceGone

    monkeypatch.setattr("accounts.adapters.join_by_domain", gone)
    client = sign_in("erin-1", email=ERIN, email_verified=True)
    assert vars(client)["answer"]["Location"] == "/account/sign-in/"
    assert not User.objects.filter(email=ERIN).exists()
    assert SocialAccount.objects.count() == 0


def test_join_by_domain_takes_an_address_of_one(team: Team) -> None:
    user = actions.create_user(email=ERIN, password=None, at=NOON)
    with pytest.raises(joining.PlaceGone):
        joining.join_by_domain(user=user, at=NOON)


@pytest.mark.usefixtures("domain")
def test_nobody_joins_if_the_audit_row_fails(sign_in: Any, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("broken_log")
    client = Client(raise_request_exception=False)
    assert vars(sign_in("erin-1", client, email=ERIN, email_verified=True))["answer"].status_code == 500
    assert not User.objects.filter(email=ERIN).exists()


@pytest.mark.usefixtures("domain")
def test_first_address_that_is_a_way_in_counts(team: Team) -> None:
    place = joining.place_for(["erin@private.example", "b@northwind.example", "a@northwind.example"])
    assert place is not None
    assert (place.team, place.address) == (team, "b@northwind.example")
    assert joining.place_for([]) is None


# By groups


@pytest.fixture
def mapped(alice: Person) -> Callable[..., GroupRole]:
    def mapped(team: Team, group: str, role: Role = Role.DEVELOPER) -> GroupRole:
        return security.map_group(
            principal=alice.principal, team=team, provider="company", group=group, role=role, at=NOON
        )

    return mapped


@pytest.fixture
def erin(organization: Organization) -> Person:
    """A member without a team, who signs in through the provider."""
    user = actions.create_user(email=ERIN, password=None, at=NOON)
    row = actions.add_to_organization(organization=organization, user=user, role=Role.MEMBER, at=NOON)
    person = Person(OrganizationMembership.objects.select_related("user", "organization").get(pk=row.pk))
    connect(person, "erin-1")
    return person


def teams_of(person: Person) -> dict[str, tuple[str, bool]]:
    rows = TEAM.filter(membership=person.membership).select_related("team")
    return {row.team.name: (row.role, row.is_from_group) for row in rows}


def test_groups_are_followed_anew_at_each_sign_in(
    erin: Person, team: Team, other_team: Team, mapped: Any, sign_in: Any
) -> None:
    mapped(team, "payments")
    mapped(team, "leads", Role.TEAM_ADMIN)
    mapped(other_team, "platform")
    sign_in("erin-1", groups=["payments", "unknown"])
    assert teams_of(erin) == {"Payments": ("developer", True)}
    sign_in("erin-1", groups=["leads", "payments", "platform"])
    assert teams_of(erin) == {"Payments": ("team_admin", True), "Platform": ("developer", True)}
    sign_in("erin-1", groups=["platform"])
    assert teams_of(erin) == {"Platform": ("developer", True)}
    sign_in("erin-1")
    assert teams_of(erin) == {}


def test_what_a_group_did_is_the_systems_doing(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    mapped(team, "payments")
    sign_in("erin-1", groups=["payments"])
    sign_in("erin-1", groups=[])
    rows = AuditEvent.objects.filter(target_table="team_memberships").order_by("id")
    assert [(row.event, row.actor_kind, row.actor_label) for row in rows] == [
        ("team_membership.created", "system", "system"),
        ("team_membership.deleted", "system", "system"),
    ]
    assert {row.address for row in rows} == {"127.0.0.1"}


def test_person_is_told_of_a_role_that_changed_or_ended(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    mapped(team, "payments")
    mapped(team, "leads", Role.TEAM_ADMIN)
    for groups in (["payments"], ["leads"], ["leads"], []):
        sign_in("erin-1", groups=groups)
    rows = OutgoingMail.objects.filter(name="role_changed", user=erin.user).order_by("id")
    changed, ended = [unsealed(row.content) for row in rows]
    assert changed.subject == "Your role in Payments was changed"
    assert ended.subject == "You were removed from Payments"
    assert "You are team admin in Payments from now on." in changed.text
    assert "You are no longer in Payments." in ended.text
    assert "By: the groups at your provider" in ended.text
    assert "What you can see and do now" in changed.text
    assert "What you can see and do now" not in ended.text
    assert "Open keyportal" not in ended.html


def test_membership_that_was_given_by_hand_stays(dana: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    connect(dana, "dana-1")
    mapped(team, "leads", Role.TEAM_ADMIN)
    for groups in (["leads"], []):
        sign_in("dana-1", groups=groups)
        assert teams_of(dana) == {"Payments": ("developer", False)}


def test_auditor_is_put_into_no_team(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    mapped(team, "payments")
    OrganizationMembership.objects.filter(pk=erin.membership.pk).update(role=Role.AUDITOR)
    sign_in("erin-1", groups=["payments"])
    assert teams_of(erin) == {}


def test_group_brings_nobody_into_an_organization(charlie: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    connect(charlie, "charlie-1")
    mapped(team, "payments")
    sign_in("charlie-1", groups=["payments"])
    assert charlie.user.memberships.count() == 1
    assert not is_signed_in(sign_in("stranger-1", groups=["payments"]))


@pytest.mark.usefixtures("domain")
def test_newcomer_of_a_domain_gets_the_teams_of_their_groups_at_once(
    other_team: Team, mapped: Any, sign_in: Any
) -> None:
    mapped(other_team, "platform", Role.TEAM_ADMIN)
    sign_in("erin-1", email=ERIN, email_verified=True, groups=["platform"])
    rows = TEAM.filter(membership__user__email=ERIN).values_list("team__name", "role", "is_from_group")
    assert {*rows} == {("Payments", "developer", False), ("Platform", "team_admin", True)}


def test_key_falls_with_the_group(
    erin: Person, team: Team, project: Any, mapped: Any, sign_in: Any, issue: Callable[..., Issued]
) -> None:
    mapped(team, "payments")
    sign_in("erin-1", groups=["payments"])
    key = issue(erin, project)
    assert Client().get("/v1/whoami", headers=key.headers).status_code == 200
    sign_in("erin-1", groups=[])
    answer = Client().get("/v1/whoami", headers=key.headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "issuer_gone")


def test_who_leaves_with_a_group_does_not_come_back_by_an_old_invitation(
    erin: Person, alice: Person, team: Team, other_team: Team, mapped: Any, sign_in: Any
) -> None:
    mapped(team, "payments")
    invited(alice, team, ERIN)
    invited(alice, other_team, ERIN)
    sign_in("erin-1", groups=["payments"])
    assert Invitation.objects.count() == 2
    sign_in("erin-1", groups=[])
    assert [invitation.team for invitation in Invitation.objects.all()] == [other_team]


def test_claim_goes_by_the_name_that_settings_give_it(
    erin: Person, team: Team, mapped: Any, sign_in: Any, provider: dict[str, Any]
) -> None:
    provider["groups_claim"] = "https://company.example/roles"
    mapped(team, "payments")
    sign_in("erin-1", groups=["payments"])
    assert teams_of(erin) == {}
    sign_in("erin-1", **{"https://company.example/roles": ["payments"]})
    assert teams_of(erin) == {"Payments": ("developer", True)}


def test_group_ends_with_its_mapping_at_the_next_sign_in(
    erin: Person, alice: Person, team: Team, mapped: Any, sign_in: Any
) -> None:
    row = mapped(team, "payments")
    sign_in("erin-1", groups=["payments"])
    security.unmap_group(principal=alice.principal, group_role=row)
    assert teams_of(erin) == {"Payments": ("developer", True)}
    sign_in("erin-1", groups=["payments"])
    assert teams_of(erin) == {}


def test_other_provider_keeps_what_it_gave(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    mapped(team, "payments")
    connect(erin, "erin-2")
    sign_in("erin-1", groups=["payments"])
    sign_in("erin-2", groups=[])
    assert teams_of(erin) == {"Payments": ("developer", True)}


def test_groups_end_with_the_connection(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    mapped(team, "payments")
    connect(erin, "erin-2")
    client = sign_in("erin-1", groups=["payments"])
    client = sign_in("erin-2", client, groups=[])
    assert teams_of(erin) == {"Payments": ("developer", True)}
    client.post("/account/connections/", {"account": SocialAccount.objects.get(uid="erin-1").pk})
    assert SocialAccount.objects.count() == 1
    assert teams_of(erin) == {}


def test_provider_that_is_switched_off_says_nothing(erin: Person, team: Team, mapped: Any, sign_in: Any) -> None:
    with transaction.atomic():
        SocialAccount.objects.create(
            user=erin.user, provider="gone", uid="7", extra_data={"id_token": {"groups": ["payments"]}}
        )
    row = mapped(team, "payments")
    GroupRole.objects.filter(pk=row.pk).update(provider="gone")
    sign_in("erin-1")
    assert teams_of(erin) == {}


def test_sign_in_without_mappings_changes_nothing(dana: Person, sign_in: Any) -> None:
    connect(dana, "dana-1")
    before = len(event_names())
    sign_in("dana-1", groups=["payments"])
    assert event_names()[before:] == ["user.signed_in"]


def test_follow_groups_saves_nothing_if_its_audit_row_fails(
    erin: Person, team: Team, other_team: Team, mapped: Any, request: pytest.FixtureRequest
) -> None:
    mapped(team, "payments")
    mapped(other_team, "platform")
    follow_groups(user=erin.user, groups={"company": {"payments"}}, at=timezone.now())
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        follow_groups(user=erin.user, groups={"company": {"platform"}}, at=timezone.now())
    assert teams_of(erin) == {"Payments": ("developer", True)}


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_sign_ins_at_the_same_moment_make_one_membership(erin: Person, team: Team, mapped: Any) -> None:
    mapped(team, "payments")
    told = {"company": {"payments"}}
    results = together(8, lambda _: follow_groups(user=erin.user, groups=told, at=NOON))
    assert results == [None] * 8
    assert teams_of(erin) == {"Payments": ("developer", True)}
    ended = together(8, lambda _: follow_groups(user=erin.user, groups={}, at=NOON))
    assert ended == [None] * 8
    assert event_names(target_table="team_memberships") == ["team_membership.created", "team_membership.deleted"]
