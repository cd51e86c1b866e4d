"""Bearer tokens of people: what command lines send instead of a browser's session."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import actions
from accounts.models import Organization, Project, Role, Team, TeamMembership, User
from audit.models import AuditEvent
from tests.accounts.scenes import together
from tests.cast import NOON, PASSWORD, Person

Api = Callable[..., Any]


@pytest.fixture
def api(db: None) -> Api:
    """Call an address of the API with a token or with none: `api("POST /v1/api-keys", token, name=...)`."""

    def call(target: str, token: str = "", *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        method, path = target.split()
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        return Client(enforce_csrf_checks=True).generic(
            method, path, json.dumps(body), content_type="application/json", headers=sent | (headers or {})
        )

    return call


@pytest.fixture
def bob_signs_in(bob: Person) -> User:
    return with_password(bob)


def with_password(person: Person) -> User:
    person.user.set_password(PASSWORD)
    person.user.save(update_fields=["password"])
    return person.user


def tokens_of(api: Api, email: str) -> dict[str, Any]:
    answer = api("POST /v1/auth/token", email=email, password=PASSWORD)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def token(api: Api, bob_signs_in: User) -> str:
    return str(tokens_of(api, bob_signs_in.email)["access_token"])


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_token_is_short_and_named_as_its_scheme(api: Api, bob_signs_in: User) -> None:
    answer = api("POST /v1/auth/token", email=bob_signs_in.email, password=PASSWORD)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 300)
    assert answer["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


def test_token_issues_a_key_as_its_person(api: Api, token: str, bob: Person, team: Team) -> None:
    answer = api("POST /v1/api-keys", token, name="ci", scope="team", team_id=str(team.pk))
    assert answer.status_code == 201
    event = AuditEvent.objects.filter(event="api_key.created").get()
    assert (event.actor_kind, event.actor_label) == ("user", bob.email)
    assert event.organization_id == team.organization_id


def test_token_sees_what_its_person_sees(api: Api, token: str, project: Project, other_project: Project) -> None:
    assert [item["name"] for item in api("GET /v1/projects", token).json()["items"]] == [project.name]
    assert code_of(api(f"GET /v1/projects/{other_project.pk}", token)) == (404, "not_found")


def test_wrong_password_and_unknown_address_are_one_answer(api: Api, bob_signs_in: User) -> None:
    wrong = api("POST /v1/auth/token", email=bob_signs_in.email, password="not the sentence that it is")
    unknown = api("POST /v1/auth/token", email="nobody@example.com", password="not the sentence that it is")
    assert code_of(wrong) == code_of(unknown) == (401, "invalid_credentials")
    same = ("type", "title", "status", "detail", "code")
    assert {name: wrong.json()[name] for name in same} == {name: unknown.json()[name] for name in same}


def test_too_many_wrong_passwords_are_told_when_to_come_back(api: Api, bob_signs_in: User) -> None:
    answers = [api("POST /v1/auth/token", email=bob_signs_in.email, password=f"wrong number {n}") for n in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {code_of(answer) for answer in answers} == {(401, "invalid_credentials"), (429, "too_many_sign_ins")}
    assert int(refused[0]["Retry-After"]) > 0


# Second factors


@pytest.fixture
def secret(bob_signs_in: User) -> str:
    """The secret of bob's authenticator app."""
    secret: str = generate_totp_secret()
    TOTP.activate(bob_signs_in, secret)
    RecoveryCodes.activate(bob_signs_in)
    return secret


