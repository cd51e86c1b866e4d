import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyportal.secrets import read_or_make
from tests.services import ROOT

pytestmark = pytest.mark.pure

MAKE = "import sys, pathlib; from keyportal.secrets import read_or_make; print(read_or_make(pathlib.Path(sys.argv[1])))"


def test_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret_key"
    secret = read_or_make(path)
    assert len(secret) == 67
    assert read_or_make(path) == secret
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret_key"
    read_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_secret_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.write_text("  chosen by the operator\n", encoding="ascii")
    assert read_or_make(path) == "chosen by the operator"


def test_secrets_of_two_portals_differ(tmp_path: Path) -> None:
    assert read_or_make(tmp_path / "a") != read_or_make(tmp_path / "b")


def test_processes_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret_key"
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    secrets = {process.communicate(timeout=60)[0].strip() for process in started}
    assert secrets == {read_or_make(path)}
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_threads_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}"
        with ThreadPoolExecutor(8) as executor:
            assert len(set(executor.map(read_or_make, [path] * 8))) == 1


def test_secret_lost_to_another_process_is_the_other_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret_key"

    def link(_draft: Path, target: Path) -> None:
        Path(target).write_text("the other one", encoding="ascii")
        raise FileExistsError

    monkeypatch.setattr("os.link", link)
    assert read_or_make(path) == "the other one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret_key"]


def test_what_a_killed_start_left_behind_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.link", die)
        patch.setattr(Path, "unlink", lambda _self: None)
        with pytest.raises(KeyboardInterrupt):
            read_or_make(tmp_path / "secret_key")
    assert len([*tmp_path.iterdir()]) == 1
    assert len(read_or_make(tmp_path / "secret_key")) == 67


def test_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    with pytest.raises(OSError, match="file"):
        read_or_make(tmp_path / "file" / "secret_key")
