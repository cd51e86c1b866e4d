"""Logs: one JSON event per line on stderr, and never a key in it, whatever the input was."""

import logging
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NamedTuple

import structlog
from structlog.typing import EventDict, WrappedLogger

from apikeys import shapes
from audit.context import current

_requests = logging.getLogger("keyportal.request")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLine(NamedTuple):
    """The one line that a request gets, as a log record's message.

    It goes past the processors of other events, which would take longer than verifying a key. All in it is ours or
    has been parsed, but for the method, which is masked here.
    """

    method: str
    route: str | None
    status: int
    milliseconds: float
    address: str
    request_id: str
    prefix: str | None

    def write(self) -> None:
        if _requests.isEnabledFor(logging.INFO):
            _requests.handle(logging.LogRecord(_requests.name, logging.INFO, "", 0, self, None, None))

    def __str__(self) -> str:
        """What other handlers than ours would print."""
        return self.as_json()

    def as_json(self) -> str:
        # Written out, since a JSON encoder takes four times as long over the same line.
        method = self.method if self.method in _METHODS else shapes.mask(self.method)
        prefix = "" if self.prefix is None else f', "prefix": {_quoted(self.prefix)}'
        route = "null" if self.route is None else _quoted(self.route)
        return (
            f'{{"event": "request", "level": "info", "logger": "keyportal.request", "timestamp": "{_now()}", '
            f'"request_id": "{self.request_id}", "method": {_quoted(method)}, "route": {route}, '
            f'"status": {self.status}, "milliseconds": {self.milliseconds}, '
            f'"address": {_quoted(self.address)}{prefix}}}'
        )


def _now() -> str:
    return f"{datetime.now(UTC).isoformat()[:-6]}Z"


class JSONFormatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return record.msg.as_json() if isinstance(record.msg, RequestLine) else super().format(record)


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the request that is running, if one is."""
    if request_id := current().request_id:
        event["request_id"] = request_id
    return event


def mask_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace whatever looks like a key, in any value of an event, by its label."""
    return {name: _masked(value) for name, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return shapes.mask(value)
    if isinstance(value, dict):
        return {_masked(name): _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_masked(item) for item in value]
    return value if isinstance(value, int | float | None) else shapes.mask(str(value))


_SHARED = [
    structlog.contextvars.merge_contextvars,
    add_request_id,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_LAST = [
    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    structlog.processors.format_exc_info,
    mask_keys,
    structlog.processors.JSONRenderer(ensure_ascii=True),
]


def structlog_config() -> dict[str, Any]:
    """Return what `structlog.configure` takes: events go through the standard library's handlers."""
    return {
        "processors": [
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        "logger_factory": structlog.stdlib.LoggerFactory(),
        "cache_logger_on_first_use": True,
    }


def logging_config(*, level: str) -> dict[str, Any]:
    """Return the standard library's logging configuration, shared by Django and gunicorn."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": JSONFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": _LAST,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own lines repeat the path, which may hold a token; keyportal logs each request itself.
            "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "django.request": {"level": "CRITICAL"},
            "django.security": {"level": "CRITICAL"},
            "django.server": {"level": "CRITICAL"},
            # It tells the id of every passkey; that one was added or used is on record.
            "fido2": {"level": "WARNING"},
        },
    }
