"""Pictures of every page in both themes and at two widths: `python -m tests.e2e.screenshots DIRECTORY [NAME …]`.

With names of stops, only of those. One that shows what an earlier one left behind needs that one named as well.
"""

import sys
import tempfile
from itertools import chain
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import CHROMIUM_FLAGS
from tests.e2e.tour import PARTS, WIDTHS, Tour, in_both_themes, visitors
from tests.services import Portal, find_program


def main(directory: Path, names: list[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        demo, bare = Portal(Path(work, "demo"), is_demo=True), Portal(Path(work, "bare"))
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=[*CHROMIUM_FLAGS])
        try:
            tour = Tour(demo.start(), bare.start())
            tour.prepare(browser)
            for width in WIDTHS:
                picture(browser, tour, width, directory, names)
        finally:
            browser.close()
            demo.stop()
            bare.stop()


def picture(browser: Browser, tour: Tour, width: int, directory: Path, names: list[str]) -> None:
    with visitors(browser, tour, width) as page_of:
        for stop in chain.from_iterable(PARTS.values()):
            if names and stop.name not in names:
                continue
            page, _ = page_of(stop.visitor)
            stop.visit(page, tour)
            page.evaluate("scrollTo(0, 0)")
            # A dialog is as high as the window, whatever the height of the page below it.
            is_whole = page.locator("dialog[open]").count() == 0
            for theme in in_both_themes(page):
                page.screenshot(path=directory / f"{stop.name}-{theme}-{width}.png", full_page=is_whole)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
