"""The nginx of the documentation, run as it is written but for its addresses, names of files and certificate."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services import ROOT, Portal, free_port, require

EXAMPLES = ROOT / "docs" / "deployment"
NAME = "keys.example.com"
_START_SECONDS = 20
# What stands around an example that belongs into `http`. Debian's has its files in places that only root may use.
_AROUND = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/main.log warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/keyportal.conf;
}}
"""


def substituted(text: str, replacements: Mapping[str, str]) -> str:
    """Return an example with a test's own values, each of which has its place in it."""
    for old, new in replacements.items():
        assert old in text, f"The example does not have {old!r} any more."
        text = text.replace(old, new)
    return text


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.content)
        return found


class Nginx:
    """A real nginx on loopback, in the foreground and in a directory of its own."""

    def __init__(self, directory: Path, hosts: tuple[Portal, Portal]) -> None:
        self.directory = directory
        self.plain_port, self.port = free_port(), free_port()
        self._hosts = hosts
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Nginx":
        program = require("nginx")
        self.directory.mkdir(parents=True)
        _make_certificate(self.directory)
        a, b = self._hosts
        example = substituted(
            (EXAMPLES / "nginx.conf").read_text(encoding="utf-8"),
            {
                "10.0.0.11:8000": f"127.0.0.1:{a.port}",
                "10.0.0.12:8000": f"127.0.0.1:{b.port}",
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
                "/etc/nginx/keyportal": str(self.directory),
                "/var/log/nginx": str(self.directory),
            },
        )
        (self.directory / "keyportal.conf").write_text(example, encoding="utf-8")
        # Its workers would be another user, who may not enter the directory of a test.
        around = _AROUND.format(directory=self.directory, user="user root;" if os.geteuid() == 0 else "")
        (self.directory / "nginx.conf").write_text(around, encoding="utf-8")
        with (self.directory / "stderr").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    "-p",
                    self.directory,
                    "-c",
                    self.directory / "nginx.conf",
                    "-e",
                    self.directory / "early.log",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, self.written()
            assert time.monotonic() < end, self.written()
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stop it; more than once does no harm."""
        process, self._process = self._process, None
        if process:
            process.terminate()
            process.wait(timeout=10)

    def written(self) -> str:
        """Return all that it has written, wherever that was."""
        kept = [path for path in self.directory.rglob("*") if path.is_file() and path.suffix not in {".pem", ".conf"}]
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in kept)

    def ask(
        self, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", *, source: str = "127.0.0.1"
    ) -> Answer:
        """Send a request such as `GET /` over TLS, by a connection of its own from a source."""
        with closing(self.connect(source=source)) as connection:
            return exchange(connection, target, headers, body)

    def connect(self, *, source: str = "127.0.0.1") -> http.client.HTTPConnection:
        """Return a connection over TLS that checks the certificate, as any client does."""
        context = ssl.create_default_context(cafile=str(self.directory / "fullchain.pem"))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=40, source_address=(source, 0))
        connection = http.client.HTTPConnection(NAME, timeout=40)
        connection.sock = context.wrap_socket(plain, server_hostname=NAME)
        return connection

    def ask_plainly(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=10)) as connection:
            return exchange(connection, target, {"Host": NAME, **(headers or {})})

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def exchange(
    connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    method, path = target.split()
    connection.request(method, path, body or None, dict(headers or {}))
    response = connection.getresponse()
    named = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, named, response.read())


def _make_certificate(directory: Path) -> None:
    """Make a certificate that signs itself, in the files that the example names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
