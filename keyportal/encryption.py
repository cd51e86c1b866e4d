"""Encryption of what the portal has to read again and the database must not hold in clear.

The key is derived from SECRET_KEY (HKDF, RFC 5869): whoever has the database alone reads nothing of it.
"""

from base64 import urlsafe_b64encode
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):
    """The text was encrypted under another SECRET_KEY, or is damaged."""


def encrypt(text: str, *, purpose: str) -> str:
    """Return a text encrypted and authenticated (Fernet); what was encrypted for one purpose is no good for another."""
    return _cipher(settings.SECRET_KEY, purpose).encrypt(text.encode()).decode("ascii")


def decrypt(encrypted: str, *, purpose: str) -> str:
    """Return the text again.

    :raises Unreadable: if it was not encrypted with this SECRET_KEY for this purpose.
    """
    try:
        return _cipher(settings.SECRET_KEY, purpose).decrypt(encrypted.encode()).decode()
    except InvalidToken as error:
        raise Unreadable from error


@lru_cache(maxsize=16)
def _cipher(secret_key: str, purpose: str) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=f"keyportal.{purpose}".encode()).derive(secret_key.encode())
    return Fernet(urlsafe_b64encode(derived))
