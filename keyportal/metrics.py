"""What keyportal counts, for Prometheus; `docs/metrics.md` explains each. Names and labels are public."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from keyportal import metric_files

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Half a millisecond is a warm key; ten seconds are what a statement may take.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STATUS_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

# Before the first metric, as prometheus_client wants it.
if metric_files.directory():
    values.ValueClass = values.MultiProcessValue(process_identifier=metric_files.slot)  # type: ignore[no-untyped-call] # it has no types
# When a process began to count means nothing once there are several, and then it is left out anyway.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

# Our own and nothing else: what prometheus_client adds by itself tells of Python, not of keyportal.
REGISTRY = CollectorRegistry()

VERIFICATIONS = Counter(
    "keyportal_verifications_total", "Keys that were verified, by how that ended.", ["outcome"], registry=REGISTRY
)
ARGON2_RUNS = Counter("keyportal_argon2_runs_total", "Runs of argon2.", registry=REGISTRY)
ARGON2_QUEUE = Gauge(
    "keyportal_argon2_queue",
    "Runs of argon2 that go on or wait for their turn.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
DIGEST_CACHE_HITS = Counter(
    "keyportal_digest_cache_hits_total",
    "Keys whose digest was checked before, by what came of it.",
    ["verdict"],
    registry=REGISTRY,
)
LIMITER_REFUSALS = Counter(
    "keyportal_limiter_refusals_total",
    "Requests refused for the failures before them, by the budget that was spent.",
    ["budget"],
    registry=REGISTRY,
)
USE_BUFFER = Gauge(
    "keyportal_use_buffer_records",
    "Uses of keys that are not written yet.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
USES_WRITTEN = Counter("keyportal_uses_written_total", "Uses of keys that were written.", registry=REGISTRY)
USES_LOST = Counter(
    "keyportal_uses_lost_total", "Uses of keys that could not be written and were given up.", registry=REGISTRY
)
MAILS_SENT = Counter("keyportal_mails_sent_total", "Mails that were handed over.", registry=REGISTRY)
MAIL_FAILURES = Counter(
    "keyportal_mail_failures_total", "Tries to hand over a mail that failed; most are tried again.", registry=REGISTRY
)
MAILS_GIVEN_UP = Counter(
    "keyportal_mails_given_up_total", "Mails that could not be handed over and were given up.", registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "keyportal_request_seconds",
    "How long requests took, by kind and by class of status.",
    ["kind", "status"],
    buckets=BUCKETS,
    registry=REGISTRY,
)
_observers = {
    (kind, first): REQUEST_SECONDS.labels(kind, name).observe
    for kind in ("api", "page", "probe")
    for first, name in STATUS_CLASSES.items()
    if first > 1
}


def observe_request(kind: str, status: int, seconds: float) -> None:
    """Note how long a request of a kind (`api`, `page` or `probe`) took; the label is not looked up each time."""
    _observers[kind, status // 100](seconds)


def exposition() -> bytes:
    """Return everything that was counted, by all processes of this gunicorn, in Prometheus' text format."""
    registry = REGISTRY
    if path := metric_files.directory():
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(path))  # type: ignore[no-untyped-call] # it has no types
    return generate_latest(registry)
