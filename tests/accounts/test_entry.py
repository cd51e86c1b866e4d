"""What an organization asks of a sign-in, on the next request of a session that is open."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount import providers
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.contrib.auth import SESSION_KEY
from django.db import transaction
from django.test import Client

from accounts import actions
from accounts.entry import obstacle
from accounts.models import OrganizationMembership, Role
from accounts.security import SecurityPolicy
from tests.accounts.scenes import FRAGMENT, queries_of, text_of
from tests.cast import NOON, Issued, Person

pytestmark = pytest.mark.django_db
PASSWORD = [{"method": "password", "at": 1.0, "email": "dana@example.com"}]
SOCIAL = [{"method": "socialaccount", "at": 1.0, "provider": "company", "uid": "dana-1"}]
PASSKEY = [{"method": "mfa", "at": 1.0, "type": "webauthn", "passwordless": True}]
Sign = Callable[[Person], Client]


def asks(person: Person, **policy: Any) -> None:
    organization = person.membership.organization
    organization.security_policy = SecurityPolicy(**policy).as_stored()
    with transaction.atomic():
        organization.save(update_fields=["security_policy"])


def met(person: Person, records: Any) -> str:
    rows = OrganizationMembership.objects.select_related("organization", "user")
    return obstacle(rows.get(pk=person.membership.pk), records)


def connect(person: Person, *addresses: str, uid: str = "dana-1") -> SocialAccount:
    said = {"verified_addresses": list(addresses), "userinfo": {"email": "dana@example.com", "email_verified": True}}
    with transaction.atomic():
        account: SocialAccount = SocialAccount.objects.create(
            user=person.user, provider="company", uid=uid, extra_data=said
        )
    return account


def give_factor(person: Person, kind: str = "totp") -> Authenticator:
    with transaction.atomic():
        return Authenticator.objects.create(user=person.user, type=kind, data={"name": "laptop"})


def verify_address(person: Person) -> None:
    EmailAddress.objects.filter(user=person.user).update(verified=True)


# The rules


def test_nothing_is_asked_by_default(dana: Person, django_assert_num_queries: Any) -> None:
    membership = OrganizationMembership.objects.select_related("organization", "user").get(pk=dana.membership.pk)
    with django_assert_num_queries(0):
        assert obstacle(membership, []) == ""


def test_social_sign_in_is_asked_for(dana: Person) -> None:
    asks(dana, require_social=True)
    connect(dana)
    assert met(dana, PASSWORD) == met(dana, PASSKEY) == met(dana, []) == "social_sign_in_required"
    assert met(dana, SOCIAL) == ""


def test_password_that_confirmed_a_social_sign_in_leaves_it_one(dana: Person) -> None:
    asks(dana, require_social=True)
    connect(dana)
    assert met(dana, [*SOCIAL, PASSWORD[0] | {"reauthenticated": True}]) == ""


def test_account_that_was_disconnected_since_is_no_sign_in(dana: Person) -> None:
    asks(dana, require_social=True)
    assert met(dana, SOCIAL) == "social_sign_in_required"


def test_account_of_someone_else_is_no_sign_in(dana: Person, bob: Person) -> None:
    asks(dana, require_social=True)
    connect(bob)
    assert met(dana, SOCIAL) == "social_sign_in_required"


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        (["dana@northwind.example"], ""),
        (["dana@private.example", "DANA@NORTHWIND.EXAMPLE".lower()], ""),
        (["dana@sub.northwind.example"], "domain_not_allowed"),
        (["dana@northwind.example.evil.example"], "domain_not_allowed"),
        (["northwind.example@private.example"], "domain_not_allowed"),
        ([], "domain_not_allowed"),
    ],
)
def test_address_that_the_provider_verified_has_to_be_of_the_domains(
    dana: Person, addresses: list[str], code: str
) -> None:
    asks(dana, domains=("northwind.example", "fjord.example"))
    connect(dana, *addresses)
    assert met(dana, SOCIAL) == code


def test_own_address_does_not_count_for_a_sign_in_through_a_provider(dana: Person) -> None:
    asks(dana, domains=("example.com",))
    verify_address(dana)
    connect(dana, "dana@private.example")
    assert met(dana, SOCIAL) == "domain_not_allowed"


@pytest.mark.parametrize("records", [PASSWORD, PASSKEY])
def test_own_address_counts_for_a_password_once_it_is_verified(dana: Person, records: Any) -> None:
    asks(dana, domains=("example.com",))
    assert met(dana, records) == "domain_not_allowed"
    verify_address(dana)
    assert met(dana, records) == ""
    asks(dana, domains=("northwind.example",))
    assert met(dana, records) == "domain_not_allowed"


def test_verified_address_that_is_not_the_accounts_own_does_not_count(dana: Person) -> None:
    asks(dana, domains=("northwind.example",))
    EmailAddress.objects.create(user=dana.user, email="dana@northwind.example", verified=True)
    assert met(dana, PASSWORD) == "domain_not_allowed"


@pytest.mark.parametrize("kind", ["totp", "webauthn"])
def test_second_factor_is_asked_of_everyone(dana: Person, kind: str) -> None:
    asks(dana, second_factor="all")
    assert met(dana, SOCIAL) == met(dana, PASSWORD) == "second_factor_required"
    give_factor(dana, "recovery_codes")
    assert met(dana, PASSWORD) == "second_factor_required"
    give_factor(dana, kind)
    assert met(dana, PASSWORD) == ""


def test_second_factor_is_asked_of_admins(alice: Person, bob: Person, dana: Person) -> None:
    asks(alice, second_factor="admins")
    assert met(alice, PASSWORD) == met(bob, PASSWORD) == "second_factor_required"
    assert met(dana, PASSWORD) == ""
    OrganizationMembership.objects.filter(pk=dana.membership.pk).update(role=Role.AUDITOR)
    assert met(dana, PASSWORD) == ""


def test_what_was_asked_before_a_rule_is_asked_first(dana: Person) -> None:
    asks(dana, require_social=True, domains=("example.com",), second_factor="all")
    assert met(dana, PASSWORD) == "social_sign_in_required"
    connect(dana)
    assert met(dana, SOCIAL) == "domain_not_allowed"
    SocialAccount.objects.update(extra_data={"verified_addresses": ["dana@example.com"]})
    assert met(dana, SOCIAL) == "second_factor_required"


def test_rules_cost_one_query_each(dana: Person, django_assert_num_queries: Any) -> None:
    asks(dana, require_social=True, domains=("example.com",), second_factor="all")
    connect(dana, "dana@example.com")
    give_factor(dana)
    membership = OrganizationMembership.objects.select_related("organization", "user").get(pk=dana.membership.pk)
    with django_assert_num_queries(2):
        assert obstacle(membership, SOCIAL) == ""


# What a session meets


def opened_by(client: Client, records: list[dict[str, Any]]) -> None:
    session = client.session
    session["account_authentication_methods"] = records
    session["account_authentication_methods_user"] = session[SESSION_KEY]
    session.save()


def test_page_gives_way_to_what_is_asked_on_the_next_request(dana: Person, dana_client: Client) -> None:
    assert dana_client.get("/teams/").status_code == 200
    asks(dana, second_factor="all")
    page = dana_client.get("/teams/")
    assert page.status_code == 403
    assert "Northwind asks for a second factor, and your account has none" in text_of(page)
    assert 'href="/account/factors/"' in page.content.decode()
    assert "Payments" not in text_of(page)
    give_factor(dana)
    assert dana_client.get("/teams/").status_code == 200


def test_page_says_that_a_provider_is_asked_for(dana: Person, dana_client: Client) -> None:
    asks(dana, require_social=True)
    page = dana_client.get("/teams/")
    assert "Northwind asks people to sign in through a provider." in text_of(page)
    assert "No provider is connected to your account yet." in text_of(page)
    assert 'href="/account/connections/"' in page.content.decode()
    connect(dana)
    opened_by(dana_client, SOCIAL)
    assert dana_client.get("/teams/").status_code == 200


def test_page_names_the_domains(dana: Person, dana_client: Client) -> None:
    asks(dana, domains=("fjord.example", "northwind.example"))
    page = text_of(dana_client.get("/teams/"))
    assert "asks for a sign-in with a verified address of fjord.example , northwind.example . Yours is not." in page


def test_form_and_fragment_give_way_too(bob: Person, bob_client: Client) -> None:
    asks(bob, second_factor="all")
    assert bob_client.post("/projects/new/", {"name": "New"}).status_code == 403
    headers = FRAGMENT | {"HX-Current-URL": "http://testserver/projects/"}
    fragment = bob_client.get("/projects/new/", headers=headers)
    assert (fragment.status_code, fragment["HX-Redirect"]) == (200, "/projects/")
    assert fragment.content == b""


@pytest.mark.parametrize(
    "path", ["/account/profile/", "/account/email/", "/account/factors/", "/account/connections/", "/account/sessions/"]
)
def test_own_account_stays_open(dana: Person, dana_client: Client, path: str) -> None:
    asks(dana, require_social=True, second_factor="all")
    assert dana_client.get(path).status_code in {200, 302}


def test_other_organization_and_the_way_out_stay_open(dana: Person, charlie: Person, dana_client: Client) -> None:
    elsewhere = charlie.membership.organization
    actions.add_to_organization(organization=elsewhere, user=dana.user, role=Role.MEMBER, at=NOON)
    session = dana_client.session
    session["organization_id"] = str(dana.membership.organization_id)
    session.save()
    asks(dana, second_factor="all")
    assert "Switch to Elsewhere" in text_of(dana_client.get("/"))
    dana_client.post("/organization/switch/", {"organization": str(elsewhere.pk)})
    assert dana_client.get("/").status_code == 200
    assert dana_client.post("/account/sign-out/").status_code == 302


def test_switch_to_a_foreign_organization_is_404(dana: Person, charlie: Person, dana_client: Client) -> None:
    asks(dana, second_factor="all")
    foreign = {"organization": str(charlie.membership.organization_id)}
    assert dana_client.post("/organization/switch/", foreign).status_code == 404


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"require_social": True}, "social_sign_in_required"),
        ({"domains": ("northwind.example",)}, "domain_not_allowed"),
        ({"second_factor": "all"}, "second_factor_required"),
    ],
)
def test_call_of_a_session_is_refused_with_the_code(
    dana: Person, dana_client: Client, policy: dict[str, Any], code: str
) -> None:
    assert dana_client.get("/v1/whoami").status_code == 200
    asks(dana, **policy)
    for path in ("/v1/whoami", "/v1/api-keys"):
        answer = dana_client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert dana_client.get("/v1/openapi.json").status_code == 200


def test_token_of_a_person_is_refused_with_the_code_on_its_next_call(bob: Person) -> None:
    with transaction.atomic():
        bob.user.set_password("an orchard of seventeen trees")
        bob.user.save(update_fields=["password", "has_short_password"])
    body = {"email": bob.email, "password": "an orchard of seventeen trees"}
    given = Client().post("/v1/auth/token", body, content_type="application/json").json()["access_token"]
    headers = {"Authorization": f"Bearer {given}"}
    assert Client().get("/v1/whoami", headers=headers).status_code == 200
    for policy, code in {
        "require_social": "social_sign_in_required",
        "second_factor": "second_factor_required",
    }.items():
        asks(bob, **{policy: True if policy == "require_social" else "admins"})
        answer = Client().get("/v1/whoami", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_key_is_not_asked_for_a_sign_in(dana: Person, issued: Issued) -> None:
    asks(dana, require_social=True, domains=("northwind.example",), second_factor="all")
    assert Client().get("/v1/whoami", headers=issued.headers).status_code == 200


def test_organization_that_asks_nothing_costs_no_query(dana: Person, dana_client: Client) -> None:
    before = queries_of(dana_client, "/teams/")
    asks(dana, second_factor="all")
    give_factor(dana)
    assert queries_of(dana_client, "/teams/") == before + 1


def test_page_offers_the_providers_that_know_the_person(
    dana: Person, dana_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [
        {"provider_id": name, "name": name.title(), "client_id": "x", "secret": "x", "settings": {"server_url": "x"}}
        for name in ("company", "other")
    ]
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": apps}}
    monkeypatch.setitem(providers.registry.provider_map, OpenIDConnectProvider.id, OpenIDConnectProvider)
    asks(dana, require_social=True)
    connect(dana)
    page = dana_client.get("/teams/?q=1")
    assert "Continue with Company" in text_of(page)
    assert "Other" not in text_of(page)
    assert "process=login&amp;next=%2Fteams%2F%3Fq%3D1" in page.content.decode()
