"""Saying how an organization's people sign in, seeing first whom that keeps out, and its domains and groups."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from accounts import actions
from accounts.actions import NameTaken, NotAllowed, security
from accounts.keeping_out import kept_out
from accounts.models import GroupRole, Organization, OrganizationDomain, Role, Team
from accounts.security import SecurityPolicy, groups_of, normal_domain, note_addresses, verified_addresses
from tests.accounts.scenes import LogIsFull, acting_as, event_names, last_event, queries_of, sign_in_old, text_of
from tests.accounts.test_entry import PASSWORD, SOCIAL, connect, give_factor, verify_address
from tests.cast import NOON, Issued, Person

pytestmark = pytest.mark.django_db
Sign = Callable[[Person], Client]
PATH = "/settings/security/"
FORM = {"domains": "", "second_factor": "", "default_team": ""}


def change(person: Person, policy: SecurityPolicy | None = None, **changes: Any) -> Organization:
    wanted: dict[str, Any] = {"default_team": None, "records": PASSWORD} | changes
    return security.change_security(principal=person.principal, policy=policy or SecurityPolicy(), **wanted)


# The policy


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        (SecurityPolicy(), {}),
        (
            SecurityPolicy(require_social=True, domains=("b.example", "a.example"), second_factor="all"),
            {"require_social": True, "domains": ["a.example", "b.example"], "second_factor": "all"},
        ),
    ],
)
def test_policy_is_stored_as_what_it_asks(policy: SecurityPolicy, stored: dict[str, Any]) -> None:
    assert policy.as_stored() == stored
    assert SecurityPolicy.of(Organization(security_policy=stored)).as_stored() == stored


@pytest.mark.parametrize("text", ["Example.com", " example.com ", "@example.com", "example.com."])
def test_domain_has_one_form(text: str) -> None:
    assert normal_domain(text) == "example.com"


@pytest.mark.parametrize("text", ["", "example", "a b.example", "a@b.example", "bücher.example", "-a.example"])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Write a domain such as"):
        normal_domain(text)


class Told:
    """A sign-in, as far as addresses go."""

    def __init__(self, *addresses: EmailAddress, **data: Any) -> None:
        self.email_addresses = addresses
        self.account = type("Account", (), {"provider": "company", "extra_data": data})()


def test_only_what_the_provider_has_verified_is_kept() -> None:
    told = Told(
        EmailAddress(email="A@Example.com", verified=True),
        EmailAddress(email="b@example.com", verified=False),
        EmailAddress(email="c@example.com", verified="false"),
        EmailAddress(email="d@example.com", verified="true"),
        EmailAddress(email="e@example.com", verified=None),
        verified_addresses=["mallory@example.com"],
    )
    note_addresses(told)
    assert verified_addresses(told.account) == ("a@example.com", "d@example.com")


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        ({"id_token": {"groups": ["a", "b"]}, "userinfo": {"groups": ["c"]}}, {"a", "b"}),
        ({"id_token": {}, "userinfo": {"groups": ["c"]}}, {"c"}),
        ({"userinfo": {"groups": "c"}}, {"c"}),
        ({"id_token": {"groups": ["a", 7, None, {"b": 1}]}}, {"a"}),
        ({"id_token": {"groups": {"a": 1}}}, set()),
        ({"id_token": {"groups": None}}, set()),
        ({"id_token": None, "userinfo": {"roles": ["a"]}}, set()),
        ({"groups": ["a"]}, set()),
        ({}, set()),
    ],
)
def test_groups_are_read_from_the_claim(data: dict[str, Any], groups: set[str]) -> None:
    assert groups_of(Told(**data).account, "groups") == groups


# Changing it


def test_change_security_says_how_people_sign_in(alice: Person, team: Team) -> None:
    policy = SecurityPolicy(domains=("northwind.example",))
    connect(alice, "alice@northwind.example")
    with acting_as(alice):
        change(alice, policy, default_team=team, records=SOCIAL)
    organization = Organization.objects.get()
    assert (SecurityPolicy.of(organization), organization.default_team) == (policy, team)
    event = last_event()
    assert (event["event"], event["actor_label"]) == ("organization.security_changed", alice.email)
    assert event["changes"] == {
        "security_policy": [{}, {"domains": ["northwind.example"]}],
        "default_team_id": [None, str(team.pk)],
    }


def test_change_of_the_default_team_alone_is_on_record_too(alice: Person, team: Team) -> None:
    change(alice, default_team=team)
    assert event_names()[-1] == "organization.security_changed"
    before = len(event_names())
    change(alice, default_team=team)
    assert len(event_names()) == before


def test_change_security_takes_a_super_admin(alice: Person, bob: Person, dana: Person, charlie: Person) -> None:
    for person in (bob, dana):
        with pytest.raises(NotAllowed):
            change(person)
    change(charlie, SecurityPolicy())
    assert Organization.objects.get(name="Northwind").security_policy == {}


def test_change_security_takes_no_key(alice: Person, issue: Callable[..., Issued]) -> None:
    key = issue(alice, alice.membership.organization, permissions=["org:write"])
    answer = Client().post(PATH, FORM, headers=key.headers)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/sign-in/")


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (SecurityPolicy(require_social=True), "You did not sign in through a provider yourself."),
        (SecurityPolicy(domains=("northwind.example",)), "You are not signed in with a verified address"),
        (SecurityPolicy(second_factor="admins"), "You have no second factor yourself."),
    ],
)
def test_change_security_does_not_lock_its_caller_out(alice: Person, policy: SecurityPolicy, sentence: str) -> None:
    with pytest.raises(security.LocksYouOut, match=sentence):
        change(alice, policy)
    assert Organization.objects.get().security_policy == {}


def test_change_security_of_what_is_another_by_now_is_refused(alice: Person) -> None:
    seen = security.security_digest(Organization.objects.get())
    verify_address(alice)
    change(alice, SecurityPolicy(domains=("example.com",)), expected=seen)
    with pytest.raises(security.SecurityHasChanged):
        change(alice, expected=seen)


def test_change_security_takes_a_team_that_people_can_join(alice: Person, charlie: Person, team: Team) -> None:
    with pytest.raises(security.TeamNotUsable):
        change(alice, default_team=Team.objects.get(organization=charlie.membership.organization))
    Team.objects.filter(pk=team.pk).update(archived_at=NOON)
    with pytest.raises(security.TeamNotUsable):
        change(alice, default_team=team)
    # One that was put away since stays named, so that the rest can be changed.
    Organization.objects.filter(pk=team.organization_id).update(default_team=team)
    assert change(alice, default_team=team).default_team == team


def test_change_security_saves_nothing_if_its_audit_row_fails(alice: Person, team: Team, broken_log: None) -> None:
    with pytest.raises(LogIsFull):
        change(alice, default_team=team)
    assert Organization.objects.get().default_team is None


# Whom it keeps out


def test_kept_out_names_who_cannot_fulfil_a_rule(alice: Person, bob: Person, dana: Person, charlie: Person) -> None:
    organization = alice.membership.organization
    give_factor(alice)
    give_factor(bob, "recovery_codes")
    found = kept_out(organization, SecurityPolicy(second_factor="all"))
    assert [(line.code, [*line.people]) for line in found] == [("second_factor_required", [bob.user, dana.user])]
    found = kept_out(organization, SecurityPolicy(second_factor="admins"))
    assert [[*line.people] for line in found] == [[bob.user]]
    connect(dana, "dana@northwind.example")
    verify_address(alice)
    found = kept_out(organization, SecurityPolicy(require_social=True))
    assert [[*line.people] for line in found] == [[alice.user, bob.user]]
    found = kept_out(organization, SecurityPolicy(domains=("northwind.example", "example.com")))
    assert [[*line.people] for line in found] == [[bob.user]]
    both = SecurityPolicy(domains=("northwind.example", "example.com"), require_social=True)
    assert [[*line.people] for line in kept_out(organization, both)] == [[alice.user, bob.user]] * 2
    assert kept_out(organization, SecurityPolicy()) == []


def test_kept_out_costs_the_same_for_one_person_and_for_many(
    alice: Person, team: Team, django_assert_num_queries: Any
) -> None:
    policy = SecurityPolicy(domains=("northwind.example",), second_factor="admins")
    for number in range(3):
        with django_assert_num_queries(5):
            kept_out(alice.membership.organization, policy)
        user = actions.create_user(email=f"p{number}@example.com", password=None, at=NOON)
        actions.add_to_team(team=team, user=user, role=Role.TEAM_ADMIN, at=NOON)


# The page


def preview(client: Client, **form: Any) -> Any:
    return client.post(PATH, FORM | form)


def test_page_is_for_super_admins(bob_client: Client, dana_client: Client, alice_client: Client) -> None:
    assert [client.get(PATH).status_code for client in (alice_client, bob_client, dana_client)] == [200, 403, 403]


@pytest.mark.parametrize("path", ["", "apply/", "domains/new/", "domains/remove/", "groups/new/", "groups/remove/"])
def test_forms_are_for_super_admins(bob_client: Client, dana_client: Client, path: str) -> None:
    assert [client.post(f"{PATH}{path}").status_code for client in (bob_client, dana_client)] == [403, 403]


def test_page_asks_for_a_recent_sign_in(alice: Person, alice_client: Client) -> None:
    sign_in_old(alice_client)
    for path in ("", "apply/", "domains/new/", "domains/remove/", "groups/new/", "groups/remove/"):
        answer = alice_client.post(f"{PATH}{path}", {"name": "example.com"})
        assert answer["Location"].startswith("/account/reauthenticate/?next=%2Fsettings%2Fsecurity%2F")
    assert not OrganizationDomain.objects.exists()


def test_what_was_filled_in_comes_back_after_the_confirmation(alice_client: Client) -> None:
    page = alice_client.get(f"{PATH}?second_factor=all&domains=northwind.example")
    assert page.context["form"]["second_factor"].value() == "all"
    assert "northwind.example</textarea>" in page.content.decode()


def test_preview_names_whom_it_keeps_out_and_changes_nothing(
    alice: Person, bob: Person, dana: Person, alice_client: Client
) -> None:
    give_factor(alice)
    page = preview(alice_client, second_factor="all")
    assert page.status_code == 200
    assert "2 people have no second factor , and cannot go on before that is mended: Bob Dana" in text_of(page)
    assert "Who needs a second factor nobody → everyone" in text_of(page)
    assert Organization.objects.get().security_policy == {}


def test_preview_of_nothing_new_says_so(alice_client: Client) -> None:
    assert "This is how it is. Nothing would change." in text_of(preview(alice_client))


def test_preview_that_keeps_out_nobody_says_so(alice: Person, alice_client: Client) -> None:
    verify_address(alice)
    assert "Everyone could fulfil it." in text_of(preview(alice_client, domains="Example.com"))


def test_preview_of_a_loosening_asks_nobody_to_sign_in_again(alice: Person, alice_client: Client) -> None:
    verify_address(alice)
    Organization.objects.update(security_policy={"domains": ["example.com"]})
    wider = "example.com\nexample.org"
    assert "Nothing gets stricter. Nobody has to" in text_of(preview(alice_client, domains=wider))
    page = text_of(preview(alice_client))
    assert "Nothing is asked any more." in page
    assert "sign in again" not in page


@pytest.mark.parametrize(
    ("before", "after", "is_stricter"),
    [
        ({}, {}, False),
        ({}, {"domains": ("a.example",)}, True),
        ({"domains": ("a.example",)}, {}, False),
        ({"domains": ("a.example",)}, {"domains": ("a.example", "b.example")}, False),
        ({"domains": ("a.example", "b.example")}, {"domains": ("a.example",)}, True),
        ({"domains": ("a.example",)}, {"domains": ("b.example",)}, True),
        ({"second_factor": "admins"}, {"second_factor": "all"}, True),
        ({"second_factor": "all"}, {"second_factor": "admins"}, False),
        ({"second_factor": "all"}, {"require_social": True}, True),
        ({"require_social": True}, {}, False),
    ],
)
def test_policy_asks_more_than_another_where_anything_is_stricter(
    before: dict[str, Any], after: dict[str, Any], is_stricter: bool
) -> None:
    assert SecurityPolicy(**after).asks_more_than(SecurityPolicy(**before)) is is_stricter


def test_preview_refuses_what_would_lock_out_who_asks(alice_client: Client) -> None:
    page = preview(alice_client, second_factor="all")
    assert page.status_code == 422
    assert "You have no second factor yourself." in text_of(page)


def test_previewed_change_is_turned_on(alice: Person, team: Team, alice_client: Client) -> None:
    verify_address(alice)
    form = {"domains": "example.com", "default_team": str(team.pk)}
    digest = preview(alice_client, **form).context["preview"].digest
    answer = alice_client.post(f"{PATH}apply/", FORM | form | {"digest": digest})
    assert (answer.status_code, answer["Location"]) == (302, PATH)
    organization = Organization.objects.get()
    assert (organization.security_policy, organization.default_team) == ({"domains": ["example.com"]}, team)
    assert "Security changed. It holds from" in text_of(alice_client.get(PATH))


@pytest.mark.parametrize("form", [{"second_factor": "all"}, {"domains": "no domain"}, {"digest": "old"}])
def test_change_that_is_refused_is_not_turned_on(alice_client: Client, form: dict[str, str]) -> None:
    digest = security.security_digest(Organization.objects.get())
    answer = alice_client.post(f"{PATH}apply/", FORM | {"digest": digest} | form)
    assert answer.status_code == 422
    assert Organization.objects.get().security_policy == {}


def test_confirmation_of_a_sign_in_leads_back_to_the_form(alice_client: Client) -> None:
    assert alice_client.get(f"{PATH}apply/?second_factor=all")["Location"] == f"{PATH}?second_factor=all"
    for path in ("domains/remove/", "groups/remove/"):
        assert alice_client.get(f"{PATH}{path}")["Location"] == PATH
    assert alice_client.get(f"{PATH}domains/new/?name=a.example").context["domain_form"]["name"].value() == "a.example"


@pytest.mark.parametrize("wrong", ["example", "a@b", "x" * 20_001, "\n".join(f"d{n}.example" for n in range(101))])
def test_page_refuses_what_is_no_list_of_domains(alice_client: Client, wrong: str) -> None:
    assert preview(alice_client, domains=wrong).status_code == 422


@pytest.mark.parametrize("count", [1, 3])
def test_page_query_count_does_not_grow(alice: Person, team: Team, alice_client: Client, count: int) -> None:
    for number in range(count):
        domain = security.claim_domain(principal=alice.principal, name=f"d{number}.example", at=NOON)
        assert not domain.verified_at
        mapped(alice, team, f"group-{number}")
    assert queries_of(alice_client, PATH) == 8


# Domains


def mapped(person: Person, team: Team, group: str = "engineers", role: Role = Role.DEVELOPER) -> GroupRole:
    return security.map_group(
        principal=person.principal, team=team, provider="company", group=group, role=role, at=NOON
    )


def test_domain_is_claimed_verified_and_released(alice: Person, alice_client: Client) -> None:
    alice_client.post(f"{PATH}domains/new/", {"name": "@Northwind.example"})
    [domain] = OrganizationDomain.objects.all()
    assert (domain.name, domain.verified_at) == ("northwind.example", None)
    page = text_of(alice_client.get(PATH))
    assert "manage.py verify_domain northwind northwind.example" in page
    assert "Not verified" in page
    call_command("verify_domain", "northwind", "NORTHWIND.example", stderr=StringIO())
    domain.refresh_from_db()
    assert domain.verified_at
    assert "Not verified" not in text_of(alice_client.get(PATH))
    alice_client.post(f"{PATH}domains/remove/", {"domain": "northwind.example"})
    assert not OrganizationDomain.objects.exists()
    assert event_names(target_table="organization_domains") == [
        "organization_domain.created",
        "organization_domain.verified",
        "organization_domain.deleted",
    ]


def test_domain_is_claimed_once(alice: Person, alice_client: Client) -> None:
    for status in (302, 422):
        assert alice_client.post(f"{PATH}domains/new/", {"name": "northwind.example"}).status_code == status
    assert OrganizationDomain.objects.count() == 1


def test_domain_of_another_organization_is_not_released(alice: Person, charlie: Person, alice_client: Client) -> None:
    domain = security.claim_domain(principal=charlie.principal, name="elsewhere.example", at=NOON)
    alice_client.post(f"{PATH}domains/remove/", {"domain": domain.name})
    security.release_domain(principal=alice.principal, domain=domain)
    assert OrganizationDomain.objects.count() == 1


def test_domains_and_groups_take_a_super_admin(bob: Person, team: Team) -> None:
    with pytest.raises(NotAllowed):
        security.claim_domain(principal=bob.principal, name="northwind.example", at=NOON)
    with pytest.raises(NotAllowed):
        security.release_domain(principal=bob.principal, domain=OrganizationDomain())
    with pytest.raises(NotAllowed):
        mapped(bob, team)
    with pytest.raises(NotAllowed):
        security.unmap_group(principal=bob.principal, group_role=GroupRole())


@pytest.mark.parametrize("named", ["slug", "pk", "name"])
def test_verify_domain_takes_the_organization_by_what_it_is_called(alice: Person, charlie: Person, named: str) -> None:
    security.claim_domain(principal=alice.principal, name="northwind.example", at=NOON)
    said = StringIO()
    organization = alice.membership.organization
    call_command("verify_domain", str(getattr(organization, named)), "northwind.example", stderr=said)
    assert said.getvalue() == "northwind.example is verified for Northwind.\n"
    # Once is enough.
    call_command("verify_domain", "northwind", "northwind.example", stderr=said)
    assert event_names().count("organization_domain.verified") == 1


def test_verify_domain_takes_one_that_was_named_by_its_organization(alice: Person) -> None:
    with pytest.raises(CommandError, match="Northwind has not named"):
        call_command("verify_domain", "northwind", "northwind.example")
    with pytest.raises(CommandError, match="Write a domain such as"):
        call_command("verify_domain", "northwind", "northwind")
    with pytest.raises(CommandError, match="There is no organization called southwind"):
        call_command("verify_domain", "southwind", "northwind.example")


def test_domain_has_one_owner(alice: Person, charlie: Person) -> None:
    for person in (alice, charlie):
        security.claim_domain(principal=person.principal, name="northwind.example", at=NOON)
    call_command("verify_domain", "northwind", "northwind.example", stderr=StringIO())
    with pytest.raises(CommandError, match="was verified for another organization"):
        call_command("verify_domain", "elsewhere", "northwind.example")
    owners = OrganizationDomain.objects.filter(verified_at__isnull=False)
    assert [domain.organization.name for domain in owners] == ["Northwind"]


def test_verify_domain_saves_nothing_if_its_audit_row_fails(alice: Person, request: pytest.FixtureRequest) -> None:
    domain = security.claim_domain(principal=alice.principal, name="northwind.example", at=NOON)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        security.verify_domain(organization=domain.organization, name=domain.name, at=NOON)
    with pytest.raises(LogIsFull):
        security.release_domain(principal=alice.principal, domain=domain)
    with pytest.raises(LogIsFull):
        security.claim_domain(principal=alice.principal, name="fjord.example", at=NOON)
    assert [*OrganizationDomain.objects.values_list("name", "verified_at")] == [("northwind.example", None)]


# Groups


@pytest.fixture
def company(settings: Any) -> None:
    """A provider is configured; nobody asks it anything here."""
    app = {"provider_id": "company", "name": "Company", "client_id": "x", "secret": "x", "settings": {}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}


@pytest.mark.usefixtures("company")
def test_group_is_mapped_and_unmapped(alice: Person, team: Team, alice_client: Client) -> None:
    form = {"provider": "company", "group": "payments-leads", "team": str(team.pk), "role": "team_admin"}
    for status in (302, 422):
        assert alice_client.post(f"{PATH}groups/new/", form).status_code == status
    [row] = GroupRole.objects.all()
    assert (row.team, row.provider, row.group, row.role) == (team, "company", "payments-leads", "team_admin")
    assert "payments-leads At Company · Team admin in Payments" in text_of(alice_client.get(PATH))
    for _ in range(2):
        alice_client.post(f"{PATH}groups/remove/", {"group_role": str(row.pk)})
    assert not GroupRole.objects.exists()
    assert event_names(target_table="group_roles") == ["group_role.created", "group_role.deleted"]


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(
    "wrong",
    [{"provider": "github"}, {"group": "a\u202eb"}, {"group": "x" * 201}, {"role": "member"}, {"team": ""}],
)
def test_group_that_makes_no_sense_is_refused(
    alice: Person, team: Team, alice_client: Client, wrong: dict[str, str]
) -> None:
    form = {"provider": "company", "group": "leads", "team": str(team.pk), "role": "team_admin"}
    assert alice_client.post(f"{PATH}groups/new/", form | wrong).status_code == 422
    assert not GroupRole.objects.exists()


@pytest.mark.usefixtures("company")
def test_long_name_of_a_group_is_taken(alice: Person, team: Team, alice_client: Client) -> None:
    form = {"provider": "company", "group": "CN=leads," + "o" * 191, "team": str(team.pk), "role": "developer"}
    assert alice_client.post(f"{PATH}groups/new/", form).status_code == 302


@pytest.mark.usefixtures("company")
def test_group_goes_into_no_team_of_others(alice: Person, charlie: Person, alice_client: Client) -> None:
    theirs = Team.objects.get(organization=charlie.membership.organization)
    form = {"provider": "company", "group": "leads", "team": str(theirs.pk), "role": "team_admin"}
    assert alice_client.post(f"{PATH}groups/new/", form).status_code == 422
    with pytest.raises(security.TeamNotUsable):
        mapped(alice, theirs)
    row = mapped(charlie, theirs)
    alice_client.post(f"{PATH}groups/remove/", {"group_role": str(row.pk)})
    security.unmap_group(principal=alice.principal, group_role=row)
    assert GroupRole.objects.count() == 1
    assert "engineers" not in text_of(alice_client.get(PATH))


def test_group_is_mapped_once_to_a_team(alice: Person, team: Team, other_team: Team) -> None:
    mapped(alice, team)
    mapped(alice, other_team)
    with pytest.raises(NameTaken):
        mapped(alice, team, role=Role.TEAM_ADMIN)


def test_mapping_saves_nothing_if_its_audit_row_fails(
    alice: Person, team: Team, request: pytest.FixtureRequest
) -> None:
    row = mapped(alice, team)
    request.getfixturevalue("broken_log")
    with pytest.raises(LogIsFull):
        mapped(alice, team, "others")
    with pytest.raises(LogIsFull), transaction.atomic():
        security.unmap_group(principal=alice.principal, group_role=row)
    assert [one.group for one in GroupRole.objects.all()] == ["engineers"]
