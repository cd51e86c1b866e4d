import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Project
from apikeys.models import ApiKey
from tests.accounts.scenes import (
    FRAGMENT,
    event_names,
    everything_in_sessions,
    is_page,
    sign_in_old,
    text_of,
    without_password,
)
from tests.cast import PASSWORD, Issued, Person

KEY = re.compile(r"kp_sk_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}")
REAUTHENTICATE = "/account/reauthenticate/?next=%2Fintegrations%2Fnew%2F"


@pytest.fixture
def filled_in(project: Project) -> dict[str, Any]:
    return {
        "issue_id": str(uuid4()),
        "name": "ci of the checkout",
        "scope": "project",
        "project": str(project.pk),
        "environment": "live",
        "permissions": ["projects:read"],
        "expiry": "90",
    }


def confirm(client: Client, password: str = PASSWORD, *, to: str = "/integrations/new/") -> Any:
    return client.post("/account/reauthenticate/", {"password": password, "next": to})


def way_back(asked: str) -> str:
    """Return the address to which who was asked again comes back."""
    [address] = parse_qs(urlsplit(asked).query)["next"]
    return address


def typed_in(form: Any) -> dict[str, Any]:
    """Return what a browser would send if the form were sent as it is shown."""
    values = {field.name: field.value() for field in form}
    return {name: "" if value is None else value for name, value in values.items()}


@pytest.mark.parametrize("seconds", [0, 15 * 60 - 5])
def test_fresh_sign_in_passes(dana_client: Client, project: Project, seconds: float) -> None:
    sign_in_old(dana_client, seconds=seconds)
    assert dana_client.get("/integrations/new/").status_code == 200


@pytest.mark.parametrize("seconds", [15 * 60 + 1, 24 * 3600])
def test_stale_sign_in_asks_for_the_password(dana_client: Client, project: Project, seconds: float) -> None:
    sign_in_old(dana_client, seconds=seconds)
    response = dana_client.get("/integrations/new/")
    assert (response.status_code, response["Location"]) == (302, REAUTHENTICATE)
    assert "Confirm it is you" in text_of(dana_client.get(REAUTHENTICATE))


def test_stale_sign_in_under_htmx_leads_the_whole_browser_there(dana_client: Client, project: Project) -> None:
    sign_in_old(dana_client)
    response = dana_client.get("/integrations/new/", headers=FRAGMENT)
    assert (response.status_code, response["HX-Redirect"]) == (200, REAUTHENTICATE)


def test_session_that_knows_of_no_sign_in_is_stale(dana_client: Client, project: Project) -> None:
    session = dana_client.session
    del session["account_authentication_methods"]
    session.save()
    assert dana_client.get("/integrations/new/")["Location"] == REAUTHENTICATE


def test_password_leads_back_to_the_form(dana_client: Client, project: Project) -> None:
    sign_in_old(dana_client)
    assert confirm(dana_client)["Location"] == "/integrations/new/"
    assert dana_client.get("/integrations/new/").status_code == 200


def test_confirmation_without_a_password_says_that_nothing_was_confirmed(dana_client: Client) -> None:
    response = confirm(dana_client, "")
    assert response.status_code == 422
    assert "That did not confirm that it is you." in text_of(response)
    assert "Nothing was saved" not in text_of(response)


