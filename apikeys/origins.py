"""Web origins (RFC 6454 §6.2): which pages may use a publishable key. Pure."""

from urllib.parse import urlsplit

MAX_ORIGINS = 20
_RULE = "Write origins such as https://app.example.com: scheme, host and, if need be, port, and nothing more."


class NotAnOrigin(ValueError):
    """A text is no origin; the sentence says what one looks like."""

    def __init__(self) -> None:
        super().__init__(_RULE)


def parse(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's own port.

    Plain http is taken for what developers run on their own machines, and for nothing else.

    :raises NotAnOrigin: if it is none: a path, a wildcard, a user, or http elsewhere.
    """
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        raise NotAnOrigin from None
    host = parts.hostname or ""
    is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    is_local = host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")
    is_host = bool(host) and host.isascii() and not set(host) & set('*<>"\\^`{|} %')
    if not (is_bare and is_host and (parts.scheme == "https" or (parts.scheme == "http" and is_local))):
        raise NotAnOrigin
    shown = f"[{host}]" if ":" in host else host
    is_usual = port in {None, {"https": 443, "http": 80}[parts.scheme]}
    return f"{parts.scheme}://{shown}" if is_usual else f"{parts.scheme}://{shown}:{port}"
