import hashlib
from collections.abc import Callable

import pytest
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    BasePasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
)

from apikeys import digests
from apikeys.digests import UnknownDigest, matcher, of_django, of_text, stored_form

pytestmark = pytest.mark.pure

TEXT = "AbCd1234.qN7ZrJ0bWkT3yXvLmPs5HdFgUe2iOc9A"
SALT_AND_TAG = "$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE"


def has(stored: str, text: str) -> bool:
    found = matcher(stored)
    assert found is not None
    return found(text.encode())


@pytest.mark.parametrize("algorithm", digests.HEX_LENGTHS)
def test_plain_hash_is_of_the_whole_text(algorithm: str) -> None:
    digest = hashlib.new(algorithm, TEXT.encode()).hexdigest()
    for written in (digest, digest.upper()):
        assert stored_form(algorithm, written) == f"{algorithm}:{digest}"
    assert has(f"{algorithm}:{digest}", TEXT)
    assert not has(f"{algorithm}:{digest}", TEXT[:-1])


class CheapPBKDF2(PBKDF2PasswordHasher):
    iterations = 10


class CheapPBKDF2SHA1(PBKDF2SHA1PasswordHasher):
    iterations = 10


class CheapScrypt(ScryptPasswordHasher):
    work_factor = 2**4


class CheapArgon2(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 64, 2


@pytest.mark.parametrize("hasher", [CheapPBKDF2(), CheapPBKDF2SHA1(), CheapScrypt(), CheapArgon2()])
def test_what_djangos_hashers_wrote_is_checked_as_they_do(hasher: BasePasswordHasher) -> None:
    encoded = hasher.encode(TEXT, hasher.salt())
    stored = stored_form(str(hasher.algorithm), encoded)
    assert stored == of_django(encoded) == f"django:{encoded}"
    assert len(stored) <= 200
    assert has(stored, TEXT)
    assert not has(stored, TEXT[:-1])


@pytest.mark.parametrize(
    "hasher", [PBKDF2PasswordHasher(), PBKDF2SHA1PasswordHasher(), ScryptPasswordHasher(), Argon2PasswordHasher()]
)
def test_what_django_asks_for_by_itself_is_within_the_caps(hasher: BasePasswordHasher) -> None:
    assert has(of_django(hasher.encode(TEXT, "saltsaltsaltsalt")), TEXT)


def test_own_form_of_djangorestframework_api_key_is_a_plain_hash() -> None:
    digest = hashlib.sha512(TEXT.encode()).hexdigest()
    assert of_django(f"sha512$${digest}") == f"sha512:{digest}"


def test_knox_before_version_5_hashed_the_bytes_that_a_token_spells() -> None:
    token = "0a" * 32
    digest = hashlib.sha512(bytes.fromhex(token)).hexdigest()
    stored = digests.of_knox("sha512", digest, is_of_bytes=True)
    assert stored == f"sha512-of-bytes:{digest}"
    assert has(stored, token)
    for other in ("0b" * 32, token[:-1], "no hex", "0é"):
        assert not has(stored, other)
    assert digests.of_knox("sha512", digest, is_of_bytes=False) == f"sha512:{digest}"
    assert matcher(f"sha256-of-bytes:{digest}") is None


def test_text_in_clear_is_hashed() -> None:
    assert of_text(TEXT) == f"sha256:{hashlib.sha256(TEXT.encode()).hexdigest()}"
    assert has(of_text(TEXT), TEXT)


HEX = "a" * 64
UNKNOWN = {
    "cut off": ("sha256", HEX[:-1], "this is no digest of sha256, or one that costs too much to check"),
    "another length": ("sha512", HEX, "this is no digest of sha512, or one that costs too much to check"),
    "no hex": ("sha256", "z" * 64, "this is no digest of sha256, or one that costs too much to check"),
    "no such algorithm": ("md5", HEX, f"the algorithm md5 is none of {', '.join(digests.ALGORITHMS)}"),
    "bcrypt": ("bcrypt_sha256", "x", f"the algorithm bcrypt_sha256 is none of {', '.join(digests.ALGORITHMS)}"),
    "columns mixed up": (HEX, "sha256", f"that algorithm is none of {', '.join(digests.ALGORITHMS)}"),
    "another hasher": ("argon2", "scrypt$16$salt", "a digest of argon2 begins with argon2$"),
    "another word in front": ("scrypt", "scrypt$", "this is no digest of scrypt, or one that costs too much to check"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_digest_that_nobody_can_check_is_refused_with_a_sentence_that_does_not_repeat_it(name: str) -> None:
    algorithm, digest, sentence = UNKNOWN[name]
    with pytest.raises(UnknownDigest) as error:
        stored_form(algorithm, digest)
    assert str(error.value) == sentence


B64 = "A" * 44
COSTS: dict[str, tuple[Callable[[int], str], int]] = {
    "iterations": (lambda n: f"django:pbkdf2_sha256${n}$salt${B64}", digests.MAX_ITERATIONS),
    # Of its factor only powers of 2 are possible.
    "scrypt's memory": (lambda n: f"django:scrypt${2**n}$salt$8$1${B64}", 15),
    "scrypt's lanes": (lambda n: f"django:scrypt$16$salt$8${n}${B64}", digests.MAX_SCRYPT_LANES),
    "argon2's memory": (
        lambda n: f"django:argon2$argon2id$v=19$m={n},t=1,p=1{SALT_AND_TAG}",
        digests.MAX_ARGON2_KIB,
    ),
    "argon2's passes": (
        lambda n: f"django:argon2$argon2id$v=19$m=64,t={n},p=1{SALT_AND_TAG}",
        digests.MAX_ARGON2_PASSES,
    ),
    "argon2's lanes": (
        lambda n: f"django:argon2$argon2i$v=19$m=64,t=1,p={n}{SALT_AND_TAG}",
        digests.MAX_ARGON2_LANES,
    ),
}


@pytest.mark.parametrize("factor", [0, 1, 3, 16383])
def test_scrypt_with_a_factor_that_is_none_is_refused(factor: int) -> None:
    assert matcher(f"django:scrypt${factor}$salt$8$1${B64}") is None


@pytest.mark.parametrize("name", COSTS)
def test_digest_above_its_cap_is_never_run(name: str) -> None:
    written, cap = COSTS[name]
    assert matcher(written(cap)) is not None
    assert matcher(written(cap + 1)) is None


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "sha256:",
        f"md5xx:{HEX}",
        f"sha256:{HEX}\n",
        f"sha256:{HEX.upper()}",
        f"sha512$${HEX}",
        f"pbkdf2_sha256$10$salt${B64}",
        f"django:pbkdf2_md5$10$salt${B64}",
        f"django:pbkdf2_sha256$0$salt${B64}",
        f"django:pbkdf2_sha256$١$salt${B64}",
        "$argon2id$v=19$m=64,t=1,p=1" + SALT_AND_TAG,
    ],
)
def test_anything_else_is_none_of_these(stored: str) -> None:
    assert matcher(stored) is None
