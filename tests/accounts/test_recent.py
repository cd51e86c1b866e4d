import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.models import Project
from apikeys.models import ApiKey
from tests.accounts.scenes import FRAGMENT, event_names, is_page, sign_in_old, text_of, without_password
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


def confirm(client: Client, password: str = PASSWORD) -> Any:
    return client.post("/account/reauthenticate/", {"password": password, "next": "/integrations/new/"})


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


def test_wrong_password_leads_nowhere(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    dana_client.post("/integrations/new/", filled_in)
    response = confirm(dana_client, "not the password of dana")
    assert "Incorrect password" in text_of(response)
    assert ApiKey.objects.count() == 0
    assert dana_client.get("/integrations/new/")["Location"] == REAUTHENTICATE


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "fragment"])
def test_posted_form_goes_on_after_the_password(
    dana_client: Client, filled_in: dict[str, Any], headers: dict[str, str]
) -> None:
    sign_in_old(dana_client)
    stopped = dana_client.post("/integrations/new/", filled_in, headers=headers)
    assert stopped["HX-Redirect" if headers else "Location"] == REAUTHENTICATE
    assert ApiKey.objects.count() == 0
    revealed = confirm(dana_client)
    api_key = ApiKey.objects.get()
    assert (api_key.name, api_key.project_id, api_key.permissions) == (
        "ci of the checkout",
        api_key.project_id,
        ["projects:read"],
    )
    # It answers the password's plain form, so it is a page, however the first form was sent.
    assert (revealed.status_code, is_page(revealed)) == (200, True)
    assert {match.rpartition("_")[0] for match in KEY.findall(revealed.content.decode())} == {api_key.label}
    assert "no-store" in revealed["Cache-Control"]
    assert event_names(target_table="api_keys") == ["api_key.created"]


def test_posted_form_goes_on_once(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    dana_client.post("/integrations/new/", filled_in)
    confirm(dana_client)
    again = confirm(dana_client)
    assert again["Location"] == "/integrations/new/"
    assert ApiKey.objects.count() == 1


def test_key_that_was_issued_so_is_in_no_session(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    dana_client.post("/integrations/new/", filled_in)
    [key, *_] = KEY.findall(confirm(dana_client).content.decode())
    sessions = "".join(str(session.get_decoded()) for session in Session.objects.all())
    assert key.rpartition("_")[2] not in sessions
    assert "ci of the checkout" not in sessions


def test_form_filled_in_wrongly_comes_back_after_the_password(dana_client: Client, filled_in: dict[str, Any]) -> None:
    sign_in_old(dana_client)
    dana_client.post("/integrations/new/", filled_in | {"scope": "org"})
    response = confirm(dana_client)
    assert response.status_code == 422
    assert 'value="ci of the checkout"' in response.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_stale_without_a_password_signs_in_again(
    dana: Person, dana_client: Client, filled_in: dict[str, Any], method: str, sign_in_as: Callable[[Person], Client]
) -> None:
    without_password(dana)
    dana.user.refresh_from_db()
    client = sign_in_as(dana)
    sign_in_old(client)
    response = getattr(client, method)("/integrations/new/", filled_in if method == "post" else None)
    assert response["Location"] == "/account/confirm/?next=%2Fintegrations%2Fnew%2F"
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
