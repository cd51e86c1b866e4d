"""Sweeps over every address, template, setting and public name, so that a new one cannot forget its protection."""

import ast
import inspect
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.socialaccount import providers
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.usersessions.models import UserSession
from django.conf import settings as portal
from django.contrib.staticfiles import finders
from django.core.cache import cache
from django.db import transaction
from django.template.loader import get_template
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings
from uuid_utils.compat import uuid7

from accounts.actions import add_to_organization, create_service_account, invite
from accounts.actions.email_change import ask_for_email_change
from accounts.entry import OBSTACLES
from accounts.models import EmailChange, GroupRole, Invitation, Project, Role, ServiceAccount, Team
from accounts.setup_link import setup_link
from accounts.topics import Topic, unsubscribe_link
from accounts.views.email import CONFIRMATION_SESSION_KEY
from apikeys import cors, limits
from apikeys.actions import Refused, add_permission
from apikeys.models import ApiKey
from apikeys.permissions import Permission
from apikeys.policing import Terms
from apikeys.verification import Outcome
from audit.events import EVENTS
from audit.models import AuditEvent
from keyportal.http import PROBLEMS
from tests.accounts.factored import add_passkey, code_of, give_password, passkey_sign_in, with_app
from tests.accounts.mailbox import link_to
from tests.accounts.passkeys import ORIGIN, SoftPasskey
from tests.cast import PASSWORD, Issued, Person

ROOT = Path(__file__).resolve().parent.parent
APPS = ("accounts", "apikeys", "audit", "keyportal")
NEW_PASSWORD = "another sentence that nobody would think of"
Sign = Callable[[Person], Client]


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """Sign-ins that other tests had refused do not count here."""
    cache.clear()


# The addresses


def patterns(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield every address of the portal with its whole pattern."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern).removeprefix("^")
        if isinstance(entry, URLResolver):
            yield from patterns(entry, path)
        else:
            yield path, entry


PATHS = sorted({path for path, _ in patterns()})


def filled_in(path: str, ids: dict[str, str] | None = None) -> str:
    """Return an address with its parameters filled in, by ids that nobody has unless others are given."""
    values = {"token": "nobodys", "uidb36": "1", "key": "x", "session_id": "7", "factor_id": "7"} | (ids or {})
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: values[found[1]], path)
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values.get(found[1], str(UUID(int=7))), path)
    return "/" + path.removesuffix("$")


def is_api(path: str) -> bool:
    return path.startswith("v1/") and path != "v1/docs"


# Who gets in without a sign-in, and why.
PUBLIC = {
    "v1/docs": "The reference is read before there is a key.",
    "v1/openapi.json": "The same for machines; it holds nothing of an installation.",
    "v1/key-format": "A scanner is set up without a key; it holds what every key shows.",
    "setup/": "It tells where the set-up link is, while there is no user.",
    "setup/<str:token>/": "Its token is the proof, and is void once there is a user.",
    "invitations/<str:token>/": "Its token is the proof; who comes has no account yet.",
    "invitations/": "The same, once the token is in the session and out of the address.",
    "theme/": "A preference in a cookie of the browser's own.",
    "unsubscribe/<str:token>/": "Its token is the proof; a mail program has no account (RFC 8058).",
    "healthz": "An orchestrator asks it; it says that the process answers, and nothing else.",
    "readyz": "The same, for the database and its migrations.",
    "metrics": "Its own token is the proof; where none is set there is nothing.",
    "account/sign-in/": "Where one signs in.",
    "account/deleted/": "Who deleted their account is signed out by then.",
    "v1/auth/token": "Where one signs in without a browser; to end a token, it has to be sent.",
    "v1/auth/token/second-factor": "It needs the first step.",
    "v1/auth/token/refresh": "The refresh token is the proof.",
    "v1/auth/token/confirm": "The token is the proof, and the password or code besides.",
    "account/sign-in/passkey/": "Where one signs in with a passkey.",
    "account/sign-in/second-step/": "It needs the first step, and leads there without it.",
    "account/sign-out/": "Signing out when signed out already is no error.",
    "account/inactive/": "It says why an account cannot sign in.",
    "account/password/reset/": "Who forgot the password cannot sign in.",
    "account/password/reset/done/": "It says that a mail was sent.",
    r"account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "Its key is the proof.",
    "account/password/reset/key/done/": "It says that the password was set.",
    "account/email/confirm/<str:token>/": "Its token is the proof, which came to one of the two mailboxes.",
    "account/email/confirm/": "The same, once the token is in the session and out of the address.",
    "account/connections/cancelled/": "The provider sends people here who are not signed in.",
    "account/connections/signup/": "It sends whom a provider sent away to the sign-in.",
    "github/login/": "Where one leaves for GitHub to sign in.",
    "github/login/callback/": "Where one comes back from there; the session's own state is the proof.",
    "google/login/": "Where one leaves for Google to sign in.",
    "google/login/callback/": "Where one comes back from there; the session's own state is the proof.",
    "oidc/<slug:provider_id>/login/": "Where one leaves for a provider to sign in.",
    "oidc/<slug:provider_id>/login/callback/": "Where one comes back from there; the session's own state is the proof.",
}


def test_public_addresses_exist_and_say_why() -> None:
    assert not set(PUBLIC) - set(PATHS)
    assert all(PUBLIC.values())


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_every_address_asks_the_anonymous_to_sign_in(alice: Person, method: str) -> None:
    found: dict[str, tuple[int, Any, Any]] = {}
    expected: dict[str, tuple[int, Any, Any]] = {}
    for path in PATHS:
        if path in PUBLIC:
            continue
        url = filled_in(path)
        response = getattr(Client(), method)(url)
        if is_api(path):
            found[path] = (response.status_code, response.json().get("code"), response.get("WWW-Authenticate"))
            expected[path] = (401, "missing_credentials", 'Bearer realm="keyportal"')
        else:
            found[path] = (response.status_code, response.get("Location"), None)
            expected[path] = (302, f"/account/sign-in/?next={url}", None)
    assert found == expected
    assert found


