"""What an orchestrator and a Prometheus ask. None of it runs argon2, opens a session or tells what is installed."""

import time
from http import HTTPStatus
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from keyportal import metrics
from keyportal.postgresql import patience

log = structlog.get_logger("keyportal.probes")

# An orchestrator gives up after about as long, and a thread must not be held longer than it listens.
PATIENCE_SECONDS = 2
PLAIN = "text/plain; charset=utf-8"
CHALLENGE = 'Bearer realm="keyportal metrics"'


class Migrations:
    """Whether all that this version brings were applied; once they are, that stays so while it runs."""

    are_applied = False

    def missing(self) -> int:
        if self.are_applied:
            return 0
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        count = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        self.are_applied = count == 0
        return count


_migrations = Migrations()


@login_not_required
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type=PLAIN)


@login_not_required
@require_safe
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    reason = _why_not_ready()
    if not reason:
        return HttpResponse("ready\n", content_type=PLAIN)
    log.warning("portal.not_ready", reason=reason)
    response = HttpResponse("not ready\n", content_type=PLAIN, status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = str(PATIENCE_SECONDS)
    return response


def _why_not_ready() -> str:
    try:
        with patience(connections[DEFAULT_DB_ALIAS], PATIENCE_SECONDS):
            _ask_database()
            missing = _migrations.missing()
    except Error as error:
        return f"{type(error.__cause__ or error).__name__}: {error}"
    return f"{missing} migrations are not applied" if missing else ""


def _ask_database() -> None:
    """Have the database answer anything at all.

    A kept connection may be one to a server that has been restarted since: that fails at once, and a new one
    tells. If it was silence that took the time, a new one would only take as much again.

    :raises Error: if it does not.
    """
    is_kept = connections[DEFAULT_DB_ALIAS].connection is not None
    started = time.monotonic()
    try:
        _read()
    except Error:
        if not is_kept or time.monotonic() - started > PATIENCE_SECONDS / 2:
            raise
        connections[DEFAULT_DB_ALIAS].close()
        _read()


def _read() -> None:
    connection: Any = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "postgresql":
        # Its other cursors would check the connection first, which asks and waits for the same.
        connection.read_row("SELECT 1", [])
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")


@login_not_required
@require_safe
@never_cache
def exposition(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus, if it has the token; where none is set, nothing is here."""
    token = settings.KEYPORTAL_METRICS_TOKEN
    if not token:
        return HttpResponse("not found\n", content_type=PLAIN, status=HTTPStatus.NOT_FOUND)
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not constant_time_compare(presented.strip(), token):
        response = HttpResponse("unauthorized\n", content_type=PLAIN, status=HTTPStatus.UNAUTHORIZED)
        response["WWW-Authenticate"] = CHALLENGE
        return response
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)
