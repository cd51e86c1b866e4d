"""What people say about themselves, and the time zone in which pages tell them the time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import actions, timezones
from accounts.actions.profile import change_profile
from accounts.models import User
from audit.models import AuditEvent
from tests.accounts.scenes import LogIsFull, acting_as, by, last_event, queries_of, text_of
from tests.cast import NOON, PASSWORD, Issued, Person

PROFILE = {"name": "Dana Cohen", "company": "Northwind", "job_title": "Release engineer", "time_zone": "Asia/Tokyo"}
URL = "/account/profile/"


def saved(person: Person) -> dict[str, str]:
    user = User.objects.get(pk=person.user.pk)
    return {name: getattr(user, name) for name in PROFILE}


def test_change_profile_keeps_what_was_said_without_the_space_around_it(dana: Person) -> None:
    change_profile(user=dana.user, **(PROFILE | {"name": "  Dana Cohen ", "company": " Northwind"}))
    assert saved(dana) == PROFILE


def test_change_profile_is_on_record_without_its_words(dana: Person) -> None:
    with acting_as(dana):
        change_profile(user=dana.user, **PROFILE)
    event = last_event()
    assert {name: event[name] for name in by(dana)} == by(dana)
    assert (event["event"], event["target_label"]) == ("user.updated", dana.email)
    assert set(event["changes"]) == set(PROFILE)
    assert not [word for word in PROFILE.values() if word in str(event["changes"])]


def test_change_profile_saves_nothing_if_its_audit_row_fails(dana: Person, broken_log: None) -> None:
    before = saved(dana)
    with pytest.raises(LogIsFull), transaction.atomic():
        change_profile(user=dana.user, **PROFILE)
    assert saved(dana) == before


def test_profile_page_saves_and_shows_what_was_saved(dana: Person, dana_client: Client) -> None:
    response = dana_client.post(URL, PROFILE)
    assert (response.status_code, response["Location"]) == (302, URL)
    assert saved(dana) == PROFILE
    page = dana_client.get(URL)
    assert "Profile saved." in text_of(page)
    assert page.context["form"].initial == PROFILE


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("", ""), ("asia/tokyo", "Asia/Tokyo"), ("America/New York", "America/New_York"), ("UTC", "UTC")],
)
def test_time_zone_is_kept_as_the_database_of_zones_writes_it(
    dana: Person, dana_client: Client, typed: str, kept: str
) -> None:
    assert dana_client.post(URL, PROFILE | {"time_zone": typed}).status_code == 302
    assert saved(dana)["time_zone"] == kept


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Factory", "Europe", "x" * 65])
def test_time_zone_that_is_none_is_refused(dana: Person, dana_client: Client, zone: str) -> None:
    before = saved(dana)
    response = dana_client.post(URL, PROFILE | {"time_zone": zone})
    assert response.status_code == 422
    assert set(response.context["form"].errors) == {"time_zone"}
    assert saved(dana) == before


@pytest.mark.parametrize("field", ["name", "company", "job_title"])
@pytest.mark.parametrize("text", ["x" * 101, "left\u202eright"])
def test_words_that_cannot_be_shown_are_refused(dana_client: Client, field: str, text: str) -> None:
    response = dana_client.post(URL, PROFILE | {field: text})
    assert (response.status_code, set(response.context["form"].errors)) == (422, {field})


def test_key_that_is_pasted_into_the_profile_is_refused(dana_client: Client, issued: Issued) -> None:
    response = dana_client.post(URL, PROFILE | {"company": issued.text})
    assert (response.status_code, set(response.context["form"].errors)) == (422, {"company"})


def test_profile_page_is_there_for_people_in_no_organization(db: None, client: Client) -> None:
    user = actions.create_user(email="nils@example.com", password=PASSWORD, name="Nils", at=NOON)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get(URL).status_code == 200
    assert client.post(URL, PROFILE).status_code == 302
    assert User.objects.get(pk=user.pk).company == "Northwind"


def test_profile_page_costs_the_same_with_words_and_without(dana: Person, dana_client: Client) -> None:
    without = queries_of(dana_client, URL)
    change_profile(user=dana.user, **PROFILE)
    assert queries_of(dana_client, URL) == without


@pytest.mark.parametrize(
    ("name", "email", "initials"),
    [
        ("Dana Cohen", "x@example.com", "DC"),
        ("Juan Carlos de la Vega", "x@example.com", "JV"),
        ("dana", "x@example.com", "D"),
        ("", "quinn@example.com", "Q"),
        ("(((", "quinn@example.com", "Q"),
        ("ßöse Straße", "x@example.com", "SS"),
    ],
)
def test_initials_are_of_the_first_and_last_word(name: str, email: str, initials: str) -> None:
    assert User(name=name, email=email).initials == initials


def test_account_menu_says_an_address_once_where_there_is_no_name(dana: Person, dana_client: Client) -> None:
    assert dana_client.get("/projects/").content.decode().count(dana.email) == 1
    assert "<strong>Dana</strong>" in dana_client.get("/projects/").content.decode()
    change_profile(user=dana.user, **(PROFILE | {"name": ""}))
    page = dana_client.get("/projects/").content.decode()
    assert page.count(dana.email) == 1
    assert f"<strong>{dana.email}</strong></span>" in page
    assert 'href="/account/profile/"' in page


# The time


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("", "2026-03-02 12:00 UTC"),
        ("Asia/Tokyo", "2026-03-02 21:00 Asia/Tokyo"),
        ("Pacific/Apia", "2026-03-03 01:00 Pacific/Apia"),
        ("Mars/Olympus", "2026-03-02 12:00 UTC"),
    ],
)
def test_pages_tell_the_time_in_the_chosen_zone_and_name_it(
    bob: Person, bob_client: Client, issued: Issued, zone: str, shown: str
) -> None:
    change_profile(user=bob.user, **(PROFILE | {"time_zone": zone}))
    page = bob_client.get(f"/keys/{issued.row.pk}/").content.decode()
    assert f'<time datetime="2026-03-02T12:00:00+00:00" title="{shown}">' in page


def test_zone_of_one_page_is_not_that_of_the_next(bob: Person, bob_client: Client, alice_client: Client) -> None:
    change_profile(user=bob.user, **PROFILE)
    bob_client.get("/audit/")
    assert timezone.get_current_timezone_name() == "UTC"
    assert "Asia/Tokyo" not in alice_client.get("/audit/").content.decode()


def test_api_says_utc_to_a_session_in_another_zone(bob: Person, bob_client: Client, issued: Issued) -> None:
    change_profile(user=bob.user, **PROFILE)
    said = bob_client.get(f"/v1/api-keys/{issued.row.pk}").json()["created_at"]
    assert datetime.fromisoformat(said) == NOON
    assert said.endswith(("Z", "+00:00"))


def test_zone_of_someone_is_theirs_or_utc() -> None:
    assert timezones.zone_of(User(time_zone="Asia/Tokyo")) == ZoneInfo("Asia/Tokyo")
    assert timezones.zone_of(User()).utcoffset(NOON) == datetime.now(UTC).utcoffset()


def test_zones_to_choose_from_are_places_and_utc() -> None:
    names = timezones.names()
    assert {"UTC", "Europe/Berlin", "Asia/Kolkata"} <= set(names)
    assert not {"Factory", "localtime", "posixrules"} & set(names)


def test_profile_of_the_anonymous_asks_for_a_sign_in(alice: Person) -> None:
    assert Client().get(URL)["Location"] == f"/account/sign-in/?next={URL}"
    assert not AuditEvent.objects.filter(event="user.updated").exists()
