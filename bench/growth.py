"""What one more use costs once there are millions: `python -m bench.growth --rows 5000000`.

It starts a PostgreSQL of its own, fills the table of uses in steps, as 90 days of 500 busy keys would have, and at
each step writes batches through the recorder itself. It prints Markdown: what a row costs, how large the table and its
indexes are, and how PostgreSQL finds the newest uses of a key and the oldest of all.
"""

import argparse
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from bench import report
from tests.services import PostgresCluster

if TYPE_CHECKING:
    from audit.models import KeyUseQuerySet
    from audit.uses import Use

KEYS = 500
SPAN = timedelta(days=90)
STEPS = (0.0, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
# Rows that one statement of the seeding writes.
CHUNK = 250_000
BATCH = 1_000
PAGE = 51
INDEXES = ("audit_key_use_pkey", "audit_key_use_by_prefix", "audit_key_use_refused")
AGENTS = ("curl/8.14.1", "python-requests/2.32.5", "Go-http-client/2.0", "GitHub-Actions/2.328 (runner; linux x64)")
ROUTES = ("v1/whoami", "v1/projects", "v1/api-keys", "v1/audit-events", "v1/api-keys/<uuidstr:key_id>")

# Some keys are used far more than others, and one use in fifty is refused.
SEED = """
INSERT INTO audit_key_use
SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
       to_timestamp(ms / 1000.0), %(organization)s, (%(ids)s::uuid[])[k], (%(prefixes)s::text[])[k],
       'kp_sk_live_' || (%(prefixes)s::text[])[k], is_refused,
       CASE WHEN is_refused THEN 'key_expired' ELSE 'accepted' END,
       'GET', (%(routes)s::text[])[1 + n %% 5], CASE WHEN is_refused THEN 401 ELSE 200 END,
       ('192.0.2.' || n %% 200)::inet, (%(agents)s::text[])[1 + k %% 4], 1
FROM (
    SELECT n, md5(n::text) AS hash, %(start)s + (n * %(step)s)::bigint AS ms, n %% 50 = 0 AS is_refused,
           1 + floor(%(keys)s * random() * random())::int AS k
    FROM generate_series(%(first)s, %(last)s) AS n
) AS rows
"""


class Growth:
    """A table that fills up, and what is asked of it. Made once Django is ready."""

    def __init__(self, rows: int, batches: int) -> None:
        # Here, since the database is known only once it runs, and models need it.
        from audit import pruning, uses
        from audit.models import KeyUse

        self._pruning, self._uses, self._use = pruning, uses, KeyUse
        self._rows, self._batches = rows, batches
        self._start = datetime.now(UTC) - SPAN
        self._chance = random.Random(7)
        self._keys = [(uuid7(), secrets.token_hex(4)) for _ in range(KEYS)]
        self._organization = uuid7()

    def steps(self) -> Iterator[list[str]]:
        """Fill the table step by step; yield a line of the report for each."""
        done = 0
        for share in STEPS:
            wanted = round(self._rows * share)
            self._fill(done, wanted)
            done = wanted
            times = [self._write(wanted, number) for number in range(self._batches)]
            # What comes first finds pages that the filling has left on the disk, as nothing does in service.
            times = times[len(times) // 5 :]
            yield [
                f"{wanted:,}",
                f"{1e6 * statistics.median(times) / BATCH:.0f}",
                f"{1e3 * statistics.quantiles(times, n=20)[-1]:.0f}",
                *(f"{size / 2**20:,.1f}" for size in self._sizes()),
                f"{self._page_milliseconds():.2f}",
            ]

    def plans(self) -> Iterator[tuple[str, str]]:
        """Yield what is asked of the table by name, each with how PostgreSQL goes about it."""
        rows, prefix = self._use.objects, self._keys[0][1]
        middle = self._start + SPAN / 2
        queries: dict[str, KeyUseQuerySet] = {
            "A page of the busiest key": rows.of_prefix(prefix).newest_first()[:PAGE],
            "Its refusals": rows.of_prefix(prefix).matching(is_refused=True).newest_first()[:PAGE],
            "A page of half-way back": rows.of_prefix(prefix).matching(until=middle).newest_first()[:PAGE],
            "The oldest rows, as `prune_uses` walks them": rows.order_by("id").only("id", "at")[:5000],
        }
        for name, query in queries.items():
            yield name, query.explain(analyze=True, buffers=True)
        oldest = rows.order_by("id").values_list("id", flat=True)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM audit_key_use WHERE id <= %s AND at < %s",
                [oldest[4999], middle],
            )
            yield "Their deletion", "\n".join(line for (line,) in cursor.fetchall())
            transaction.set_rollback(True)

    def prune(self) -> str:
        """Remove the oldest tenth, as the command does, and say how long each batch held its locks."""
        times, started, removed = list[float](), time.perf_counter(), 0
        for count in self._pruning.prune_uses(before=self._start + SPAN / 10, batch=5_000):
            removed += count
            times.append(time.perf_counter() - started)
            # After the generator's own pause, which is as long as its work was.
            started = time.perf_counter()
        first, later = times[0], [taken / 2 for taken in times[1:]]
        most = max([first, *later])
        return (
            f"{removed:,} rows in {len(times)} batches of 5,000: {1e3 * statistics.median(later):.0f} ms a batch, "
            f"{1e3 * most:.0f} ms at most."
        )

    def _fill(self, done: int, wanted: int) -> None:
        parameters: dict[str, Any] = {
            "organization": self._organization,
            "ids": [key_id for key_id, _ in self._keys],
            "prefixes": [prefix for _, prefix in self._keys],
            "routes": list(ROUTES),
            "agents": list(AGENTS),
            "start": int(self._start.timestamp() * 1000),
            "step": SPAN / timedelta(milliseconds=1) / self._rows,
            "keys": KEYS,
        }
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for first in range(done, wanted, CHUNK):
                say(f"  {first:,} rows")
                cursor.execute(SEED, parameters | {"first": first + 1, "last": min(first + CHUNK, wanted)})
            # As autovacuum and the checkpointer would, but not in the middle of a measurement.
            cursor.execute("VACUUM ANALYZE audit_key_use")
            cursor.execute("CHECKPOINT")

    def _write(self, rows: int, number: int) -> float:
        """Write a second of a busy portal through the recorder; return how long that took."""
        at = self._start + SPAN * (rows / self._rows) + timedelta(seconds=number)
        batch = [self._record(at + timedelta(milliseconds=n)) for n in range(BATCH)]
        started = time.perf_counter()
        for use in batch:
            self._uses.record(use)
        self._uses.flush()
        return time.perf_counter() - started

    def _record(self, at: datetime) -> "Use":
        key_id, prefix = self._keys[int(KEYS * self._chance.random() * self._chance.random())]
        return self._uses.Use(
            id=uuid7(nanoseconds=int(at.timestamp() * 1e9)),
            at=at,
            outcome="accepted",
            is_refused=False,
            status=200,
            prefix=prefix,
            key_id=key_id,
            label=f"kp_sk_live_{prefix}",
            organization_id=self._organization,
            method="GET",
            route=self._chance.choice(ROUTES),
            address=f"192.0.2.{self._chance.randrange(200)}",
            user_agent=self._chance.choice(AGENTS),
        )

    def _sizes(self) -> list[int]:
        with connection.cursor() as cursor:
            found = []
            for name in ("audit_key_use", *INDEXES):
                cursor.execute("SELECT pg_relation_size(%s)", [name])
                found.append(cursor.fetchone()[0])
        return found

    def _page_milliseconds(self) -> float:
        """Return how long PostgreSQL takes for the newest uses of one of many keys."""
        times = list[float]()
        for _, prefix in self._keys[::25]:
            plan = self._use.objects.of_prefix(prefix).newest_first()[:PAGE].explain(analyze=True)
            times.append(float(plan.rpartition("Execution Time: ")[2].removesuffix(" ms")))
        return statistics.median(times)


def say(text: str) -> None:
    """Tell who waits what is being done."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared_database() -> Iterator[None]:
    """Make Django ready, on an empty PostgreSQL of its own, whose writes reach the disk."""
    cluster = PostgresCluster(is_durable=True)
    with tempfile.TemporaryDirectory() as directory:
        try:
            cluster.start()
            os.environ |= {
                "DJANGO_SETTINGS_MODULE": "keyportal.settings",
                "DATABASE_URL": cluster.url,
                "SECRET_KEY": secrets.token_urlsafe(50),
                "KEYPORTAL_DATA_DIR": directory,
            }
            django.setup(set_prefix=False)
            call_command("migrate", verbosity=0)
            yield
            connection.close()
        finally:
            cluster.stop()


def main() -> None:
    """Grow and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="how many rows the table has in the end")
    parser.add_argument("--batches", type=int, default=50, help="batches of 1,000 that are timed at each step")
    options = parser.parse_args()
    with prepared_database():
        growth = Growth(options.rows, options.batches)
        heads = ("rows", "µs a row", "p95 ms a batch", "table MiB", "by id", "by prefix", "refused", "page ms")
        print(report.table(heads, growth.steps()))
        for name, plan in growth.plans():
            print(f"\n{name}:\n\n```\n{plan}\n```")
        print(f"\nPruning: {growth.prune()}")


if __name__ == "__main__":
    main()
