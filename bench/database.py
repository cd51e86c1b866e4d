"""Django's DATABASES for the subjects that are not keyportal, from DATABASE_URL alone."""

import os
from typing import Any
from urllib.parse import unquote, urlsplit


def databases() -> dict[str, dict[str, Any]]:
    """Return one database whose connections are kept by each thread, and never probed before use.

    A probe would cost each request one more round trip. Django leaves it out unless it is asked for, which is
    the faster choice for every subject; with BENCH_PROBE set it is made.
    """
    url = urlsplit(os.environ["DATABASE_URL"])
    kept = {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": bool(os.environ.get("BENCH_PROBE"))}
    if url.scheme == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"}
        return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": url.path, "OPTIONS": options} | kept}
    return {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.removeprefix("/"),
            "USER": url.username,
            "PASSWORD": unquote(url.password or ""),
            "HOST": url.hostname,
            "PORT": url.port,
        }
        | kept
    }
