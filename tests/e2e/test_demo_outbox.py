"""The mails of a demo, which leave it for nobody: anyone in it reads them on a page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import Complaints, demo_people, heading, sign_in
from tests.e2e.test_accessibility import AXE, sideways, violations
from tests.e2e.tour import WIDTHS, in_both_themes
from tests.services import Portal


@pytest.fixture(scope="module")
def served_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    portal = Portal(tmp_path_factory.mktemp("served-demo"), is_demo=True)
    portal.is_served_as_demo = True
    try:
        yield portal.start()
    finally:
        portal.stop()


@pytest.mark.parametrize("width", WIDTHS)
def test_mails_are_read_in_the_demo_and_printed_nowhere(
    served_demo: Portal, page: Page, complaints: Complaints, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    sign_in(page, served_demo, demo_people(served_demo)[2])
    page.goto(f"{served_demo.url}/demo/outbox/")
    expect(heading(page, "Mails of the demo")).to_be_visible()
    page.locator("summary").filter(has_text="Read it").first.click()
    expect(page.locator(".letter").first).to_contain_text("You get this mail because")
    assert complaints.found == []
    assert sideways(page) == []
    page.evaluate(AXE)
    for _ in in_both_themes(page):
        assert violations(page, None) == []
    assert "Message-ID" not in served_demo.log_text()
