"""What stands between installing keyportal and serving it."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.models import User
from accounts.setup_link import setup_link
from apikeys import demo
from keyportal.postgresql import patience

# Any number that nothing else in this database locks.
_LOCK = 0x6B6579706F7274


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let hosts that start at once wait for each other: Django's own migrations would collide."""
    if connection.vendor != "postgresql":
        # SQLite's transactions take the lock of its one writer when they begin.
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


class Command(BaseCommand):
    help = "Bring the database and the static files up to date; print the set-up link while there is no user."

    def handle(self, *args: Any, **options: Any) -> None:
        # Whatever is made from here on is for the portal's own user alone.
        os.umask(0o077)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # A migration of a large table may take longer than any request.
                cursor.execute("SET statement_timeout = 0")
        with patience(connection, math.inf), _one_at_a_time():
            call_command("migrate", verbosity=0, interactive=False)
            call_command("createcachetable", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        if os.environ.get("KEYPORTAL_DEMO", "") not in {"", "0"}:
            self._seed()
        elif not User.objects.exists():
            self.stdout.write(
                f"\nkeyportal has no users yet. Open this link once, to make the first:\n\n  {setup_link()}\n"
            )
        if os.environ.get("HOST") in {"0.0.0.0", "::"} and "KEYPORTAL_URL" not in os.environ:  # noqa: S104 - it is compared and not bound
            self.stdout.write("Other machines reach it once KEYPORTAL_URL says how, such as http://192.0.2.7:8000\n")
        self.stdout.write(f"keyportal serves {settings.KEYPORTAL_URL} (Ctrl-C stops it)\n\n")
        self.stdout.flush()

    def _seed(self) -> None:
        if User.objects.exists():
            raise CommandError(
                "KEYPORTAL_DEMO fills an empty database, and this one has users. Nothing was changed. "
                "Start without KEYPORTAL_DEMO to go on with it, or with another KEYPORTAL_DATA_DIR to begin anew."
            )
        self.stdout.write("\nFilling an empty database with an example organization …\n")
        sign_ins = demo.seed()
        self.stdout.write("\nSign in as:\n\n")
        for title, email, password in sign_ins:
            self.stdout.write(f"  {title:12}  {email:24}  {password}\n")
        self.stdout.write("\n")
