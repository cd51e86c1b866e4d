"""How gunicorn serves keyportal: `gunicorn -c keyportal/gunicorn.py keyportal.wsgi`.

HOST, PORT, WEB_CONCURRENCY (processes), WEB_THREADS (threads in each) and TRUSTED_PROXIES change it.
"""

import os
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers import gthread
from gunicorn.workers.base import Worker

from keyportal import metric_files

try:
    from keyportal.settings import DATA_DIR, LOGGING, PORT, TRUSTED_PROXIES, WEB_CONCURRENCY, WEB_THREADS
except ImproperlyConfigured as error:
    # gunicorn would print a traceback over the sentence that says what to do.
    raise SystemExit(f"keyportal is not configured: {error}") from None

# The log masks keys as the settings describe them, and has to before the application is loaded.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyportal.settings")

_HOST = os.environ.get("HOST") or "127.0.0.1"
# How long a client may leave a request or a response half done before its thread is taken back.
_STALLED_AFTER_SECONDS = 20


class QuietLogger(Logger):
    """gunicorn's log less what the client sent: any byte of a request that failed may belong to a key."""

    def access(self, *_args: Any, **_kwargs: Any) -> None:
        """Write no access log; where logging is configured, gunicorn would put each line together all the same."""

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if msg.startswith("Listening at:"):
            # Its own words are about the master's sockets, and the workers have them.
            msg, args = "Listening at %s", (bind,)
        super().info(msg, *args, **kwargs)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if msg.startswith("Invalid request from ip="):
            # After the address and what is wrong with the request, each behind a colon, come its own bytes.
            msg = ": ".join(msg.split(": ")[:2])
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if msg.startswith("Error handling request"):
            msg, args = "Error handling request", ()
        if msg.startswith("Socket error"):
            # A client that stalls or goes away is its own affair, and no traceback of ours.
            super().warning("A connection broke: %s", sys.exc_info()[1])
        else:
            super().exception(msg, *args, **kwargs)


class ThreadWorker(gthread.ThreadWorker):
    """gunicorn's, but one that stops gives up its socket at once.

    gunicorn's own keeps it open until the last connection has ended, and with `reuse_port` the kernel goes on giving
    it connections, which wait for seconds and are then reset.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            before = -1
            # Those that wait already are taken.
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            listener.close()


# Where. Every worker has a listening socket of its own, and the kernel spreads connections over them.
bind = f"[{_HOST}]:{PORT}" if ":" in _HOST else f"{_HOST}:{PORT}"
reuse_port = True

# Who works. One process is enough for a small team, and SQLite has one writer anyway.
worker_class = ThreadWorker
workers = WEB_CONCURRENCY
threads = WEB_THREADS
preload_app = True
# The heartbeat is a file: on a disk that stalls, healthy workers would be killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn makes an unnamed file there
# Before the application is loaded, as its metrics ask for this once; and by gunicorn itself, which calls this file so.
if __name__ == "__config__":
    if worker_tmp_dir is None:
        DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    metric_files.make_directory(Path(worker_tmp_dir or DATA_DIR))
# A socket in the home directory that takes commands: nobody here uses it.
control_socket_disable = True

# How long. An orchestrator kills after 30 seconds, so a request gets fewer to end in.
graceful_timeout = 25
# Longer than the 60 seconds nginx keeps an idle connection, so that the proxy is the one that closes.
keepalive = 75

# What is let in: gunicorn's own limits, written down because they are part of the defence.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# Only these may say that the client came by HTTPS. A peer on a unix socket ("unix") is always believed.
forwarded_allow_ips = ",".join(address for address in TRUSTED_PROXIES if address != "unix")

# What is said. The application logs each request itself, so gunicorn writes no access log.
logger_class = QuietLogger
accesslog = None
logconfig_dict = {
    **LOGGING,
    "loggers": {
        **LOGGING["loggers"],
        "gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}


def on_starting(server: Arbiter) -> None:
    """Refuse a port that is taken: with `reuse_port` two portals would silently share it."""
    if server.master_pid:
        return  # A successor that gunicorn starts by itself is meant to share it.
    family = socket.AF_INET6 if ":" in _HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, PORT))
        except OSError as error:
            raise SystemExit(f"Cannot listen on {bind}: {error.strerror}. Choose another HOST or PORT.") from error


def when_ready(server: Arbiter) -> None:
    """Stop when the terminal closes; gunicorn would take that signal for an order to reload, and stay."""

    def stop(_number: int, frame: FrameType | None) -> None:
        server.signal(signal.SIGTERM, frame)

    if sys.stdin is not None and sys.stdin.isatty():
        signal.signal(signal.SIGHUP, stop)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Leave no database connection for two processes to write to at once, and no file of metrics either."""
    connections.close_all()
    worker.metrics_slot = metric_files.reserve_slot(other.metrics_slot for other in server.WORKERS.values())


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Let a worker be stopped from its first moment, and bound how long a silent client holds a thread.

    Until gunicorn gives it handlers of its own, it has the master's, and a signal would be lost on it.
    Without the bound, which accepted connections inherit on Linux, a handful of requests that stop half way
    would use up the threads for good.
    """
    metric_files.enter_slot()
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        limit = struct.pack("ll", _STALLED_AFTER_SECONDS, 0)
        for listener in worker.sockets:
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def post_worker_init(_worker: Worker) -> None:
    """Send what mail others have left, and leave a terminal's signals to the master, which passes them on.

    A terminal sends them to every process. A gthread worker that meets Ctrl-C twice, from the terminal and
    from the master, can stop inside its own handler for a lock it holds, and hang until it is killed.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Loaded with the application, and not before its settings are.
    from accounts.mailing import job

    job.begin()


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Stop reporting what a worker that ended, in whatever way, had in hand."""
    metric_files.forget_gauges(worker.metrics_slot)


# What the workers write, the database and its log among it, is for the portal's own user alone.
umask = 0o077
