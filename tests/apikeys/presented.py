"""Texts that look like a key."""

from apikeys import keyformat
from tests.cast import Issued


def with_secret(issued: Issued, secret: str = "0" * 26) -> str:
    """Return a key of the same label with another secret, whose checksum is right."""
    body = f"{issued.row.label}_{secret}"
    return body + keyformat._checksum(body)


def of_nobody() -> str:
    """Return a well-formed key that was never issued."""
    return keyformat.mint(keyformat.DEFAULT, kind_label="sk", environment="live").reveal()


def with_bad_checksum(issued: Issued) -> str:
    return issued.text[:-1] + ("0" if issued.text[-1] != "0" else "1")
