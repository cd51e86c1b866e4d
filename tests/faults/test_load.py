"""That a client of these tests repeats what nobody can have carried out, and nothing else."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.faults.load import CUT_OFF, NO_ANSWER, REFUSED, Client
from tests.services import free_port

pytestmark = pytest.mark.pure

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 802\r\n\r\n"


@contextmanager
def server(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one answer to each request, and close the connection; yield the port, and the requests that came."""
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # It is closed, and the test over.
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(answer)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("part", [b"", b'{"key": '])
@pytest.mark.parametrize("target", ["GET /v1/whoami", "POST /v1/api-keys"])
def test_answer_that_is_cut_off_is_none_and_not_asked_for_again(target: str, part: bytes) -> None:
    with server(HEAD + part) as (port, requests), closing(Client(port)) as client:
        called = client.call(target)
    assert (called.status, called.code, called.attempts) == (NO_ANSWER, CUT_OFF, 1)
    assert len(requests) == 1


@pytest.mark.parametrize(("target", "times"), [("GET /v1/whoami", 4), ("POST /v1/api-keys", 1)])
def test_connection_closed_before_an_answer_is_tried_again_by_who_changes_nothing(target: str, times: int) -> None:
    with server(b"") as (port, requests), closing(Client(port)) as client:
        called = client.call(target)
    assert (called.status, called.code, called.attempts) == (NO_ANSWER, "", times)
    assert len(requests) == times


def test_connection_that_is_refused_is_not_tried_again() -> None:
    with closing(Client(free_port())) as client:
        called = client.call("GET /v1/whoami")
    assert (called.status, called.code, called.attempts) == (NO_ANSWER, REFUSED, 1)