def code_now(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def flow_of(api: Api, user: User) -> str:
    answer = api("POST /v1/auth/token", email=user.email, password=PASSWORD)
    assert answer.status_code == 202
    flow: str = answer.json()["flow"]
    return flow


def test_password_alone_is_no_token_where_there_is_a_second_factor(api: Api, bob_signs_in: User, secret: str) -> None:
    answer = api("POST /v1/auth/token", email=bob_signs_in.email, password=PASSWORD)
    assert answer.status_code == 202
    assert sorted(answer.json()) == ["flow", "ways"]
    assert sorted(answer.json()["ways"]) == ["recovery_codes", "totp"]
    flow = answer.json()["flow"]
    assert code_of(api("GET /v1/projects", flow))[0] == 401
    assert Client(headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={flow}"}).get("/").status_code == 302
    assert api("GET /v1/projects", headers={"X-Session-Token": flow}).status_code == 401


def test_code_finishes_the_sign_in_once(api: Api, bob_signs_in: User, secret: str) -> None:
    flow, other = flow_of(api, bob_signs_in), flow_of(api, bob_signs_in)
    code = code_now(secret)
    answer = api("POST /v1/auth/token/second-factor", flow=flow, code=code)
    assert answer.status_code == 200
    assert api("GET /v1/projects", answer.json()["access_token"]).status_code == 200
    # Neither the flow nor the code is good for another.
    assert code_of(api("POST /v1/auth/token/second-factor", flow=flow, code=code)) == (401, "invalid_credentials")
    assert code_of(api("POST /v1/auth/token/second-factor", flow=other, code=code)) == (401, "invalid_credentials")


def test_recovery_code_finishes_the_sign_in_too(api: Api, bob_signs_in: User, secret: str) -> None:
    codes = Authenticator.objects.get(user=bob_signs_in, type="recovery_codes").wrap().get_unused_codes()
    flow = flow_of(api, bob_signs_in)
    assert api("POST /v1/auth/token/second-factor", flow=flow, code=codes[0]).status_code == 200


@pytest.mark.parametrize("flow", ["nobody-made-this", "a\x00b", "ä", ""])
def test_flow_that_nobody_began_leads_nowhere(api: Api, bob_signs_in: User, secret: str, flow: str) -> None:
    answer = api("POST /v1/auth/token/second-factor", flow=flow, code=code_now(secret))
    assert code_of(answer) == (401, "invalid_credentials")


def test_session_of_a_browser_is_no_flow(api: Api, secret: str, bob_client: Client) -> None:
    key = str(bob_client.session.session_key)
    answer = api("POST /v1/auth/token/second-factor", flow=key, code=code_now(secret))
    assert code_of(answer) == (401, "invalid_credentials")
    assert Session.objects.filter(pk=key).exists()


# What a token is worth, and for how long


def test_token_ends_and_its_refresh_token_gets_the_next_once(api: Api, bob_signs_in: User) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        first = tokens_of(api, bob_signs_in.email)
        clock.shift(timedelta(minutes=6))
        assert code_of(api("GET /v1/projects", first["access_token"])) == (401, "invalid_token")
        answer = api("POST /v1/auth/token/refresh", refresh_token=first["refresh_token"])
        assert answer.status_code == 200
        assert api("GET /v1/projects", answer.json()["access_token"]).status_code == 200
        again = api("POST /v1/auth/token/refresh", refresh_token=first["refresh_token"])
        assert code_of(again) == (401, "invalid_token")


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_refresh_token_is_taken_by_one_of_eight_at_once(api: Api, bob_signs_in: User) -> None:
    found = tokens_of(api, bob_signs_in.email)["refresh_token"]
    statuses = together(8, lambda _: api("POST /v1/auth/token/refresh", refresh_token=found).status_code)
    assert sorted(statuses) == [200] + [401] * 7


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_session_that_ends_while_it_is_refreshed_or_confirmed_breaks_nothing(api: Api, bob_signs_in: User) -> None:
    for _ in range(4):
        found = tokens_of(api, bob_signs_in.email)
        assert set(together(3, at_once(api, found))) <= {200, 204, 401}
        assert code_of(api("GET /v1/projects", found["access_token"])) == (401, "invalid_token")


def at_once(api: Api, found: dict[str, Any]) -> Callable[[int], int]:
    """Return what three threads do with one session: end it, refresh it, and confirm it."""

    def work(number: int) -> int:
        token = found["access_token"]
        if number == 0:
            answer = api("DELETE /v1/auth/token", token)
        elif number == 1:
            answer = api("POST /v1/auth/token/refresh", refresh_token=found["refresh_token"])
        else:
            answer = api("POST /v1/auth/token/confirm", token, password=PASSWORD)
        return int(answer.status_code)

    return work


def test_refresh_token_is_no_access_token(api: Api, bob_signs_in: User) -> None:
    found = tokens_of(api, bob_signs_in.email)
    assert code_of(api("GET /v1/projects", found["refresh_token"])) == (401, "invalid_token")
    assert code_of(api("POST /v1/auth/token/refresh", refresh_token=found["access_token"])) == (401, "invalid_token")


def test_signing_out_ends_the_token_at_once(api: Api, bob_signs_in: User) -> None:
    found = tokens_of(api, bob_signs_in.email)
    assert api("DELETE /v1/auth/token", found["access_token"]).status_code == 204
    assert code_of(api("GET /v1/projects", found["access_token"])) == (401, "invalid_token")
    assert code_of(api("POST /v1/auth/token/refresh", refresh_token=found["refresh_token"])) == (401, "invalid_token")
    assert code_of(api("DELETE /v1/auth/token", found["access_token"])) == (401, "invalid_token")
    assert AuditEvent.objects.filter(event="user.signed_out", actor_label=bob_signs_in.email).exists()


def test_new_password_ends_the_token(api: Api, token: str, bob_signs_in: User) -> None:
    bob_signs_in.set_password("another sentence, that nobody has read")
    bob_signs_in.save(update_fields=["password"])
    assert code_of(api("GET /v1/projects", token)) == (401, "invalid_token")


def test_deactivated_account_has_no_token(api: Api, token: str, bob_signs_in: User) -> None:
    bob_signs_in.is_active = False
    bob_signs_in.save(update_fields=["is_active"])
    assert code_of(api("GET /v1/projects", token)) == (401, "invalid_token")


def test_demotion_holds_on_the_next_call(api: Api, token: str, alice: Person, bob: Person, team: Team) -> None:
    assert api("POST /v1/api-keys", token, name="ci", scope="team", team_id=str(team.pk)).status_code == 201
    membership = TeamMembership.objects.get(membership=bob.membership)
    actions.change_team_role(at=NOON, principal=alice.principal, team_membership=membership, role=Role.DEVELOPER)
    refused = api("POST /v1/api-keys", token, name="ci 2", scope="team", team_id=str(team.pk))
    assert code_of(refused) == (403, "scope_not_allowed")


def test_removal_holds_on_the_next_call(api: Api, token: str, alice: Person, bob: Person) -> None:
    actions.remove_from_organization(at=NOON, principal=alice.principal, membership=bob.membership)
    assert code_of(api("GET /v1/projects", token)) == (403, "forbidden")


def test_old_sign_in_issues_nothing_until_it_is_confirmed(api: Api, bob_signs_in: User, team: Team) -> None:
    wanted = {"name": "ci", "scope": "team", "team_id": str(team.pk)}
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        found = tokens_of(api, bob_signs_in.email)
        clock.shift(timedelta(minutes=16))
        token = api("POST /v1/auth/token/refresh", refresh_token=found["refresh_token"]).json()["access_token"]
        assert code_of(api("POST /v1/api-keys", token, **wanted)) == (403, "recent_sign_in_required")
        wrong = api("POST /v1/auth/token/confirm", token, password="not the sentence that it is")
        assert code_of(wrong) == (401, "invalid_credentials")
        assert code_of(api("POST /v1/api-keys", token, **wanted)) == (403, "recent_sign_in_required")
        assert api("POST /v1/auth/token/confirm", token, password=PASSWORD).status_code == 204
        assert api("POST /v1/api-keys", token, **wanted).status_code == 201


def test_code_confirms_a_sign_in(api: Api, bob_signs_in: User, secret: str, team: Team) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        flow = flow_of(api, bob_signs_in)
        found = api("POST /v1/auth/token/second-factor", flow=flow, code=code_now(secret)).json()
        clock.shift(timedelta(minutes=16))
        token = api("POST /v1/auth/token/refresh", refresh_token=found["refresh_token"]).json()["access_token"]
        assert api("POST /v1/auth/token/confirm", token, code=code_now(secret)).status_code == 204
        wanted = {"name": "ci", "scope": "team", "team_id": str(team.pk)}
        assert api("POST /v1/api-keys", token, **wanted).status_code == 201


@pytest.mark.parametrize("body", [{}, {"password": PASSWORD, "code": "123456"}])
def test_confirmation_is_by_one_of_two(api: Api, token: str, body: dict[str, str]) -> None:
    assert code_of(api("POST /v1/auth/token/confirm", token, **body)) == (422, "invalid_field")


def test_nobody_confirms_without_a_token(api: Api, bob_signs_in: User) -> None:
    assert code_of(api("POST /v1/auth/token/confirm", password=PASSWORD)) == (401, "invalid_token")


# Organizations


@pytest.fixture
def second(bob: Person) -> Organization:
    organization = actions.create_organization(name="Aurora", at=bob.membership.created_at)
    actions.add_to_organization(
        organization=organization, user=bob.user, role=Role.SUPER_ADMIN, at=bob.membership.created_at
    )
    return organization


def test_header_names_the_organization(
    api: Api, token: str, team: Team, project: Project, second: Organization
) -> None:
    def names(organization: Organization) -> list[str]:
        headers = {"X-Organization-Id": str(organization.pk)}
        return [item["name"] for item in api("GET /v1/projects", token, headers=headers).json()["items"]]

    assert names(team.organization) == [project.name]
    assert names(second) == []
    assert api("GET /v1/projects", token).json()["items"] == []  # Aurora comes first by name


def test_header_names_nobody_elses_organization(api: Api, token: str, charlie: Person) -> None:
    theirs = {"X-Organization-Id": str(charlie.membership.organization_id)}
    assert code_of(api("GET /v1/projects", token, headers=theirs)) == (404, "not_found")
    assert code_of(api("GET /v1/projects", token, headers={"X-Organization-Id": "x"})) == (422, "invalid_field")


# Forgeries


def test_forged_tokens_cost_no_query(api: Api, token: str, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    payload = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    none = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    forged = [
        jwt.encode(payload, "another secret, as long as any other would be", algorithm="HS256"),
        f"{none}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        "..",
        "a.b.c",
        jwt.encode(payload | {"exp": int(time.time()) - 1}, settings.SECRET_KEY, algorithm="HS256"),
    ]
    for text in forged:
        with django_assert_num_queries(0):
            assert code_of(api("GET /v1/projects", text)) == (401, "invalid_token")


def test_token_of_a_signed_sid_that_is_no_session_is_refused(api: Api, token: str) -> None:
    payload = jwt.decode(token, options={"verify_signature": False})
    for sid in ("", "AAAA", payload["sid"][:-8]):
        text = jwt.encode(payload | {"sid": sid}, settings.SECRET_KEY, algorithm="HS256")
        assert code_of(api("GET /v1/projects", text)) == (401, "invalid_token")


def test_token_of_another_is_not_ones_own(api: Api, token: str, alice: Person) -> None:
    payload = jwt.decode(token, options={"verify_signature": False})
    text = jwt.encode(payload | {"sub": str(alice.user.pk)}, settings.SECRET_KEY, algorithm="HS256")
    assert code_of(api("GET /v1/projects", text)) == (401, "invalid_token")


def test_token_never_opens_a_page(api: Api, token: str) -> None:
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/").status_code == 302


def test_no_token_is_written_down(api: Api, bob_signs_in: User, caplog: pytest.LogCaptureFixture) -> None:
    found = tokens_of(api, bob_signs_in.email)
    api("GET /v1/projects", found["access_token"])
    api("GET /v1/projects", found["access_token"] + "x")
    written = caplog.text + "".join(str(event.__dict__) for event in AuditEvent.objects.all())
    for text in (found["access_token"], found["refresh_token"], PASSWORD):
        assert text not in written
