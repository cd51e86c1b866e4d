import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import reverse

from audit import visibility
from audit.context import Actor, Place
from audit.models import AuditEvent
from tests.audit.happenings import BOB, NOON, Happen
from tests.audit.people import People

URL = "/audit/"
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def here(people: People) -> Place:
    return Place(people.alice.organization_id)


def labels(response: Any) -> list[str]:
    return [event.target_label for event in response.context["events"]]


def test_page_lists_events_newest_first(alice_client: Client, here: Place, happen: Happen) -> None:
    happen(place=here, target_label="green")
    happen(place=here, target_label="red")
    response = alice_client.get(reverse("audit-list"))
    assert response.status_code == 200
    assert labels(response)[:2] == ["red", "green"]
    assert "audit/event_list.html" in [template.name for template in response.templates]
    assert "safe.inspected" in response.text
    assert 'href="/audit/" aria-current="true"' in response.text


def test_page_tells_what_became_of_an_organization(alice_client: Client) -> None:
    told = [(event.event, event.target_label) for event in alice_client.get(URL).context["events"]]
    assert ("organization.created", "Acme") in told
    assert told[:4] == [
        ("user.signed_in", "alice@example.com"),
        ("team_membership.created", "dana@example.com in Payments"),
        ("organization_membership.created", "dana@example.com"),
        ("team.created", "Payments"),
    ]


def test_page_shows_a_super_admin_who_made_which_account(alice_client: Client) -> None:
    response = alice_client.get(f"{URL}?target_table=users&action=create")
    # Set-up knew the organization; Dana's account was made before she was in any.
    assert [(row.event, row.target_label) for row in response.context["events"]] == [
        ("user.created", "alice@example.com")
    ]


def test_fragment_is_the_table_alone(alice_client: Client, here: Place, happen: Happen) -> None:
    happen(place=here, target_label="green")
    response = alice_client.get(URL, headers=FRAGMENT)
    assert response.status_code == 200
    assert response.templates[0].name == "audit/_event_table.html"
    assert "<html" not in response.text
    assert "green" in response.text


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_page_and_fragment_vary_by_what_asked(alice_client: Client, headers: dict[str, str]) -> None:
    assert "HX-Request" in alice_client.get(URL, headers=headers)["Vary"]


def test_stranger_sees_nothing(charlie_client: Client, here: Place, happen: Happen) -> None:
    happen(place=here, target_label="green")
    response = charlie_client.get(URL)
    # Their own sign-in, membership and organization.
    assert labels(response) == ["charlie@example.com", "charlie@example.com", "Elsewhere"]
    assert "green" not in response.text


def test_developer_sees_their_own_doings_only(dana_client: Client, people: People, here: Place, happen: Happen) -> None:
    happen(place=here, target_label="green")
    dana = Actor("user", id=people.dana.user_id, label="dana@example.com")
    happen(place=here, target_label="red", actor=dana)
    assert labels(dana_client.get(URL)) == ["red", "dana@example.com"]


def test_nobody_sees_anything_while_no_rule_is_set(alice_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_rules", [])
    with pytest.raises(ImproperlyConfigured):
        alice_client.get(URL)


def test_page_cannot_be_posted_to(alice_client: Client) -> None:
    assert alice_client.post(URL).status_code == 405


@pytest.fixture
def varied(here: Place, happen: Happen) -> None:
    happen(place=here, target_label="old", at=NOON - dt.timedelta(days=1))
    happen(place=here, target_label="green", target_table="chests")
    happen(place=here, target_label="red", action="update", actor=BOB)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"target_table": "safes"}, ["red", "old"]),
        ({"target_table": "safes", "action": "update"}, ["red"]),
        ({"actor": "BOB"}, ["red"]),
        ({"label": "gree"}, ["green"]),
        ({"to": "2025-03-04"}, ["old"]),
        ({"target_table": "safes", "from": "2025-03-05", "to": "2025-03-05"}, ["red"]),
        ({"actor": "nobody"}, []),
    ],
)
def test_page_filters(alice_client: Client, varied: None, query: dict[str, str], found: list[str]) -> None:
    response = alice_client.get(URL, query)
    assert labels(response) == found
    assert response.context["has_filters"] is True


def test_page_without_filters_says_so(alice_client: Client, varied: None) -> None:
    response = alice_client.get(URL, {"target_table": "", "actor": " ", "unknown": "x"})
    assert len(labels(response)) == AuditEvent.objects.for_place(response.context["events"][0].organization_id).count()
    assert response.context["has_filters"] is False


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"target_table": "cellars"},
        {"before": "x"},
        {"before": "9" * 30},
        {"actor": "\x00"},
    ],
)
def test_filter_that_makes_no_sense_is_refused_and_named(
    alice_client: Client, varied: None, query: dict[str, str], headers: dict[str, str]
) -> None:
    response = alice_client.get(URL, query, headers=headers)
    assert response.status_code == 422
    assert labels(response) == []
    assert response.context["has_filters"] is True
    [field] = query
    assert list(response.context["form"].errors) == [field if field != "before" else "__all__"]


def test_pages_lead_to_older_events_and_back(alice_client: Client, here: Place, happen: Happen) -> None:
    for number in range(51):
        happen(place=here, target_label=f"#{number}")
    happen(place=here, target_table="chests")
    newest = alice_client.get(URL, {"target_table": "safes", "page": "7"})
    assert labels(newest) == [f"#{number}" for number in range(50, 0, -1)]
    assert newest.context["newest_url"] == ""
    older = alice_client.get(newest.context["older_url"])
    assert labels(older) == ["#0"]
    assert older.context["older_url"] == ""
    assert older.context["newest_url"] == "/audit/?target_table=safes"
    assert labels(alice_client.get(older.context["newest_url"])) == labels(newest)


def test_way_back_without_filters_is_the_bare_address(alice_client: Client, here: Place, happen: Happen) -> None:
    event = happen(place=here)
    assert alice_client.get(URL, {"before": event.pk}).context["newest_url"] == URL


def test_label_is_shown_as_text_whatever_it_holds(alice_client: Client, here: Place, happen: Happen) -> None:
    happen(
        place=here,
        target_label="<b onclick=x>",
        changes={"<i>": ["<u>", "<s>"]},
        actor=Actor("user", label="<p x>"),
    )
    text = alice_client.get(URL).text
    assert "&lt;b onclick=x&gt;" in text
    for markup in ("<b onclick", "<i>", "<u>", "<s>", "<p x>"):
        assert markup not in text


@pytest.mark.parametrize("count", [1, 3])
def test_query_count_does_not_grow(
    alice_client: Client,
    here: Place,
    happen: Happen,
    count: int,
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    for _ in range(count):
        happen(place=here)
    # That the session is in use is noted once a minute.
    alice_client.get(URL)
    # The session, the person, their memberships and roles, and the events.
    with django_assert_num_queries(5):
        response = alice_client.get(URL, {"target_table": "safes"})
    assert len(labels(response)) == count
