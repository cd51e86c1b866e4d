"""Digests that other packages made of the keys they minted: which ones we can check, and at what cost. Pure.

Stored, each begins with a word of ours and a colon, so that it is never taken for one of `hashing`:

- `sha256:<hex>` and the like, a plain hash of the whole text: django-rest-knox, djangorestframework-api-key 3, and
  tokens that Django REST framework had kept in clear. For a text of 128 random bits and more it is as good as any.
- `sha512-of-bytes:<hex>`, of the bytes that the text spells in hex: django-rest-knox before version 5.
- `django:<encoded>`, as Django's password hashers write it: djangorestframework-api-key before version 3.

All of them are replaced by `hashing`'s own when their key is used. Their cost is bounded, so that a forged row cannot
stop a host.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, verify_secret

Matcher = Callable[[bytes], bool]

HEX_LENGTHS: Final = {"sha256": 64, "sha384": 96, "sha512": 128, "sha3_256": 64, "sha3_512": 128}
HASHERS: Final = ("pbkdf2_sha256", "pbkdf2_sha1", "scrypt", "argon2")
ALGORITHMS: Final = (*HEX_LENGTHS, *HASHERS)

# About half a second each. What Django 5.2 and 6.0 write by themselves is within them.
MAX_ITERATIONS = 2_000_000
MAX_SCRYPT_BYTES = 64 * 1024 * 1024
MAX_SCRYPT_LANES = 8
MAX_ARGON2_KIB = 128 * 1024
MAX_ARGON2_PASSES = 8
MAX_ARGON2_LANES = 8
_SCRYPT_KEY_BYTES = 64

_PLAIN = re.compile(r"([a-z0-9_]{1,10})(-of-bytes)?:([0-9a-f]{64,128})")
_NUMBER = "([1-9][0-9]{0,9})"
_SALT, _BASE64 = r"([A-Za-z0-9./+=_-]{1,64})", r"([A-Za-z0-9+/]{20,100}={0,2})"
_PBKDF2 = re.compile(rf"django:pbkdf2_(sha256|sha1)\${_NUMBER}\${_SALT}\${_BASE64}")
_SCRYPT = re.compile(rf"django:scrypt\${_NUMBER}\${_SALT}\${_NUMBER}\${_NUMBER}\${_BASE64}")
_ARGON2 = re.compile(
    rf"django:argon2(\$argon2(id|i|d)\$v=19\$m={_NUMBER},t={_NUMBER},p={_NUMBER}"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86})"
)
_ARGON2_TYPES = {"id": Type.ID, "i": Type.I, "d": Type.D}


class UnknownDigest(ValueError):
    """No digest that could ever be checked here. Its message is for the operator and repeats no digest."""


def stored_form(algorithm: str, digest: str) -> str:
    """Return a digest of another package as it is stored here.

    :param algorithm: one of `ALGORITHMS`.
    :param digest: in hex for a plain hash; as Django's hasher wrote it, its name included, for the others.
    :raises UnknownDigest: if it cannot be checked, or would cost too much.
    """
    if algorithm in HEX_LENGTHS:
        stored = f"{algorithm}:{digest.lower()}"
    elif algorithm in HASHERS and digest.startswith(f"{algorithm}$"):
        stored = f"django:{digest}"
    elif algorithm in HASHERS:
        raise UnknownDigest(f"a digest of {algorithm} begins with {algorithm}$")
    else:
        raise UnknownDigest(f"{_named(algorithm)} is none of {', '.join(ALGORITHMS)}")
    if matcher(stored) is None:
        raise UnknownDigest(f"this is no digest of {algorithm}, or one that costs too much to check")
    return stored


def of_django(encoded: str) -> str:
    """Return in stored form what djangorestframework-api-key keeps: a hasher's text, or its own `sha512$$<hex>`.

    :raises UnknownDigest: as `stored_form`.
    """
    algorithm, _, rest = encoded.partition("$")
    if algorithm in HEX_LENGTHS and rest.startswith("$"):
        return stored_form(algorithm, rest[1:])
    return stored_form(algorithm, encoded)


def of_knox(algorithm: str, digest: str, *, is_of_bytes: bool) -> str:
    """Return in stored form what django-rest-knox keeps: before its version 5, a hash of the bytes that a token spells.

    :raises UnknownDigest: as `stored_form`.
    """
    name, _, written = stored_form(algorithm, digest).partition(":")
    return f"{name}-of-bytes:{written}" if is_of_bytes else f"{name}:{written}"


def of_text(text: str) -> str:
    """Return in stored form the digest of a token that was kept in clear; its 160 random bits need no slow one."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@lru_cache(1024)
def matcher(stored: str) -> Matcher | None:
    """Return what tells whether a text has this digest; None if it is none of these, or costs too much to run."""
    if plain := _PLAIN.fullmatch(stored):
        algorithm, of_bytes, digest = plain.groups()
        has_it = _has_hash_of_bytes if of_bytes else _has_hash
        return partial(has_it, algorithm, digest) if HEX_LENGTHS.get(algorithm) == len(digest) else None
    for pattern, understand in ((_PBKDF2, _pbkdf2), (_SCRYPT, _scrypt), (_ARGON2, _argon2)):
        if found := pattern.fullmatch(stored):
            return understand(*found.groups())
    return None


def _named(algorithm: str) -> str:
    # Whatever stands there may be half a digest, for who mixed up two columns.
    return f"the algorithm {algorithm}" if re.fullmatch(r"[a-z0-9_]{1,20}", algorithm) else "that algorithm"


def _has_hash(algorithm: str, digest: str, text: bytes) -> bool:
    return hmac.compare_digest(hashlib.new(algorithm, text).hexdigest(), digest)


def _has_hash_of_bytes(algorithm: str, digest: str, text: bytes) -> bool:
    try:
        spelled = binascii.unhexlify(text)
    except binascii.Error:
        return False
    return _has_hash(algorithm, digest, spelled)


def _pbkdf2(algorithm: str, iterations: str, salt: str, wanted: str) -> Matcher | None:
    def has_it(text: bytes) -> bool:
        found = hashlib.pbkdf2_hmac(algorithm, text, salt.encode(), int(iterations))
        return hmac.compare_digest(base64.b64encode(found).decode(), wanted)

    return has_it if int(iterations) <= MAX_ITERATIONS else None


def _scrypt(factor: str, salt: str, block: str, lanes: str, wanted: str) -> Matcher | None:
    n, r, p = int(factor), int(block), int(lanes)
    needed = 128 * r * (n + p + 2)  # bytes, as OpenSSL counts them

    def has_it(text: bytes) -> bool:
        found = hashlib.scrypt(text, salt=salt.encode(), n=n, r=r, p=p, maxmem=needed, dklen=_SCRYPT_KEY_BYTES)
        return hmac.compare_digest(base64.b64encode(found).decode(), wanted)

    is_possible = n > 1 and n & (n - 1) == 0  # RFC 7914 §2: a power of 2
    return has_it if is_possible and needed <= MAX_SCRYPT_BYTES and p <= MAX_SCRYPT_LANES else None


def _argon2(digest: str, kind: str, memory_kib: str, passes: str, lanes: str) -> Matcher | None:
    def has_it(text: bytes) -> bool:
        try:
            return verify_secret(digest.encode(), text, _ARGON2_TYPES[kind])
        except VerifyMismatchError:
            return False

    costs = ((memory_kib, MAX_ARGON2_KIB), (passes, MAX_ARGON2_PASSES), (lanes, MAX_ARGON2_LANES))
    return has_it if all(int(have) <= cap for have, cap in costs) else None
