from tests.e2e.test_accessibility import *
from tests.e2e import tour as t
MINE = {"disable-dialog","enable-page","edit-dialog","edit-widened","bulk","bulk-errors","bulk-refused"}
del test_every_page_is_accessible_fits_and_is_quiet_in_both_themes
@pytest.mark.parametrize("width", WIDTHS)
def test_mine(width, tour, browser):
    failures=[]; seen=[]
    with visitors(browser, tour, width) as page_of:
        for part in PARTS.values():
            for stop in part:
                if stop.name in MINE:
                    page, complaints = page_of(stop.visitor); seen.append(stop.name)
                    failures += [f"{stop.name}: {f}" for f in visit(stop, page, tour, complaints)]
    assert not failures, "\n".join(failures)
    assert set(seen) == MINE
