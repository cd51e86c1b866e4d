"""An authenticator app, written from RFC 6238 and by nothing of the product's."""

import base64
import hashlib
import hmac
import time


def code_of(secret: str, step: int = 0) -> str:
    """Return what the app shows now, or so many half minutes later."""
    counter = int(time.time()) // 30 + step
    digest = hmac.digest(base64.b32decode(secret), counter.to_bytes(8, "big"), hashlib.sha1)
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
