"""The examples of docs/deployment.md, run: nginx before two hosts, and the units of systemd."""

import configparser
import http.client
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings

from tests import services
from tests.conftest import POSTGRESQL_URL
from tests.hosts.pair import Pair
from tests.hosts.proxied import EXAMPLES, NAME, Answer, Nginx, exchange, substituted
from tests.services import PREPARE, ROOT, SERVE, Portal, RedisServer, answers_http, find_program, free_port

pytestmark = pytest.mark.postgresql

CLIENT = "127.0.0.31"
FORGED = "198.51.100.9"
GUNICORN = (ROOT / "keyportal" / "gunicorn.py").read_text(encoding="utf-8")
NGINX = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8")
UNITS = ("keyportal.service", "keyportal-prune.service", "keyportal-prune.timer")
INSTALLED = "/opt/keyportal/.venv/bin/python"


# nginx


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Pair]:
    """Two hosts that are told of the address people use, and of the proxy."""
    services.require("nginx")
    pair = Pair(
        tmp_path_factory.mktemp("proxied"),
        database_url=services.new_database(os.environ[POSTGRESQL_URL]),
        secret_key=secrets.token_urlsafe(50),
        redis_url=redis_server.url,
    )
    for portal in pair.both:
        portal.environment |= {"KEYPORTAL_URL": f"https://{NAME}", "TRUSTED_PROXIES": "127.0.0.1"}
    try:
        yield pair.furnish()
    finally:
        pair.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, proxied: Pair) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / "prefix", proxied.both)
    try:
        yield nginx.start()
    finally:
        nginx.stop()


@pytest.fixture(scope="module")
def bearer(proxied: Pair) -> dict[str, str]:
    return {"Authorization": f"Bearer {proxied.admin_key}"}


@pytest.fixture
def both_asked(nginx: Nginx, proxied: Pair, bearer: dict[str, str]) -> None:
    """Wait until nginx asks each of the hosts, also one that was away in the test before."""
    wait_for(lambda: all(shares(proxied, [nginx.ask("GET /v1/whoami", bearer) for _ in range(4)])))


def shares(pair: Pair, answers: Sequence[Answer]) -> list[int]:
    """Return how many of the answers are each host's."""
    logs = [portal.log_text() for portal in pair.both]
    return [sum(answer.headers.get("x-request-id", "none") in log for answer in answers) for log in logs]


def addresses(pair: Pair, request_id: str) -> list[str]:
    """Return the address that the host that answered has logged for a request."""
    lines = [line for portal in pair.both for line in portal.log_text().splitlines() if request_id in line]
    events = [json.loads(line) for line in lines]
    return [event["address"] for event in events if event["event"] == "request"]


def test_both_hosts_answer_through_nginx_over_kept_connections(
    nginx: Nginx, proxied: Pair, bearer: dict[str, str], both_asked: None
) -> None:
    with closing(nginx.connect()) as connection:
        answers = [exchange(connection, "GET /v1/whoami", bearer) for _ in range(40)]
    assert {answer.status for answer in answers} == {200}
    found = shares(proxied, answers)
    assert sum(found) == 40
    assert min(found) > 5


def test_page_is_served_over_tls_with_secure_cookies(nginx: Nginx) -> None:
    answer = nginx.ask("GET /account/sign-in/")
    assert answer.status == 200
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    assert "server" not in answer.headers or "/" not in answer.headers["server"]


def test_logged_address_is_the_clients_and_not_the_proxys(nginx: Nginx, proxied: Pair, bearer: dict[str, str]) -> None:
    answer = nginx.ask("GET /v1/whoami", bearer, source=CLIENT)
    assert addresses(proxied, answer.request_id) == [CLIENT]


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-SSL", "SCRIPT_NAME"]
)
def test_header_that_only_a_proxy_may_send_is_not_believed(
    nginx: Nginx, proxied: Pair, bearer: dict[str, str], header: str
) -> None:
    value = {"X-Forwarded-Proto": "http", "X-Forwarded-SSL": "off", "SCRIPT_NAME": "/v1"}.get(header, FORGED)
    answer = nginx.ask("GET /v1/whoami", bearer | {header: value}, source=CLIENT)
    assert answer.status == 200
    assert addresses(proxied, answer.request_id) == [CLIENT]


