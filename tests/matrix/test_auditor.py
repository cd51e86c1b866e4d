"""What an auditor meets: all of the organization, and nothing to change it with."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, resolve

from tests.matrix.calls import attempt
from tests.matrix.pages import LOOKING, PAGES
from tests.matrix.world import World

pytestmark = pytest.mark.django_db
# What these lead to changes the looker's own session or account, and hands out no more than is seen.
OWN = {"organization-switch", "theme-set"}
LISTS = (
    "/",
    "/integrations/",
    "/integrations/?q=target",
    "/integrations/sdk-keys/",
    "/organization/keys/",
    "/people/",
    "/people/left/",
    "/projects/",
    "/teams/",
    "/audit/",
    "/keys/whose/",
)
_LINK = re.compile(r'(?:href|action|formaction|hx-get|hx-post)="(/[^"]*)"')


def offered(text: str) -> Iterator[str]:
    """Yield the names of the pages to which a page leads."""
    for link in _LINK.findall(text):
        try:
            yield str(resolve(urlsplit(link).path).url_name)
        except Resolver404:
            continue  # a file


@pytest.mark.parametrize("path", LISTS)
def test_list_offers_an_auditor_nothing_that_changes(world: World, path: str) -> None:
    answer = attempt(world.callers["ursula"], "get", path)
    assert answer.status == 200
    assert set(offered(answer.response.content.decode())) & PAGES.keys() <= OWN


@pytest.mark.parametrize("name", LOOKING)
def test_page_of_one_thing_offers_an_auditor_nothing_that_changes(world: World, name: str) -> None:
    page = LOOKING[name]
    for place in page.grid.places:
        answer = attempt(world.callers["ursula"], "get", page.url(world, name, place))
        assert answer.status == (404 if place == "elsewhere" else 200), place
        assert set(offered(answer.response.content.decode())) & PAGES.keys() <= OWN, place


def test_super_admin_is_offered_what_changes(world: World) -> None:
    """So that the tests above would find it."""
    found: set[str] = set()
    for path in LISTS:
        found |= set(offered(attempt(world.callers["alice"], "get", path).response.content.decode()))
    for name, page in LOOKING.items():
        found |= set(
            offered(attempt(world.callers["alice"], "get", page.url(world, name, "team")).response.content.decode())
        )
    assert {"key-issue", "people-invite", "invitation-resend", "team-create", "person-role", "key-revoke"} <= found