@pytest.mark.parametrize("path", [path for path in PATHS if path in PUBLIC])
def test_public_address_answers_the_anonymous_itself(alice: Person, path: str) -> None:
    response = Client().get(filled_in(path))
    assert response.status_code in {200, 302, 404, 405, 410}
    # What shows a form to sign up sends who comes without an invitation to the sign-in, and keeps no way back.
    assert "/account/sign-in/?next=" not in response.get("Location", "")


def test_pages_that_need_no_sign_in_name_nothing_of_ours(issued: Issued, alice: Person) -> None:
    names = ("Northwind", "Payments", "Checkout", issued.row.label, "dana@example.com", "alice@example.com")
    for path in PUBLIC:
        response = Client().get(filled_in(path))
        text = response.content.decode() + str(response.headers)
        assert not [name for name in names if name in text], path


# What belongs to others

WITH_IDS = [path for path in PATHS if "uuid" in path]


@pytest.fixture
def issued(issued: Issued, alice: Person, project: Project) -> Issued:
    """A key, a service account and an invitation, so that each address with an id has something of ours."""
    invite(
        principal=alice.principal,
        team=project.team,
        email="frank@example.com",
        role=Role.DEVELOPER,
        at=timezone.now(),
    )
    create_service_account(
        principal=alice.principal,
        team=project.team,
        name="ci-deployer",
        role=Role.DEVELOPER,
        steward=issued.row.issuer,
        at=timezone.now(),
    )
    return issued


def ids_of(issued: Issued) -> dict[str, str]:
    project = issued.row.project
    assert project is not None
    ids = {"key_id": issued.row.pk, "project_id": project.pk, "team_id": project.team_id, "name": "invoices:read"}
    ids |= {"user_id": issued.row.issuer_id, "account_id": ServiceAccount.objects.get().pk}
    ids["invitation_id"] = Invitation.objects.get(email="frank@example.com").pk
    # Of those that a path ends in, the one that anybody may make for themselves.
    ids["token"] = unsubscribe_link(issued.row.issuer, Topic.TIPS).rstrip("/").rpartition("/")[2]
    # The first of them, so that it is not the one that asks.
    if session := UserSession.objects.order_by("id").first():
        ids["session_id"] = session.pk
    return {name: str(value) for name, value in ids.items()}


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_every_address_of_something_of_ours_is_404_to_a_stranger(
    issued: Issued, charlie_client: Client, method: str
) -> None:
    ids, wrong = ids_of(issued), {}
    for path in WITH_IDS:
        response = getattr(charlie_client, method)(filled_in(path, ids))
        # 400: an empty body is none, whatever it is about.
        expected = {400, 404, 405} if is_api(path) and method == "post" else {404, 405}
        is_told = issued.row.label in response.content.decode()
        if response.status_code not in expected or is_told or ApiKey.objects.get().is_revoked:
            wrong[path] = (response.status_code, is_told)
    assert wrong == {}
    assert WITH_IDS


# A key has these only once it was rotated, and their own tests rotate one.
OF_A_ROTATION = {
    "keys/<uuid:key_id>/rotation/end/",
    "keys/<uuid:key_id>/rotation/extend/",
    "v1/api-keys/<uuidstr:key_id>/rotation",
}


def test_every_address_of_something_of_ours_is_found_by_us(issued: Issued, alice_client: Client) -> None:
    ids, wrong = ids_of(issued), {}
    for path in [path for path in WITH_IDS if path not in OF_A_ROTATION]:
        status = alice_client.get(filled_in(path, ids)).status_code
        # 405: it only acts, as `POST …/stop` does, and shows nothing.
        if status not in ({200, 405} if is_api(path) else {200}):
            wrong[path] = status
    assert wrong == {}


def test_every_address_of_nothing_is_404(alice_client: Client) -> None:
    found = {path: alice_client.get(filled_in(path)).status_code for path in WITH_IDS}
    wrong = {path: code for path, code in found.items() if code not in ({404, 405} if is_api(path) else {404})}
    assert wrong == {}


# What changes something, and the audit event that it leaves


@dataclass
class Stage:
    """Who and what the example calls act on."""

    alice: Person
    team: Team
    project: Project
    issued: Issued
    client: Client

    @property
    def issuer(self) -> str:
        """The id of who issued the key."""
        return str(self.issued.row.issuer_id)

    @property
    def account(self) -> str:
        return str(ServiceAccount.objects.get().pk)


@pytest.fixture
def stage(settings: Settings, alice: Person, project: Project, issued: Issued, sign_in_as: Sign) -> Stage:
    # Browsers make passkeys for a name, and for no address.
    settings.KEYPORTAL_URL = ORIGIN
    add_permission(principal=alice.principal, entry=Permission("invoices:read", "See invoices."))
    return Stage(alice, project.team, project, issued, sign_in_as(alice))


