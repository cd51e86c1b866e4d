import pytest

from tests.services import ROOT
from tests.test_gates import PINNED_AND_HASHED

pytestmark = pytest.mark.pure

REQUIREMENTS = (ROOT / "bench" / "requirements.txt").read_text(encoding="utf-8")


def test_the_rivals_are_pinned_and_hashed() -> None:
    for requirement in REQUIREMENTS.replace("\\\n", " ").splitlines():
        assert PINNED_AND_HASHED.fullmatch(requirement)


@pytest.mark.parametrize("name", ["django", "gunicorn", "psycopg", "argon2-cffi"])
def test_the_rivals_run_on_what_keyportal_runs_on(name: str) -> None:
    base = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    [ours] = [line.split()[0] for line in base.splitlines() if line.startswith((f"{name}==", f"{name}["))]
    [theirs] = [line.split()[0] for line in REQUIREMENTS.splitlines() if line.startswith(f"{name}==")]
    assert theirs == ours