def test_who_goes_past_the_proxy_is_not_believed_either(proxied: Pair, bearer: dict[str, str]) -> None:
    forged = {"Host": NAME, "X-Forwarded-For": FORGED, "X-Forwarded-Proto": "https", **bearer}
    past = http.client.HTTPConnection("127.0.0.1", proxied.a.port, timeout=10, source_address=(CLIENT, 0))
    with closing(past) as connection:
        answer = exchange(connection, "GET /v1/whoami", forged)
    # Its word for HTTPS counts as little as that for its address.
    assert answer.status == 301
    assert addresses(proxied, answer.request_id) == [CLIENT]


@pytest.mark.parametrize("size", [3_000_000, settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1])
def test_body_that_is_too_large_gets_a_clear_answer(nginx: Nginx, bearer: dict[str, str], size: int) -> None:
    headers = bearer | {"Content-Type": "application/json"}
    answer = nginx.ask("POST /v1/api-keys", headers, b'"' + b"a" * (size - 2) + b'"')
    assert answer.status == 413
    assert answer.problem["status"] == 413
    assert "1 MiB" in answer.problem["detail"]


def test_largest_body_reaches_a_host(nginx: Nginx, bearer: dict[str, str]) -> None:
    size = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    answer = nginx.ask("POST /v1/api-keys", bearer | {"Content-Type": "application/json"}, b" " * (size - 2) + b"{}")
    assert answer.status == 422
    assert answer.problem["request_id"] == answer.request_id


def test_plain_http_leads_people_on_and_refuses_programs(nginx: Nginx, bearer: dict[str, str]) -> None:
    page = nginx.ask_plainly("GET /projects/?page=2")
    assert (page.status, page.headers["location"]) == (308, f"https://{NAME}/projects/?page=2")
    assert nginx.ask_plainly("GET /v1/whoami", bearer).problem["code"] == "invalid_request"


def test_metrics_are_not_for_the_world_and_probes_are(nginx: Nginx) -> None:
    assert nginx.ask("GET /metrics").status == 404
    assert [nginx.ask(f"GET {path}").status for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.parametrize("down", ["a", "b"])
def test_one_host_is_enough(nginx: Nginx, proxied: Pair, bearer: dict[str, str], both_asked: None, down: str) -> None:
    portal: Portal = getattr(proxied, down)
    with closing(nginx.connect()) as connection:
        # A connection to it is kept, and closed by it under the next request.
        answers = [exchange(connection, "GET /v1/whoami", bearer) for _ in range(10)]
        portal.stop()
        try:
            answers += [exchange(connection, "GET /v1/whoami", bearer) for _ in range(20)]
            wanted = {"name": "while one is away", "scope": "org", "permissions": ["keys:read"], "environment": "live"}
            headers = bearer | {"Content-Type": "application/json"}
            issued = [exchange(connection, "POST /v1/api-keys", headers, json.dumps(wanted).encode()) for _ in range(5)]
        finally:
            portal.start()
    assert {answer.status for answer in answers} == {200}
    assert {answer.status for answer in issued} == {201}


def test_without_any_host_nobody_can_tell_and_nothing_is_written_down(
    nginx: Nginx, proxied: Pair, bearer: dict[str, str]
) -> None:
    for portal in proxied.both:
        portal.stop()
    try:
        refused = nginx.ask("GET /v1/whoami", bearer)
        exposed = nginx.ask(f"GET /v1/whoami?key={proxied.admin_key}", {"Referer": f"/{proxied.admin_key}"})
    finally:
        for portal in proxied.both:
            portal.start()
    for answer in (refused, exposed):
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.problem["code"] == "unavailable"
    assert proxied.admin_key not in nginx.written()


def number(pattern: str, text: str) -> int:
    [found] = re.findall(pattern, text, re.MULTILINE)
    return int(found)


def test_times_of_nginx_and_gunicorn_agree() -> None:
    assert number(r"^    keepalive_timeout (\d+)s;", NGINX) < number(r"^keepalive = (\d+)", GUNICORN)
    assert number(r"proxy_read_timeout (\d+)s;", NGINX) > number(r"^graceful_timeout = (\d+)", GUNICORN)
    assert number(r"client_body_timeout (\d+)s;", NGINX) < number(r"^_STALLED_AFTER_SECONDS = (\d+)", GUNICORN)
    megabytes = number(r"client_max_body_size (\d+)m;", NGINX)
    assert megabytes * 1024 * 1024 == settings.DATA_UPLOAD_MAX_MEMORY_SIZE


# systemd


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign] # as the library's documentation says to keep case
    parsed.read_string((EXAMPLES / name).read_text(encoding="utf-8"))
    return parsed