@pytest.fixture
def provider(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is known, as with KEYPORTAL_OIDC=company; nobody asks it anything here."""
    app = {"provider_id": "company", "name": "Company", "client_id": "x", "secret": "x"}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app | {"settings": {"server_url": "x"}}]}}
    monkeypatch.setitem(providers.registry.provider_map, OpenIDConnectProvider.id, OpenIDConnectProvider)


def set_up(stage: Stage) -> Any:
    return Client().post(
        setup_link().removeprefix(portal.KEYPORTAL_URL),
        {"organization_name": "Acme", "email": "first@example.com", "password": NEW_PASSWORD},
    )


def with_password(stage: Stage) -> dict[str, str]:
    """Return what a person with a password signs in with."""
    stage.alice.user.set_password(NEW_PASSWORD)
    stage.alice.user.save(update_fields=["password", "has_short_password"])
    return {"email": stage.alice.email, "password": NEW_PASSWORD}


def sign_in_for_a_token(stage: Stage) -> Any:
    return Client().post("/v1/auth/token", with_password(stage), content_type="application/json")


def bearer(answer: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def sign_in_with_a_code(stage: Stage) -> Any:
    secret = generate_totp_secret()
    TOTP.activate(stage.alice.user, secret)
    flow = sign_in_for_a_token(stage).json()["flow"]
    body = {"flow": flow, "code": format_hotp_value(hotp_value(secret, int(time.time()) // 30))}
    return Client().post("/v1/auth/token/second-factor", body, content_type="application/json")


def delete_account(stage: Stage) -> Any:
    """A super admin goes, and another stays."""
    add_to_organization(
        organization=stage.team.organization,
        user=stage.issued.row.issuer,
        role=Role.SUPER_ADMIN,
        at=timezone.now(),
    )
    return stage.client.post("/account/delete/", {"email": stage.alice.email})


def invited_by(stage: Stage) -> Invitation:
    invitation, _ = invite(
        principal=stage.alice.principal,
        team=stage.team,
        email="erin@example.com",
        role=Role.DEVELOPER,
        at=timezone.now(),
    )
    return invitation


def accept(stage: Stage) -> Any:
    invited_by(stage)
    client = Client()
    client.get(link_to("erin@example.com", base=portal.KEYPORTAL_URL))
    return client.post("/invitations/", {"name": "Erin", "password": NEW_PASSWORD})


def issue_in_the_form(stage: Stage, path: str = "/integrations/new/") -> Any:
    form = {"issue_id": str(uuid7()), "name": "ci", "environment": "live", "expiry": "90"}
    place = {"scope": "team", "team": str(stage.team.pk), "project": str(stage.issued.row.project_id)}
    return stage.client.post(path, form | place | {"permissions": ["scan:read"]})


def issue_by_api(stage: Stage) -> Any:
    return stage.client.post("/v1/api-keys", {"name": "ci", "scope": "org"}, content_type="application/json")


def pause(stage: Stage, path: str) -> Any:
    return stage.client.post(f"{path}disable/")


def end_in_the_form(stage: Stage) -> Any:
    page: Any = stage.client.get("/integrations/bulk/?scope=project")
    selection = page.context["selection"]
    form = {"scope": "project", "digest": selection.digest, "action": "disable", "reason": "x"}
    return stage.client.post("/integrations/bulk/", form | {"count": str(selection.count)})


def end_by_api(stage: Stage) -> Any:
    asked = {"action": "revoke", "filter": {"scope": "project"}, "reason": "x"}
    digest = stage.client.post("/v1/api-keys/bulk", asked, JSON).json()["digest"]
    return stage.client.post("/v1/api-keys/bulk", asked | {"dry_run": False, "expected": digest}, JSON)


def rotate_in_the_form(stage: Stage) -> Any:
    form = {"form_id": str(uuid7()), "reason": "routine", "settle": "3600", "deadline": "7"}
    return stage.client.post(f"/keys/{stage.issued.row.pk}/rotate/", form)


def rotate_itself(stage: Stage) -> Any:
    asked = {"name": "ci", "scope": "org", "permissions": ["keys:rotate_self"]}
    key = stage.client.post("/v1/api-keys", asked, content_type="application/json").json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    return Client().post("/v1/api-keys/self/rotate", {}, content_type="application/json", headers=headers)


def hand_over(stage: Stage) -> Any:
    form = {"key": str(stage.issued.row.pk), f"account_{stage.issued.row.pk.hex}": stage.account}
    return stage.client.post(f"/people/{stage.issuer}/keys/hand-over/", form)


def reset_password(stage: Stage) -> Any:
    client = Client()
    client.post("/account/password/reset/", {"email": stage.alice.email})
    path = link_to(stage.alice.email, base=portal.KEYPORTAL_URL)
    client.get(path)
    kept = re.sub(r"-[^/]+/$", "-set-password/", path)
    return client.post(kept, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})


def change_password(stage: Stage) -> Any:
    form = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    return stage.client.post("/account/password/change/", form)


def change_email(stage: Stage) -> Any:
    change = ask_for_email_change(user=stage.alice.user, new_email="a.new@example.com", at=timezone.now())
    EmailChange.objects.filter(pk=change.pk).update(old_confirmed_at=change.created_at)
    session = stage.client.session
    session[CONFIRMATION_SESSION_KEY] = change.new_token_digest
    session.save()
    return stage.client.post("/account/email/confirm/")


def another_session(stage: Stage) -> int:
    """Sign alice in somewhere else, and return which of her sessions that is."""
    Client().post("/account/sign-in/", {"login": stage.alice.email, "password": PASSWORD})
    return int(UserSession.objects.latest("id").pk)


def disconnect(stage: Stage) -> Any:
    with transaction.atomic():
        account = SocialAccount.objects.create(user=stage.alice.user, provider="company", uid="7")
    return stage.client.post("/account/connections/", {"account": str(account.pk)})


def add_app(stage: Stage) -> Any:
    path = "/account/factors/app/add/"
    return stage.client.post(path, {"code": code_of(stage.client.get(path).context["secret"])})


def a_passkey(stage: Stage) -> int:
    """Set a passkey up, and return its number."""
    add_passkey(stage.client, SoftPasskey())
    return int(Authenticator.objects.get(type=Authenticator.Type.WEBAUTHN).pk)


def sign_in_by_passkey(stage: Stage) -> Any:
    passkey = SoftPasskey()
    add_passkey(stage.client, passkey)
    return passkey_sign_in(Client(), passkey)


def sign_in_by_code(stage: Stage) -> Any:
    client, code = Client(), code_of(with_app(stage.alice))
    give_password(client, stage.alice)
    return client.post("/account/sign-in/second-step/", {"code": code})


def change_security(stage: Stage) -> Any:
    form = {"domains": "", "second_factor": "", "default_team": str(stage.team.pk)}
    digest = stage.client.post("/settings/security/", form).context["preview"].digest
    return stage.client.post("/settings/security/apply/", form | {"digest": digest})


def map_group(stage: Stage) -> Any:
    form = {"provider": "company", "group": "leads", "team": str(stage.team.pk), "role": "team_admin"}
    return stage.client.post("/settings/security/groups/new/", form)


def unmap_group(stage: Stage) -> Any:
    map_group(stage)
    return stage.client.post("/settings/security/groups/remove/", {"group_role": str(GroupRole.objects.get().pk)})


def release_domain(stage: Stage) -> Any:
    stage.client.post("/settings/security/domains/new/", {"name": "northwind.example"})
    return stage.client.post("/settings/security/domains/remove/", {"domain": "northwind.example"})


def stop_mail(stage: Stage) -> Any:
    path = unsubscribe_link(stage.alice.user, Topic.SECURITY_ADVISORIES).removeprefix(portal.KEYPORTAL_URL)
    return Client().post(path, {"List-Unsubscribe": "One-Click"})


JSON = "application/json"
PERMISSION = {"sentence": "See them.", "least_role": "developer"}
POLICY = {"max_lifetime": "30", "team_issuers": "team_admin", "project_issuers": "developer", "existing": "now"}
Example = Callable[[Stage], Any]


# Each address and method that changes something, the audit event that it leaves, and a call that proves it.
def move_the_project(s: Stage) -> Any:
    team = Team.objects.create(organization=s.team.organization, name="New", created_at=timezone.now())
    preview = s.client.get(f"/projects/{s.project.pk}/move/", {"team": str(team.pk)}).context["preview"]
    sent = {"team": str(team.pk), "digest": preview.digest}
    return s.client.post(f"/projects/{s.project.pk}/move/", sent)


CHANGES: dict[tuple[str, str], tuple[str, Example]] = {
    ("v1/auth/token", "post"): ("user.signed_in", sign_in_for_a_token),
    ("v1/auth/token", "delete"): (
        "user.signed_out",
        lambda s: Client().delete("/v1/auth/token", headers=bearer(sign_in_for_a_token(s))),
    ),
    ("v1/auth/token/second-factor", "post"): ("user.signed_in", sign_in_with_a_code),
    ("account/data/download/", "post"): ("user.data_exported", lambda s: s.client.post("/account/data/download/")),
    ("account/delete/", "post"): ("user.account_deleted", delete_account),
    ("setup/<str:token>/", "post"): ("organization.created", set_up),
    ("invitations/", "post"): ("invitation.accepted", accept),
    ("account/password/reset/", "post"): (
        "user.password_reset_requested",
        lambda s: Client().post("/account/password/reset/", {"email": s.alice.email}),
    ),
    ("teams/new/", "post"): ("team.created", lambda s: s.client.post("/teams/new/", {"name": "New"})),
    ("people/invite/", "post"): (
        "invitation.created",
        lambda s: s.client.post("/people/invite/", {"email": "x@example.com", "role": "auditor"}),
    ),
    ("invitations/<uuid:invitation_id>/resend/", "post"): (
        "invitation.resent",
        lambda s: s.client.post(f"/invitations/{invited_by(s).pk}/resend/"),
    ),
    ("invitations/<uuid:invitation_id>/withdraw/", "post"): (
        "invitation.deleted",
        lambda s: s.client.post(f"/invitations/{invited_by(s).pk}/withdraw/"),
    ),
    ("teams/<uuid:team_id>/invite/", "post"): (
        "invitation.created",
        lambda s: s.client.post(f"/teams/{s.team.pk}/invite/", {"email": "x@example.com", "role": "developer"}),
    ),
    ("projects/new/", "post"): (
        "project.created",
        lambda s: s.client.post("/projects/new/", {"name": "New", "team": str(s.team.pk)}),
    ),
    ("integrations/export.csv", "post"): ("api_key.exported", lambda s: s.client.post("/integrations/export.csv")),
    ("integrations/export.json", "post"): ("api_key.exported", lambda s: s.client.post("/integrations/export.json")),
    ("integrations/new/", "post"): ("api_key.created", issue_in_the_form),
    ("sdk-keys/new/", "post"): ("api_key.created", lambda s: issue_in_the_form(s, "/sdk-keys/new/")),
    ("organization/keys/new/", "post"): ("api_key.created", lambda s: issue_in_the_form(s, "/organization/keys/new/")),
    ("keys/<uuid:key_id>/revoke/", "post"): (
        "api_key.revoked",
        lambda s: s.client.post(f"/keys/{s.issued.row.pk}/revoke/", {"reason": "x"}),
    ),
    ("keys/<uuid:key_id>/edit/", "post"): (
        "api_key.updated",
        lambda s: s.client.post(
            f"/keys/{s.issued.row.pk}/edit/", {"name": "x", "permissions": s.issued.row.permissions}
        ),
    ),
    ("keys/<uuid:key_id>/disable/", "post"): ("api_key.disabled", lambda s: pause(s, f"/keys/{s.issued.row.pk}/")),
    ("keys/<uuid:key_id>/enable/", "post"): (
        "api_key.enabled",
        lambda s: pause(s, path := f"/keys/{s.issued.row.pk}/") and s.client.post(f"{path}enable/"),
    ),
    ("integrations/bulk/", "post"): ("api_key.bulk_disabled", end_in_the_form),
    ("v1/api-keys/<uuidstr:key_id>", "patch"): (
        "api_key.updated",
        lambda s: s.client.patch(f"/v1/api-keys/{s.issued.row.pk}", {"name": "x"}, JSON),
    ),
    ("v1/api-keys/<uuidstr:key_id>/disable", "post"): (
        "api_key.disabled",
        lambda s: s.client.post(f"/v1/api-keys/{s.issued.row.pk}/disable"),
    ),
    ("v1/api-keys/<uuidstr:key_id>/enable", "post"): (
        "api_key.enabled",
        lambda s: pause(s, f"/keys/{s.issued.row.pk}/") and s.client.post(f"/v1/api-keys/{s.issued.row.pk}/enable"),
    ),
    ("v1/api-keys/bulk", "post"): ("api_key.bulk_revoked", end_by_api),
    ("keys/<uuid:key_id>/rotate/", "post"): ("api_key.rotated", rotate_in_the_form),
    ("v1/api-keys/<uuidstr:key_id>/rotate", "post"): (
        "api_key.rotated",
        lambda s: s.client.post(f"/v1/api-keys/{s.issued.row.pk}/rotate", {}, JSON),
    ),
    ("v1/api-keys/self/rotate", "post"): ("api_key.rotated", rotate_itself),
    ("v1/api-keys/<uuidstr:key_id>/rotation/end", "post"): (
        "api_key.retirement_moved",
        lambda s: rotate_in_the_form(s) and s.client.post(f"/v1/api-keys/{s.issued.row.pk}/rotation/end"),
    ),
    ("v1/api-keys/<uuidstr:key_id>/rotation/extend", "post"): (
        "api_key.retirement_moved",
        lambda s: (
            rotate_in_the_form(s)
            and s.client.post(
                f"/v1/api-keys/{s.issued.row.pk}/rotation/extend",
                {"retires_at": (timezone.now() + timedelta(days=20)).isoformat()},
                JSON,
            )
        ),
    ),
    ("v1/api-keys", "post"): ("api_key.created", issue_by_api),
    ("v1/api-keys/<uuidstr:key_id>", "delete"): (
        "api_key.revoked",
        lambda s: s.client.delete(f"/v1/api-keys/{s.issued.row.pk}"),
    ),
    ("projects/<uuid:project_id>/environments/", "post"): (
        "project.updated",
        lambda s: s.client.post(f"/projects/{s.project.pk}/environments/", {"environments": "live"}),
    ),
    ("settings/organization/", "post"): (
        "organization.updated",
        lambda s: s.client.post("/settings/organization/", {"name": "New", "slug": "new"}),
    ),
    ("teams/<uuid:team_id>/rename/", "post"): (
        "team.updated",
        lambda s: s.client.post(f"/teams/{s.team.pk}/rename/", {"name": "New"}),
    ),
    ("teams/<uuid:team_id>/archive/", "post"): (
        "team.archived",
        lambda s: s.client.post(f"/teams/{s.team.pk}/archive/"),
    ),
    ("teams/<uuid:team_id>/restore/", "post"): (
        "team.restored",
        lambda s: [s.client.post(f"/teams/{s.team.pk}/{verb}/") for verb in ("archive", "restore")][-1],
    ),
    ("projects/<uuid:project_id>/rename/", "post"): (
        "project.updated",
        lambda s: s.client.post(f"/projects/{s.project.pk}/rename/", {"name": "New"}),
    ),
    ("projects/<uuid:project_id>/archive/", "post"): (
        "project.archived",
        lambda s: s.client.post(f"/projects/{s.project.pk}/archive/"),
    ),
    ("projects/<uuid:project_id>/restore/", "post"): (
        "project.restored",
        lambda s: [s.client.post(f"/projects/{s.project.pk}/{verb}/") for verb in ("archive", "restore")][-1],
    ),
    ("projects/<uuid:project_id>/move/", "post"): ("project.moved", move_the_project),
    ("settings/policies/apply/", "post"): (
        "policy.created",
        lambda s: s.client.post("/settings/policies/apply/", POLICY | {"digest": Terms().digest}),
    ),
    ("settings/security/apply/", "post"): ("organization.security_changed", change_security),
    ("settings/security/domains/new/", "post"): (
        "organization_domain.created",
        lambda s: s.client.post("/settings/security/domains/new/", {"name": "northwind.example"}),
    ),
    ("settings/security/domains/remove/", "post"): ("organization_domain.deleted", release_domain),
    ("settings/security/groups/new/", "post"): ("group_role.created", map_group),
    ("settings/security/groups/remove/", "post"): ("group_role.deleted", unmap_group),
    ("settings/permissions/new/", "post"): (
        "organization.catalogue_changed",
        lambda s: s.client.post("/settings/permissions/new/", PERMISSION | {"name": "invoices:write"}),
    ),
    ("settings/permissions/publishable/", "post"): (
        "organization.catalogue_changed",
        lambda s: s.client.post("/settings/permissions/publishable/", {"permissions": ["analysis:read"]}),
    ),
    ("settings/permissions/<str:name>/", "post"): (
        "organization.catalogue_changed",
        lambda s: s.client.post("/settings/permissions/invoices:read/", PERMISSION),
    ),
    ("settings/permissions/<str:name>/remove/", "post"): (
        "organization.catalogue_changed",
        lambda s: s.client.post("/settings/permissions/invoices:read/remove/"),
    ),
    ("v1/policy", "patch"): ("policy.created", lambda s: s.client.patch("/v1/policy", {"rotate_after": 30}, JSON)),
    ("v1/permissions", "post"): (
        "organization.catalogue_changed",
        lambda s: s.client.post("/v1/permissions", PERMISSION | {"name": "invoices:write"}, JSON),
    ),
    ("v1/permissions/publishable", "put"): (
        "organization.catalogue_changed",
        lambda s: s.client.put("/v1/permissions/publishable", {"permissions": ["analysis:read"]}, JSON),
    ),
    ("v1/permissions/<name>", "patch"): (
        "organization.catalogue_changed",
        lambda s: s.client.patch("/v1/permissions/invoices:read", PERMISSION, JSON),
    ),
    ("v1/permissions/<name>", "delete"): (
        "organization.catalogue_changed",
        lambda s: s.client.delete("/v1/permissions/invoices:read"),
    ),
    ("teams/<uuid:team_id>/members/<uuid:user_id>/role/", "post"): (
        "team_membership.updated",
        lambda s: s.client.post(f"/teams/{s.team.pk}/members/{s.issuer}/role/", {"role": "team_admin"}),
    ),
    ("teams/<uuid:team_id>/members/<uuid:user_id>/remove/", "post"): (
        "team_membership.deleted",
        lambda s: s.client.post(f"/teams/{s.team.pk}/members/{s.issuer}/remove/"),
    ),
    ("people/<uuid:user_id>/role/", "post"): (
        "organization_membership.updated",
        lambda s: s.client.post(f"/people/{s.issuer}/role/", {"role": "super_admin"}),
    ),
    ("people/<uuid:user_id>/remove/", "post"): (
        "organization_membership.deleted",
        lambda s: s.client.post(f"/people/{s.issuer}/remove/"),
    ),
    ("people/<uuid:user_id>/keys/revoke/", "post"): (
        "api_key.revoked",
        lambda s: s.client.post(f"/people/{s.issuer}/keys/revoke/", {"key": str(s.issued.row.pk)}),
    ),
    ("people/<uuid:user_id>/keys/hand-over/", "post"): ("api_key.handed_over", hand_over),
    ("teams/<uuid:team_id>/service-accounts/new/", "post"): (
        "service_account.created",
        lambda s: s.client.post(
            f"/teams/{s.team.pk}/service-accounts/new/", {"name": "x", "role": "developer", "steward": s.issuer}
        ),
    ),
    ("service-accounts/<uuid:account_id>/edit/", "post"): (
        "service_account.updated",
        lambda s: s.client.post(f"/service-accounts/{s.account}/edit/", {"name": "x", "steward": s.issuer}),
    ),
    ("service-accounts/<uuid:account_id>/stop/", "post"): (
        "service_account.stopped",
        lambda s: s.client.post(f"/service-accounts/{s.account}/stop/", {"name": "ci-deployer"}),
    ),
    ("v1/api-keys/<uuidstr:key_id>/hand-over", "post"): (
        "api_key.handed_over",
        lambda s: s.client.post(f"/v1/api-keys/{s.issued.row.pk}/hand-over", {"service_account_id": s.account}, JSON),
    ),
    ("v1/service-accounts", "post"): (
        "service_account.created",
        lambda s: s.client.post(
            "/v1/service-accounts", {"name": "x", "team_id": str(s.team.pk), "steward_id": s.issuer}, JSON
        ),
    ),
    ("v1/service-accounts/<uuidstr:account_id>", "patch"): (
        "service_account.updated",
        lambda s: s.client.patch(f"/v1/service-accounts/{s.account}", {"name": "x"}, JSON),
    ),
    ("v1/service-accounts/<uuidstr:account_id>/stop", "post"): (
        "service_account.stopped",
        lambda s: s.client.post(f"/v1/service-accounts/{s.account}/stop"),
    ),
    ("account/sign-in/", "post"): (
        "user.signed_in",
        lambda s: Client().post("/account/sign-in/", {"login": s.alice.email, "password": PASSWORD}),
    ),
    ("account/sign-in/passkey/", "post"): ("user.signed_in", sign_in_by_passkey),
    ("account/sign-in/second-step/", "post"): ("user.signed_in", sign_in_by_code),
    ("account/factors/app/add/", "post"): ("second_factor.created", add_app),
    ("account/factors/app/remove/", "post"): (
        "second_factor.deleted",
        lambda s: with_app(s.alice) and a_passkey(s) and s.client.post("/account/factors/app/remove/"),
    ),
    ("account/factors/passkeys/add/", "post"): (
        "second_factor.created",
        lambda s: add_passkey(s.client, SoftPasskey()),
    ),
    ("account/factors/passkeys/<int:factor_id>/rename/", "post"): (
        "second_factor.renamed",
        lambda s: s.client.post(f"/account/factors/passkeys/{a_passkey(s)}/rename/", {"name": "Phone"}),
    ),
    ("account/factors/passkeys/<int:factor_id>/remove/", "post"): (
        "second_factor.deleted",
        lambda s: with_app(s.alice) and s.client.post(f"/account/factors/passkeys/{a_passkey(s)}/remove/"),
    ),
    ("account/factors/codes/new/", "post"): (
        "recovery_codes.replaced",
        lambda s: with_app(s.alice) and s.client.post("/account/factors/codes/new/"),
    ),
    ("account/preferences/", "post"): (
        "user.updated",
        lambda s: s.client.post("/account/preferences/", {"tips": "on"}),
    ),
    ("unsubscribe/<str:token>/", "post"): ("user.updated", stop_mail),
    ("account/sign-out/", "post"): ("user.signed_out", lambda s: s.client.post("/account/sign-out/")),
    ("account/password/change/", "post"): ("user.password_changed", change_password),
    ("account/profile/", "post"): (
        "user.updated",
        lambda s: s.client.post("/account/profile/", {"name": "Alice Moreau", "time_zone": "Europe/Paris"}),
    ),
    ("account/email/confirm/", "post"): ("user.email_changed", change_email),
    ("account/sessions/<int:session_id>/end/", "post"): (
        "session.ended",
        lambda s: s.client.post(f"/account/sessions/{another_session(s)}/end/"),
    ),
    ("account/sessions/end-others/", "post"): (
        "session.ended",
        lambda s: another_session(s) and s.client.post("/account/sessions/end-others/"),
    ),
    (r"account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$", "post"): (
        "user.password_reset",
        reset_password,
    ),
    ("account/connections/", "post"): ("connected_account.deleted", disconnect),
}
# Those that take such a method and leave no event, and why.
WITHOUT_EVENT = {
    "theme/": "A cookie of the browser's own.",
    "organization/switch/": "The session looks at another organization; nothing changes in either.",
    "account/reauthenticate/": "Proves who is at the keyboard, in a session whose sign-in is on record.",
    "account/reauthenticate/code/": "The same, by a code.",
    "account/reauthenticate/passkey/": "The same, by a passkey.",
    "account/email/change/": "Mails two links; the change that they make is recorded.",
    "account/email/cancel/": "Takes such a wish back; nothing has changed yet.",
    "github/login/": "Leaves for a provider; tests/accounts follows the way back to its events.",
    "google/login/": "The same.",
    "oidc/<slug:provider_id>/login/": "The same.",
    "settings/security/": "Shows whom a policy would keep out; what is then turned on is sent to another address.",
    "settings/policies/": "Shows what a policy would touch; what is then turned on is sent to another address.",
    "v1/policy/preview": "The same.",
    "keys/whose/": "Shows whose a label is. It is a POST so that nothing that is typed stays in an address.",
    # These take any method by their framework's default, and only ever show.
    "v1/auth/token/refresh": "Goes on with a session whose sign-in is on record.",
    "v1/auth/token/confirm": "Proves who is at the keyboard, in such a session.",
    "v1/openapi.json": "Shows the document, whatever the method.",
    "v1/": "There is nothing here: 404.",
}


def takes(client: Client, path: str, entry: URLPattern, method: str, ids: dict[str, str]) -> bool:
    """Say whether an address does something for a method: a class says so itself, a function has to be asked."""
    if view_class := getattr(entry.callback, "view_class", None):
        return hasattr(view_class, method)
    with transaction.atomic():
        status = getattr(client, method)(filled_in(path, ids)).status_code
        # What this one ended is there for the next.
        transaction.set_rollback(True)
    return status not in {404, 405}


def test_every_address_that_takes_a_change_is_in_the_table(stage: Stage, sign_in_as: Sign) -> None:
    ids = ids_of(stage.issued) | {"factor_id": str(a_passkey(stage))}
    with_app(stage.alice)
    # After that: a first factor ends the sessions that were opened without one.
    client = sign_in_as(stage.alice)
    found = {
        (path, method)
        for path, entry in patterns()
        for method in ("post", "put", "patch", "delete")
        if path not in WITHOUT_EVENT and takes(client, path, entry, method, ids)
    }
    # allauth's forms take PUT for POST, as Django's do.
    assert {(path, "post" if method == "put" and not is_api(path) else method) for path, method in found} == set(
        CHANGES
    )


def test_exemptions_exist_and_say_why() -> None:
    assert not set(WITHOUT_EVENT) - set(PATHS)
    assert all(WITHOUT_EVENT.values())


@pytest.mark.parametrize(("path", "method"), [key for key in CHANGES if key[0] != "setup/<str:token>/"])
def test_change_leaves_its_event(stage: Stage, provider: None, path: str, method: str) -> None:
    event, example = CHANGES[path, method]
    before = AuditEvent.objects.filter(event=event).count()
    response = example(stage)
    assert response.status_code < 400
    assert AuditEvent.objects.filter(event=event).count() == before + 1
    newest = AuditEvent.objects.filter(event=event).latest("id")
    assert newest.request_id == response["X-Request-Id"]
    assert newest.address == "127.0.0.1"


def test_setting_up_leaves_its_event(db: None) -> None:
    response = set_up(None)  # type: ignore[arg-type] # there is nobody yet
    assert response.status_code == 302
    newest = AuditEvent.objects.filter(event="organization.created").latest("id")
    assert newest.request_id == response["X-Request-Id"]


def test_looking_changes_nothing(stage: Stage, sign_in_as: Sign) -> None:
    ids, changed = ids_of(stage.issued), {}
    for path in PATHS:
        if is_api(path):
            continue
        # A session of its own, whatever the last address did to one.
        client = sign_in_as(stage.alice)
        before = AuditEvent.objects.count()
        client.get(filled_in(path, ids))
        Client().get(filled_in(path, ids))
        if after := AuditEvent.objects.count() - before:
            changed[path] = after
    assert changed == {}


# The views


def our_views() -> dict[str, tuple[str, Any]]:
    """Return every view of ours with its source's file."""
    found = {}
    for path, entry in patterns():
        view = inspect.unwrap(entry.callback)
        if view.__module__.partition(".")[0] in APPS:
            found[path] = (inspect.getsourcefile(view) or "", view)
    return found


@pytest.mark.parametrize("path", sorted(our_views()))
def test_view_says_which_methods_it_takes(path: str) -> None:
    file, view = our_views()[path]
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    decorators = [ast.unparse(decorator).partition("(")[0] for decorator in functions[view.__name__].decorator_list]
    assert [name for name in decorators if name.startswith("require_")]


# Problem codes


def source_files() -> Iterator[Path]:
    for app in APPS:
        yield from (path for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts)


def refusals_below(refusal: type[Refused]) -> Iterator[type[Refused]]:
    for below in refusal.__subclasses__():
        yield below
        yield from refusals_below(below)


def codes_raised() -> set[str]:
    """Return every code that the source names: of refusals, in `Problem("…")`, in error pages, and as an outcome."""
    found = {outcome.value for outcome in Outcome} - {Outcome.ACCEPTED.value}
    found |= {refusal.code for refusal in refusals_below(Refused)}
    found |= set(OBSTACLES)
    found |= {limits.RATE_LIMITED, limits.QUOTA_EXCEEDED}
    found |= {cors.ORIGIN_NOT_ALLOWED, cors.SECRET_KEY_IN_BROWSER}
    for path in source_files():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                place = {"Problem": 0, "_answer": 1}.get(call.func.id)
                if place is not None and len(call.args) > place and isinstance(call.args[place], ast.Constant):
                    found.add(str(call.args[place].value))  # type: ignore[attr-defined] # a constant has one
    return found


def test_codes_that_are_raised_are_those_that_there_are() -> None:
    assert codes_raised() == set(PROBLEMS)


def table_of(document: str, header: str) -> list[str]:
    lines = (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines()
    start = lines.index(header) + 2
    return lines[start:]


def test_every_code_is_documented() -> None:
    rows = [f"| `{code}` | {p.status} | {p.title}. | {p.advice} |" for code, p in PROBLEMS.items()]
    assert table_of("errors.md", "| code | status | meaning | what to do |") == rows


def test_codes_are_snake_case_with_a_status_a_title_and_advice() -> None:
    for code, problem in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert 400 <= problem.status <= 599
        assert not problem.title.endswith(".")
        assert problem.advice.endswith(".")


# Event names


def test_every_event_is_documented() -> None:
    text = (ROOT / "docs/audit-events.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", text, re.MULTILINE) == sorted(EVENTS)


# Settings


def names_read() -> set[str]:
    """Return the environment variables that the source reads; `*` stands for a part that is put in."""
    found = set()
    for path in source_files():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and re.match(
                r"(env\.\w+|(os\.)?environ\.get|os\.getenv)$", ast.unparse(call.func)
            ):
                found |= {name for argument in call.args[:1] if (name := variable(argument))}
    return found - {"DJANGO_SETTINGS_MODULE"}


def variable(argument: ast.expr) -> str:
    if isinstance(argument, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in argument.values]
        name = "".join(parts)
    else:
        name = str(argument.value) if isinstance(argument, ast.Constant) else ""
    # The second is what a provider's variables share.
    return name if re.fullmatch(r"[A-Z][A-Z_*0-9]+|\*_[A-Z_]+", name) else ""


def names_documented() -> list[str]:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([A-Z0-9_<>]+)` \|", text, re.MULTILINE)


def test_sweep_finds_the_variables() -> None:
    assert {"SECRET_KEY", "WEB_THREADS", "KEYPORTAL_DEMO", "KEYPORTAL_*_CLIENT_ID", "*_NAME"} <= names_read()


def test_every_variable_that_is_read_is_documented() -> None:
    documented = names_documented()
    assert [name for name in names_read() if not any(fnmatchcase(known, name) for known in documented)] == []
    assert len(documented) == len(set(documented))


def test_every_variable_that_is_documented_is_read() -> None:
    read = names_read()
    assert [known for known in names_documented() if not any(fnmatchcase(known, name) for name in read)] == []


# Templates and static files

TEMPLATES = sorted(path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*.html"))


def source_of(template: str) -> str:
    return (ROOT / "templates" / template).read_text(encoding="utf-8")


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_compiles_and_so_does_all_that_it_names(template: str) -> None:
    get_template(template)
    for named in re.findall(r'\{% (?:include|extends) "([^"]+)"', source_of(template)):
        get_template(named)


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name.rpartition("/")[2].startswith("_")])
def test_partial_says_on_its_first_line_what_it_needs(template: str) -> None:
    assert re.match(r"\{# needs: .+ #\}\n", source_of(template))


# Mails have no stylesheet to name: theirs is in their base, and only there.
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "mail/base.html"])
def test_template_escapes_everything_and_holds_no_script_or_style(template: str) -> None:
    text = source_of(template)
    assert not re.search(r"\|\s*safe\b|\{%\s*autoescape|safeseq", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style\b|javascript:", text, re.IGNORECASE)
    assert not re.search(r"<[^>]*\s(?:style|on[a-z]+|hx-on[:\w-]*)\s*=", text, re.IGNORECASE)
    assert not re.search(r"<script[^>]*>[^<]", text, re.IGNORECASE)


def test_no_code_marks_text_as_safe() -> None:
    marked = [
        str(path)
        for path in source_files()
        if re.search(r"mark_safe|SafeString|safestring", path.read_text(encoding="utf-8"))
    ]
    assert marked == []


def test_every_template_that_code_names_exists() -> None:
    for path in source_files():
        for name in re.findall(r'"([a-z]+/[a-z_/]+\.(?:html|txt))"', path.read_text(encoding="utf-8")):
            get_template(name)
            if "form_page" in path.read_text(encoding="utf-8") and f'"{name}", form' in path.read_text(
                encoding="utf-8"
            ):
                folder, _, file = name.rpartition("/")
                get_template(f"{folder}/_{file}")


def static_names() -> set[str]:
    """Return every static file that a template, a stylesheet or a script names."""
    found = set()
    for template in TEMPLATES:
        found |= set(re.findall(r'\{% static "([^"]+)" %\}', source_of(template)))
    for path in (ROOT / "static").rglob("*"):
        if path.suffix in {".css", ".js"}:
            named = re.findall(
                r'(?:@import (?:url\()?|from |import )"([^"]+)"|url\("?([^")]+)', path.read_text("utf-8")
            )
            names = {first or second for first, second in named}
            relative = {name for name in names if not name.startswith(("data:", "#"))}
            found |= {(path.parent / name).resolve().relative_to(ROOT / "static").as_posix() for name in relative}
    return found


# What no page of ours loads, since it is for the pages of others.
SERVED_TO_OTHERS = {"js/keyportal-client.js"}


def test_every_static_file_that_is_named_exists_and_none_is_left_over() -> None:
    named = static_names() | SERVED_TO_OTHERS
    assert sorted(name for name in named if finders.find(name) is None) == []
    ours = {path.relative_to(ROOT / "static").as_posix() for path in (ROOT / "static").rglob("*") if path.is_file()}
    assert sorted(ours - named) == []


# It looks its own addresses up by names of its own.
ALLAUTHS = re.compile("account|^mfa_|_(login|callback)$")


def test_names_of_addresses_are_noun_and_verb() -> None:
    ours = {str(entry.name) for _, entry in patterns() if not is_api(_) and not ALLAUTHS.search(str(entry.name))}
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in ours)
    assert reverse("overview") == "/"
