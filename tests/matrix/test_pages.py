"""Every page that changes something, by everyone, about what is in every place."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.urls import get_resolver

from apikeys.models import ApiKey
from tests.matrix import grids
from tests.matrix.calls import Answer, attempt
from tests.matrix.grids import ALLOWED, SIGN_IN, outcome
from tests.matrix.pages import ASIDE, PAGES
from tests.matrix.world import Caller, World
from tests.test_sweeps import filled_in, patterns

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
AUDIT = "audit_event"


def submit(world: World, name: str, caller: Caller, place: str) -> Answer:
    page = PAGES[name]
    form = urlencode(page.form(world, place), doseq=True)
    return attempt(caller, "post", page.url(world, name, place), data=form, content_type=FORM)


def cell_of(response: Any) -> str:
    """Return the cell that an answer belongs in, where a page sends people to sign in."""
    is_asked = response.headers.get("Location", "").startswith("/account/sign-in/")
    return SIGN_IN if is_asked else outcome(response.status_code)


def test_every_page_of_ours_that_takes_a_form_is_in_the_matrix(world: World) -> None:
    found = set()
    for path, entry in patterns(get_resolver()):
        if entry.callback.__module__.startswith(("accounts.", "apikeys.", "audit.")) and not path.startswith("v1/"):
            # No page takes this method, and says which it does.
            answer = attempt(world.callers["alice"], "put", filled_in(path))
            if "POST" in answer.response.headers.get("Allow", ""):
                found.add(str(entry.name))
    assert found == PAGES.keys() | ASIDE.keys()
    assert not PAGES.keys() & ASIDE.keys()


@pytest.mark.parametrize("caller", grids.PEOPLE)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_allowed_to_whom_it_should_be(world: World, name: str, caller: str) -> None:
    page = PAGES[name]
    answers = {place: submit(world, name, world.callers[caller], place) for place in page.grid.places}
    assert {place: cell_of(answer.response) for place, answer in answers.items()} == page.grid.rows[caller]
    for place, answer in answers.items():
        if page.writes and page.grid.rows[caller][place] == ALLOWED:
            assert {page.writes, AUDIT} <= answer.written.keys(), place
        else:
            assert answer.has_changed_nothing, (place, answer.written)


@pytest.mark.parametrize("name", PAGES)
def test_page_without_the_csrf_token_changes_nothing(world: World, name: str) -> None:
    place = next(iter(PAGES[name].grid.places))
    answer = submit(world, name, Caller(world.callers["alice"].client), place)
    assert answer.status == 403
    assert answer.has_changed_nothing


@pytest.mark.parametrize("action", ["disable", "revoke"])
@pytest.mark.parametrize("caller", grids.PEOPLE)
def test_bulk_page_ends_what_its_caller_may_end_and_nothing_else(world: World, caller: str, action: str) -> None:
    grid, who = grids.PEOPLE_MANAGE_KEYS, world.callers[caller]
    page = attempt(who, "get", "/integrations/bulk/?q=target")
    assert page.has_changed_nothing
    text = page.response.content.decode()
    digest = re.search(r'name="digest" value="([^"]*)"', text)
    count = re.search(r"Type (\d+) to confirm", html.unescape(text))
    form = {"q": "target", "action": action, "reason": "It is over."}
    form |= {"digest": digest[1] if digest else "", "count": count[1] if count else "0"}
    with transaction.atomic():
        response = who.call("post", "/integrations/bulk/", data=urlencode(form), content_type=FORM)
        rows = {str(row.pk): row for row in ApiKey.objects.filter(pk__in=world.ids["key"].values())}
        ended = {place for place, one in world.ids["key"].items() if rows[one].disabled_at or rows[one].revoked_at}
        transaction.set_rollback(True)
    assert ended == grid.allowed(caller)
    assert cell_of(response) == (ALLOWED if ended else SIGN_IN if caller == "nobody" else "x")
