import runpy

import pytest
from gunicorn.workers.gthread import ThreadWorker

from keyportal import gunicorn
from tests.services import ROOT

pytestmark = pytest.mark.pure

SAME = (
    "reuse_port",
    "preload_app",
    "worker_tmp_dir",
    "control_socket_disable",
    "graceful_timeout",
    "keepalive",
    "accesslog",
)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    for name, value in {"PORT": "8001", "WEB_CONCURRENCY": "2", "WEB_THREADS": "4"}.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(ROOT / "bench" / "gunicorn.py"))


@pytest.mark.parametrize("name", SAME)
def test_every_subject_is_served_as_keyportal_is(others: dict[str, object], name: str) -> None:
    assert others[name] == getattr(gunicorn, name)


def test_every_subject_has_the_same_kind_of_worker(others: dict[str, object]) -> None:
    assert others["worker_class"] == "gthread"
    assert issubclass(gunicorn.worker_class, ThreadWorker)


def test_every_subject_gets_as_many_processes_and_threads(others: dict[str, object]) -> None:
    assert (others["workers"], others["threads"]) == (2, 4)
