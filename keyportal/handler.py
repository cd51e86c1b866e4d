"""How a request begins: everything that a client sends is read as UTF-8, whatever it claims, and to its end."""

from io import IOBase
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.core.handlers.wsgi import LimitedStream, WSGIHandler, WSGIRequest
from gunicorn.http.errors import ParseException


class BodyUnreadable(BadRequest):
    """The client stopped in the middle of the body that it announced, or cut it into pieces that are none."""


class _Stream(IOBase):
    """A body that cannot be read is the client's mistake (400), and no error of ours (500)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, *size: Any) -> bytes:
        return self._attempt(self._stream.read, *size)

    def readline(self, *size: Any) -> bytes:
        return self._attempt(self._stream.readline, *size)

    def _attempt(self, read: Any, *size: Any) -> bytes:
        try:
            data: bytes = read(*size)
        except (OSError, ParseException) as error:
            raise BodyUnreadable from error
        return data


def _is_chunked(environ: dict[str, Any]) -> bool:
    """Say whether the body comes in pieces (RFC 9112 §7.1), and from a server that knows where they end."""
    return bool(environ.get("wsgi.input_terminated")) and "HTTP_TRANSFER_ENCODING" in environ


def _pieces(environ: dict[str, Any]) -> LimitedStream:
    """Return a body whose length nobody said; Django would take it for none at all. One byte too many is noticed."""
    return LimitedStream(environ["wsgi.input"], settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)


class Request(WSGIRequest):
    """A request whose charset is not the client's to choose.

    Django takes any codec that Python knows and reads the query with it while it makes the request, before any
    middleware: one that decodes no text, such as hex, or a query of too many fields would end there, unanswered.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        stream = _pieces(environ) if _is_chunked(environ) else self._stream
        self._stream = _Stream(stream)  # type: ignore[assignment] # all that Django does with it is to read

    @property
    def encoding(self) -> str:
        return "utf-8"

    @encoding.setter
    def encoding(self, _claimed: str) -> None:
        pass

    @property
    def body(self) -> bytes:
        """Return the whole body, which gunicorn hands over as it is where the client went away too early.

        :raises BodyUnreadable: if it is not whole; that may be half a body which still makes sense (RFC 9112 §8).
        :raises RequestDataTooBig: if there is more of it than anything here takes.
        """
        body = super().body
        if not _is_chunked(self.environ) and len(body) < int(self.environ.get("CONTENT_LENGTH") or 0):
            raise BodyUnreadable
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        return body


class Handler(WSGIHandler):
    request_class = Request