def test_wrong_password_leads_nowhere(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    dana_client.post("/integrations/new/", filled_in)
    response = confirm(dana_client, "not the password of dana")
    assert "Incorrect password" in text_of(response)
    assert ApiKey.objects.count() == 0
    assert dana_client.get("/integrations/new/")["Location"] == REAUTHENTICATE


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_posted_form_is_filled_in_again_after_the_password(
    dana_client: Client, filled_in: dict[str, Any], headers: dict[str, str]
) -> None:
    sign_in_old(dana_client)
    stopped = dana_client.post("/integrations/new/", filled_in, headers=headers)
    asked = stopped["HX-Redirect" if headers else "Location"]
    assert asked.startswith("/account/reauthenticate/?next=%2Fintegrations%2Fnew%2F%3F")
    assert ApiKey.objects.count() == 0
    come_back = confirm(dana_client, to=way_back(asked))
    assert (come_back.status_code, come_back["Location"]) == (302, way_back(asked))
    assert ApiKey.objects.count() == 0
    form = dana_client.get(come_back["Location"]).context["form"]
    shown = typed_in(form)
    assert {name: shown[name] for name in filled_in if name != "issue_id"} == {
        name: value for name, value in filled_in.items() if name != "issue_id"
    }
    revealed = dana_client.post("/integrations/new/", shown)
    api_key = ApiKey.objects.get()
    assert (api_key.name, str(api_key.project_id), api_key.permissions, api_key.environment) == (
        "ci of the checkout",
        filled_in["project"],
        ["projects:read"],
        "live",
    )
    assert (revealed.status_code, is_page(revealed)) == (200, True)
    assert {match.rpartition("_")[0] for match in KEY.findall(revealed.content.decode())} == {api_key.label}
    assert "no-store" in revealed["Cache-Control"]
    assert event_names(target_table="api_keys") == ["api_key.created"]


@pytest.mark.parametrize(
    "typed",
    [
        {"scope": "team", "project": "", "team": "{team}"},
        {"permissions": ["projects:read", "keys:read"]},
        {"expiry": "date", "expires_on": "2031-05-06"},
        {"name": "a & b = c? ünd # 100%"},
        {"environment": "test"},
    ],
    ids=["team", "permissions", "date", "name", "environment"],
)
def test_every_field_of_the_posted_form_comes_back(
    bob: Person, bob_client: Client, filled_in: dict[str, Any], typed: dict[str, Any]
) -> None:
    [team_id] = bob.principal.team_roles
    sent = filled_in | {name: value.format(team=team_id) if name == "team" else value for name, value in typed.items()}
    sign_in_old(bob_client)
    asked = bob_client.post("/integrations/new/", sent)["Location"]
    come_back = confirm(bob_client, to=way_back(asked))["Location"]
    shown = typed_in(bob_client.get(come_back).context["form"])
    del sent["issue_id"]
    assert {name: shown[name] for name in sent} == sent


def test_password_given_twice_issues_nothing_by_itself(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    back = way_back(dana_client.post("/integrations/new/", filled_in)["Location"])
    for _ in range(2):
        assert confirm(dana_client, to=back)["Location"] == back
        assert dana_client.get(back).status_code == 200
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize("scheme", ["Bearer kp_sk_live_typedbyh_", "Basic "])
def test_posted_form_leaves_nothing_of_itself_in_any_session(
    dana_client: Client, filled_in: dict[str, Any], scheme: str
) -> None:
    sign_in_old(dana_client)
    headers = {"Authorization": f"{scheme}somebodyssecretthatnobodykeeps", "X-Token": "another-secret"}
    stopped = dana_client.post(
        "/integrations/new/", filled_in | {"password": PASSWORD, "note": "not a field"}, headers=headers
    )
    assert stopped.status_code == 302
    # What may come back is in the address, and only that.
    for secret in ("somebodyssecretthatnobodykeeps", "another-secret", "not+a+field", "issue_id", "sentence"):
        assert secret not in unquote(stopped["Location"])
    stored = everything_in_sessions()
    assert "account_authentication_methods" in stored
    for typed in (
        "somebodyssecretthatnobodykeeps",
        "another-secret",
        PASSWORD,
        "not a field",
        "ci of the checkout",
        "Authorization",
        "HTTP_",
    ):
        assert typed not in stored


def test_key_that_was_issued_so_is_in_no_session(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    back = way_back(dana_client.post("/integrations/new/", filled_in)["Location"])
    confirm(dana_client, to=back)
    [key, *_] = KEY.findall(dana_client.post("/integrations/new/", filled_in).content.decode())
    assert key.rpartition("_")[2] not in everything_in_sessions()
    assert "ci of the checkout" not in everything_in_sessions()


def test_form_filled_in_wrongly_comes_back_after_the_password(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    back = way_back(dana_client.post("/integrations/new/", filled_in | {"name": ""})["Location"])
    confirm(dana_client, to=back)
    form = dana_client.get(back)
    assert form.status_code == 200
    assert form.context["form"]["expiry"].value() == filled_in["expiry"]
    refused = dana_client.post("/integrations/new/", typed_in(form.context["form"]) | {"name": ""})
    assert (refused.status_code, ApiKey.objects.count()) == (422, 0)


@pytest.mark.parametrize("method", ["get", "post"])
def test_stale_without_a_password_signs_in_again(
    dana: Person, dana_client: Client, filled_in: dict[str, Any], method: str, sign_in_as: Callable[[Person], Client]
) -> None:
    without_password(dana)
    dana.user.refresh_from_db()
    client = sign_in_as(dana)
    sign_in_old(client)
    response = getattr(client, method)("/integrations/new/", filled_in if method == "post" else None)
    assert response["Location"].startswith("/account/confirm/?")
    back = urlsplit(way_back(response["Location"]))
    kept = {} if method == "get" else {name: filled_in[name] for name in filled_in if name != "issue_id"}
    assert (back.path, {name: [value] if isinstance(value, str) else value for name, value in kept.items()}) == (
        "/integrations/new/",
        parse_qs(back.query),
    )
    assert "Confirm it is you" in text_of(client.get(response["Location"]))
    assert ApiKey.objects.count() == 0


def test_revoking_never_waits_for_a_password(dana_client: Client, issued: Issued) -> None:
    sign_in_old(dana_client)
    response = dana_client.post(f"/keys/{issued.row.pk}/revoke/", {"reason": "leaked"})
    assert response.status_code == 302
    assert ApiKey.objects.get().is_revoked


@pytest.mark.parametrize("is_old", [True, False])
def test_api_call_of_a_session_needs_a_recent_sign_in_to_issue(
    dana_client: Client, project: Project, is_old: bool
) -> None:
    if is_old:
        sign_in_old(dana_client)
    body = {
        "name": "ci",
        "scope": "project",
        "project_id": str(project.pk),
        "permissions": ["projects:read"],
        "expires_in_days": 30,
    }
    response = dana_client.post("/v1/api-keys", body, content_type="application/json")
    expected = (403, "recent_sign_in_required", 0) if is_old else (201, None, 1)
    assert (response.status_code, response.json().get("code"), ApiKey.objects.count()) == expected
