"""Every page in both themes and at both widths: axe, the width, the console and the content policy."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page

from tests.e2e.steps import Complaints
from tests.e2e.tour import PARTS, WIDTHS, Stop, Tour, in_both_themes, visitors
from tests.services import Portal

AXE = Axe().axe_script
# What passed is not asked for: it is a hundred times as long. Preloading would fetch style sheets for no rule of use.
RUN = """(rules) => axe.run({
  resultTypes: ["violations"], preload: false, iframes: false, ...(rules && {runOnly: rules}),
}).then((results) => results.violations)"""
# A theme changes colours and nothing else, so the rules that look at no colour are asked once.
COLOUR_RULES = ["color-contrast", "link-in-text-block"]


@pytest.fixture(scope="session")
def tour(demo_portal: Portal, bare_portal: Portal, browser: Browser) -> Tour:
    tour = Tour(demo_portal, bare_portal)
    tour.prepare(browser)
    return tour


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("part", PARTS)
def test_every_page_is_accessible_fits_and_is_quiet_in_both_themes(
    part: str, width: int, tour: Tour, browser: Browser
) -> None:
    failures: list[str] = []
    with visitors(browser, tour, width) as page_of:
        for stop in PARTS[part]:
            page, complaints = page_of(stop.visitor)
            failures += [f"{stop.name}: {failure}" for failure in visit(stop, page, tour, complaints)]
    assert not failures, "\n".join(failures)


def visit(stop: Stop, page: Page, tour: Tour, complaints: Complaints) -> list[str]:
    complaints.found.clear()
    try:
        stop.visit(page, tour)
    except (AssertionError, Error) as error:
        return [f"could not be shown: {error}", *complaints.found]
    # Taken before axe runs: the content policy refuses the inline styles that axe tries out.
    failures = [*complaints.found, *sideways(page), *dead_links(page)]
    page.evaluate(AXE)
    for theme in in_both_themes(page):
        rules = COLOUR_RULES if theme == "dark" else None
        failures += [f"{theme}: {violation}" for violation in violations(page, rules)]
    return failures


def sideways(page: Page) -> list[str]:
    width: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [f"scrolls sideways by {width} px"] if width > 0 else []


def dead_links(page: Page) -> list[str]:
    """A link without an address leads to the page itself, which a URL that a template lost looks like."""
    texts: list[str] = page.locator("a:is([href=''], :not([href]))").all_inner_texts()
    return [f"the link “{text}” leads nowhere" for text in texts]


def violations(page: Page, rules: list[str] | None) -> list[str]:
    found: list[dict[str, Any]] = page.evaluate(RUN, rules)
    return [
        f"{violation['id']} ({violation['help']}): {node['target']} {node['html'][:160]} {reasons(node)}"
        for violation in found
        for node in violation["nodes"]
    ]


def reasons(node: dict[str, Any]) -> list[str]:
    return [check["message"] for check in (*node["any"], *node["all"], *node["none"])]
