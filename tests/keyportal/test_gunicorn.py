import signal
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyportal import gunicorn
from tests.services import Portal

SECRET = "kp_sk_live_a1B2c3D4_0123456789abcdefghijKLMNOPqrstuv"  # a key's shape; nobody ever issued it
BROKEN_REQUESTS = [
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET[:40]}\0{SECRET[40:]}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n {SECRET}\r\n\r\n",
    f"GET /?key={SECRET[:40]} {SECRET[40:]} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"{SECRET}\r\n\r\n",
    f"{SECRET} / HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\n{SECRET}(: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {SECRET}\r\n\r\n",
    f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
    f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    f"GET /{SECRET * 100} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nX: {SECRET * 200}\r\n\r\n",
]


def test_a_broken_request_leaves_nothing_of_itself_in_the_log(portal: Portal) -> None:
    for request in BROKEN_REQUESTS:
        with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as connection:
            connection.sendall(request.encode("ascii"))
            answer = connection.recv(100)
        assert answer.startswith(b"HTTP/1.1 ")
    # The chunked body is refused by whoever reads it, the others by gunicorn itself.
    assert portal.log_text().count("Invalid request from ip=127.0.0.1: ") >= len(BROKEN_REQUESTS) - 1
    assert SECRET[20:39] not in portal.log_text()
    assert SECRET[41:] not in portal.log_text()


def test_sigterm_ends_it_cleanly(portal: Portal) -> None:
    assert portal.stop() == 0


@pytest.fixture
def own_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def test_a_worker_can_be_stopped_before_it_is_ready(own_signals: None) -> None:
    gunicorn.post_fork(cast("Any", None), cast("Any", SimpleNamespace(sockets=[])))
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGQUIT) == signal.SIG_DFL


def test_a_worker_leaves_the_terminal_to_the_master(own_signals: None) -> None:
    gunicorn.post_worker_init(cast("Any", None))
    assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_silent_client_holds_a_thread_only_so_long(own_signals: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = SimpleNamespace(sockets=[SimpleNamespace(sock=listener)])
        gunicorn.post_fork(cast("Any", None), cast("Any", worker))
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as accepted:
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == struct.pack("ll", 0, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                assert accepted.getsockopt(socket.SOL_SOCKET, option, 16) == struct.pack("ll", 20, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("control_socket_disable", True),
        ("preload_app", True),
        ("reuse_port", True),
        ("accesslog", None),
        ("forwarded_allow_ips", ""),
    ],
)
def test_what_the_architecture_asks_for(name: str, value: object) -> None:
    assert getattr(gunicorn, name) == value