def test_service_runs_what_make_run_does() -> None:
    service = unit("keyportal.service")["Service"]
    assert service["ExecStartPre"] == f"{INSTALLED} {' '.join(PREPARE)}"
    assert service["ExecStart"] == f"{INSTALLED} {' '.join(SERVE)}"
    assert f"{INSTALLED}".startswith(service["WorkingDirectory"])
    assert service["Environment"].endswith(f"/var/lib/{service['StateDirectory']}")


def test_service_gives_workers_time_to_end() -> None:
    graceful = number(r"^graceful_timeout = (\d+)", GUNICORN)
    assert int(unit("keyportal.service")["Service"]["TimeoutStopSec"]) >= graceful + 10


def test_units_run_as_the_same_user_with_the_same_environment() -> None:
    serve, prune = (unit(name)["Service"] for name in UNITS[:2])
    for name in ("User", "Group", "WorkingDirectory", "EnvironmentFile", "Environment", "UMask", "ProtectSystem"):
        assert serve[name] == prune[name]


@pytest.mark.skipif(find_program("systemd-analyze") is None, reason="systemd is not installed to ask")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(INSTALLED, sys.executable), encoding="utf-8")
    result = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in UNITS)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture
def its_environment(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    """What the service gets from the example of an EnvironmentFile and from its unit."""
    text = substituted(
        (EXAMPLES / "environment").read_text(encoding="utf-8"),
        {
            "postgresql://keyportal:its-password@10.0.0.20:5432/keyportal": services.new_database(
                os.environ[POSTGRESQL_URL]
            ),
            "\nSECRET_KEY=\n": f"\nSECRET_KEY={secrets.token_urlsafe(50)}\n",
            "redis://10.0.0.21:6379/0": redis_server.url,
            "HOST=10.0.0.11": "HOST=127.0.0.1",
            "PORT=8000": f"PORT={free_port()}",
        },
    )
    lines = [*text.splitlines(), unit("keyportal.service")["Service"]["Environment"]]
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return variables | {"KEYPORTAL_DATA_DIR": str(tmp_path / "data"), "PATH": os.environ["PATH"]}


def started(command: str, environment: dict[str, str], output: Path) -> subprocess.Popen[bytes]:
    """Start a command line of a unit as systemd would: without a shell, in its directory, with its umask."""
    words = [
        environment.get(word.removeprefix("$"), word)
        for word in shlex.split(command.replace(INSTALLED, sys.executable))
    ]
    umask = int(unit("keyportal.service")["Service"]["UMask"], 8)
    with output.open("ab") as file:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def test_service_starts_says_so_reloads_and_stops_as_its_unit_says(
    tmp_path: Path, its_environment: dict[str, str]
) -> None:
    service, output = unit("keyportal.service")["Service"], tmp_path / "output"
    port = int(its_environment["PORT"])
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        its_environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        assert started(service["ExecStartPre"], its_environment, output).wait(60) == 0
        process = started(service["ExecStart"], its_environment, output)
        try:
            assert notified.recv(1000).startswith(b"READY=1")
            wait_for(lambda: answers_http(port))
            before = children(process)
            assert started(service["ExecReload"], its_environment | {"MAINPID": str(process.pid)}, output).wait(60) == 0
            wait_for(lambda: len(children(process)) == 2 and before.isdisjoint(children(process)))
            assert answers_http(port)
            process.send_signal(signal.SIGTERM)
            assert process.wait(int(service["TimeoutStopSec"])) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    prune = started(unit("keyportal-prune.service")["Service"]["ExecStart"], its_environment, output)
    assert prune.wait(60) == 0
    assert "Removed 0 uses older than 90 days" in output.read_text(encoding="utf-8")


def children(process: subprocess.Popen[bytes]) -> set[int]:
    return set(services._children(process.pid))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
