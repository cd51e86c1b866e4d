"""Every page that changes something, by everyone, about what is in every place."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.urls import get_resolver, reverse

from accounts.rights import RULES, Right
from apikeys.models import ApiKey
from tests.matrix import grids
from tests.matrix.calls import Answer, attempt
from tests.matrix.grids import ALLOWED, FORBIDDEN, INVALID, SIGN_IN, outcome
from tests.matrix.pages import ASIDE, LISTS, LOOKING, PAGES, WITHOUT_RIGHT
from tests.matrix.people import NAMES, here, may_anywhere
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


def test_every_page_about_one_thing_is_in_the_matrix() -> None:
    named = {
        str(entry.name)
        for path, entry in patterns(get_resolver())
        if "<uuid:" in path and entry.callback.__module__.startswith(("accounts.", "apikeys.", "audit."))
    }
    assert named <= PAGES.keys() | LOOKING.keys()


def test_every_page_names_its_right_or_why_there_is_none() -> None:
    ours = {
        str(entry.name)
        for path, entry in patterns(get_resolver())
        if entry.callback.__module__.startswith(("accounts.", "apikeys.", "audit.")) and not path.startswith("v1/")
        # Who is in no organization, or not signed in, holds no right in one: those pages are about nobody else.
        if getattr(entry.callback, "organization_required", True) and getattr(entry.callback, "login_required", True)
    }
    tables = PAGES | LOOKING
    assert all(page.grid.rights or page.grid.why for page in tables.values())
    assert ours - tables.keys() - ASIDE.keys() == LISTS.keys() | WITHOUT_RIGHT.keys()
    named = {right for page in tables.values() for right in page.grid.rights} | set(LISTS.values())
    assert not LISTS.keys() & WITHOUT_RIGHT.keys()
    assert named <= RULES.keys()


@pytest.mark.parametrize("caller", grids.PEOPLE)
@pytest.mark.parametrize("name", LISTS)
def test_list_is_shown_to_whom_it_should_be(world: World, name: str, caller: str) -> None:
    answer = attempt(world.callers[caller], "get", reverse(name))
    expected = SIGN_IN if caller not in NAMES else ALLOWED if here(caller, LISTS[name]) else FORBIDDEN
    assert cell_of(answer.response) == expected
    assert answer.has_changed_nothing


@pytest.mark.parametrize("caller", grids.PEOPLE)
@pytest.mark.parametrize("name", LOOKING)
def test_page_is_shown_to_whom_it_should_be(world: World, name: str, caller: str) -> None:
    page = LOOKING[name]
    answers = {place: attempt(world.callers[caller], "get", page.url(world, name, place)) for place in page.grid.places}
    assert {place: cell_of(answer.response) for place, answer in answers.items()} == page.grid.rows[caller]
    assert all(answer.has_changed_nothing for answer in answers.values())


@pytest.mark.parametrize("caller", [name for name in grids.PEOPLE if name != "nobody"])
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_export_holds_what_may_be_seen_and_nothing_else(world: World, caller: str, suffix: str) -> None:
    with transaction.atomic():
        response = world.callers[caller].call("post", f"/integrations/export.{suffix}")
        # It is made as it is read.
        text = response.getvalue().decode()
        transaction.set_rollback(True)
    seen = {place for place, key_id in world.ids["key"].items() if key_id in text}
    assert seen == grids.SEE_KEYS.allowed(caller)


@pytest.mark.parametrize("caller", [name for name in grids.PEOPLE if name != "nobody"])
def test_whose_key_it_is_is_told_of_what_may_be_seen_and_nothing_else(world: World, caller: str) -> None:
    labels = {place: ApiKey.objects.get(pk=key_id).label for place, key_id in world.ids["key"].items()}
    response = world.callers[caller].call(
        "post", "/keys/whose/", data=urlencode({"label": " ".join(labels.values())}), content_type=FORM
    )
    told = {row.api_key.label for row, _ in response.context["rows"]}
    assert {place for place, label in labels.items() if label in told} == grids.SEE_KEYS.allowed(caller)


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
    may_end = caller != "nobody" and may_anywhere(caller, Right.PROJECT_KEYS_ISSUE)
    # Who may end keys and finds none is told so; who may end none gets no form.
    refusal = SIGN_IN if caller == "nobody" else INVALID if may_end else FORBIDDEN
    assert cell_of(response) == (ALLOWED if ended else refusal)
