"""GitHub, Google and any OpenID Connect provider on loopback: they answer as those do, about whom a test wants.

They hold to what the real ones hold to: a code is good once, for one client, one address to go back to, and for
whoever has the verifier of its challenge (RFC 6749 §4.1.3, RFC 7636 §4.6).
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

CLIENT_ID, CLIENT_SECRET = "keyportal", "only the provider and keyportal know it"
# What each provider's endpoints are called here. GitHub's API is where a GitHub Enterprise Server has it.
GITHUB_AUTHORIZE, GITHUB_TOKEN = "/login/oauth/authorize", "/login/oauth/access_token"
GITHUB_USER, GITHUB_EMAILS = "/api/v3/user", "/api/v3/user/emails"
GOOGLE_AUTHORIZE, GOOGLE_TOKEN, GOOGLE_USER = "/o/oauth2/v2/auth", "/token", "/oauth2/v2/userinfo"
Answer = tuple[int, str, bytes]
JSON, FORM, HTML = "application/json", "application/x-www-form-urlencoded", "text/html"


@dataclass
class Grant:
    """What someone consented to."""

    kind: str
    redirect_uri: str
    challenge: str
    claims: dict[str, Any]


@dataclass
class Provider:
    """All of them, on one port: who is signed in at each, what was asked of them, and where they are broken."""

    url: str = ""
    github: dict[str, Any] = field(default_factory=dict)
    emails: list[dict[str, Any]] = field(default_factory=list)
    google: dict[str, Any] = field(default_factory=dict)
    # By the name of the realm, which is one provider.
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What an ID token says instead of what the user info says.
    id_token: dict[str, Any] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, Grant] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    # By path: what is answered instead.
    broken: dict[str, Callable[[], Answer]] = field(default_factory=dict)

    def server_url(self, realm: str) -> str:
        return f"{self.url}/realms/{realm}"

    def last(self, path: str) -> dict[str, str]:
        """Return what an endpoint was asked last."""
        return next(asked for where, asked in reversed(self.asked) if where == path)

    def authorize(self, kind: str, asked: dict[str, str]) -> str:
        """Consent as whoever is signed in there, and return the address to go back to."""
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        assert asked["code_challenge_method"] == "S256"
        claims = {"github": self.github, "google": self.google}.get(kind) or self.people[kind]
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(kind, asked["redirect_uri"], asked["code_challenge"], {**claims})
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, kind: str, asked: dict[str, str]) -> dict[str, Any]:
        """Return a token for a code, or the error that a provider names instead."""
        grant = self.grants.pop(asked.get("code", ""), None)
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return {"error": "invalid_client"}
        verifier = asked.get("code_verifier", "")
        if grant is None or grant.kind != kind or grant.redirect_uri != asked.get("redirect_uri"):
            return {"error": "bad_verification_code" if kind == "github" else "invalid_grant"}
        if challenge_of(verifier) != grant.challenge:
            return {"error": "invalid_grant"}
        token = secrets.token_urlsafe(16)
        self.tokens[token] = grant
        answer = {"access_token": token, "token_type": "bearer", "scope": "user:email"}
        return answer if kind == "github" else answer | {"id_token": self._id_token(grant)}

    def _id_token(self, grant: Grant) -> str:
        issuer = "https://accounts.google.com" if grant.kind == "google" else self.server_url(grant.kind)
        now = int(time.time())
        standing = {"iss": issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "jti": secrets.token_hex(8)}
        # It comes from the provider itself, so that its signature is not looked at (OpenID Connect Core 1.0 §3.1.3.7).
        return jwt.encode(grant.claims | standing | self.id_token, secrets.token_bytes(32), algorithm="HS256")

    def discovery(self, realm: str) -> dict[str, str]:
        base = self.server_url(realm)
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/auth",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "jwks_uri": f"{base}/certs",
        }


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._answer(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(self.path, {name: values[0] for name, values in parse_qs(text).items()})

    def _answer(self, path: str, asked: dict[str, str]) -> None:
        self.provider.asked.append((path, asked))
        kind, purpose = _endpoint(path)
        if path in self.provider.broken:
            self._send(*self.provider.broken[path]())
        elif purpose == "authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(kind, asked))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif purpose == "token":
            self._send_token(kind, self.provider.token(kind, asked))
        elif purpose == "discovery":
            self._send_json(200, self.provider.discovery(kind))
        elif purpose:
            self._send_claims(purpose)
        else:
            self._send(404, HTML, b"Not Found")

    def _send_token(self, kind: str, answer: dict[str, Any]) -> None:
        if kind == "github":
            # Errors have the same status here (GitHub's documentation of OAuth apps).
            self._send(200, FORM, urlencode(answer).encode())
        else:
            self._send_json(400 if "error" in answer else 200, answer)

    def _send_claims(self, purpose: str) -> None:
        grant = self.provider.tokens.get(self.headers.get("Authorization", " ").split()[-1])
        if grant is None:
            self._send_json(401, {"message": "Bad credentials"})
        else:
            self._send_json(200, self.provider.emails if purpose == "emails" else grant.claims)

    def _send_json(self, status: int, answer: Any) -> None:
        self._send(status, JSON, json.dumps(answer).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has where it is overridden
        """Say nothing: what was asked is kept."""


def _endpoint(path: str) -> tuple[str, str]:
    """Return whose endpoint a path is, and what it is for."""
    known = {
        GITHUB_AUTHORIZE: ("github", "authorize"),
        GITHUB_TOKEN: ("github", "token"),
        GITHUB_USER: ("github", "user"),
        GITHUB_EMAILS: ("github", "emails"),
        GOOGLE_AUTHORIZE: ("google", "authorize"),
        GOOGLE_TOKEN: ("google", "token"),
        GOOGLE_USER: ("google", "user"),
    }
    if path in known:
        return known[path]
    _, realms, realm, *rest = (*path.split("/"), "", "")
    purposes = {"auth": "authorize", "token": "token", "userinfo": "user", ".well-known": "discovery"}
    return (realm, purposes.get(rest[0], "")) if realms == "realms" else ("", "")


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisTest", (Handler,), {"provider": provider}))
    server.daemon_threads = True
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
