"""What takes a client too long to be tried on the wire: one that stalls, and is given up after 20 seconds."""

from typing import Any

import pytest
from django.test import RequestFactory

from keyportal.handler import BodyUnreadable, Request

pytestmark = pytest.mark.pure


class Silence:
    """The body of a client that sends no more: the socket's own time limit ends the wait for it."""

    def read(self, *_size: int) -> bytes:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    readline = read


def environ_of(**changes: Any) -> dict[str, Any]:
    return {**RequestFactory().post("/v1/api-keys", b"0123456789", "application/json").environ, **changes}


def test_body_of_a_client_that_stalls_is_refused_and_is_no_failure_of_ours() -> None:
    with pytest.raises(BodyUnreadable):
        _ = Request(environ_of(**{"wsgi.input": Silence()})).body


def test_form_of_a_client_that_stalls_is_refused_too() -> None:
    form = "multipart/form-data; boundary=x"
    with pytest.raises(BodyUnreadable):
        _ = Request(environ_of(**{"wsgi.input": Silence(), "CONTENT_TYPE": form})).POST


def test_body_is_read_whole() -> None:
    assert Request(environ_of()).body == b"0123456789"


def test_pieces_count_only_where_the_server_knows_their_end() -> None:
    """Django's own server hands over the pieces as they are, and would wait for more of them for ever."""
    environ = environ_of(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")
    assert Request(environ).body == b""
