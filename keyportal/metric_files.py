"""Where the processes of one gunicorn keep their counts, so that whichever of them is asked can answer for all.

prometheus_client has each process write to files of its own and adds them up. By itself it names the files after
process ids, and each worker that is recycled would leave a set of them for good. Here they are named after slots:
a new worker takes the lowest one that is free, and goes on with what is counted there.

gunicorn's configuration imports this before the application, and so before prometheus_client, which decides for
good how to count when it is first imported.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PREFIX = "keyportal-metrics-"
_LOCK = "lock"


class Place:
    """The directory, if there is one, and whose files in it are this process's."""

    def __init__(self) -> None:
        self.directory: Path | None = None
        self.slot = "master"
        self.next_slot = "master"


_place = Place()


def directory() -> Path | None:
    """Return the directory, or None where no gunicorn of ours serves: then a process counts for itself."""
    return _place.directory


def slot() -> str:
    """Return the name of this process's files; no other process that runs now has the same."""
    return _place.slot


def make_directory(parent: Path) -> None:
    """Make the directory, for our user alone, and remove it when this process ends; once made, it stays.

    A gunicorn that was killed left its own behind. Its lock tells, which the kernel took back from it, and which
    its workers hold for as long as one of them is left.
    """
    if _place.directory is not None:
        return
    for left_over in parent.glob(f"{_PREFIX}*"):
        # Another gunicorn that starts now may have removed it first.
        with suppress(FileNotFoundError):
            _remove_if_unused(left_over)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # The lock has its name only once it is held: nobody may find it free in between.
    draft = made / f"{_LOCK}.new"
    # It is closed by the end of the process, and by nothing else.
    fcntl.flock(os.open(draft, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    draft.rename(made / _LOCK)
    atexit.register(_remove, made, os.getpid())
    _place.directory = made
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(made)


def _remove_if_unused(path: Path) -> None:
    if path.is_symlink() or path.stat().st_uid != os.geteuid() or not (path / _LOCK).exists():
        return
    with (path / _LOCK).open("r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path, owner: int) -> None:
    # A worker ends by the same way out, and the directory is not its own.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def reserve_slot(taken: Iterable[str]) -> str:
    """Choose the lowest slot that no running worker has, for the one that is about to be forked."""
    taken = set(taken)
    number = 0
    while str(number) in taken:
        number += 1
    _place.next_slot = str(number)
    forget_gauges(_place.next_slot)
    return _place.next_slot


def enter_slot() -> None:
    """Make the slot that was reserved for this new worker its own."""
    _place.slot = _place.next_slot


def forget_gauges(ended: str) -> None:
    """Drop what a worker that ended said of its present state; its counts stay."""
    if _place.directory is not None:
        # Only the application may import it first, once it has been told how to count.
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(ended, str(_place.directory))  # type: ignore[no-untyped-call] # it has no types
