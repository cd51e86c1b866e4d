"""A key's text and its parts: mint, parse, find and mask. Pure: no Django, no I/O.

The default is `kp_sk_live_a1B2c3D4_<32>`: brand, kind, environment, an 8-character public prefix and a secret
whose last 6 characters are the CRC-32 of everything before them. The checksum is no secret: it refuses a
mistyped or shortened key before a query or argon2 is spent on it, and lets a scanner tell a key from
something like one.
"""

import re
import secrets
import string
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

MAX_BYTES = 128  # of a whole key; anything longer is refused unread
MAX_LABEL = 64  # what a row has room for
CHECKSUM_LENGTH = 6  # 62**6 > 2**32, so that every CRC-32 fits and no two share a text
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase

_BASE62 = "[0-9A-Za-z]"  # spelled out: \w and \d would let in Unicode digits and the underscore
_WORD = re.compile(rf"{_BASE62}+")
_BRAND = re.compile(rf"{_BASE62}+(?:[_-]{_BASE62}+)*")
_PARTS = ("brand", "kind", "env")
# Every part before the prefix ends in a separator, so that a text can be read in one way only.
_TEMPLATE = re.compile(rf"(?:(?:{_BASE62}+|\{{(?:brand|kind|env)\}})[_-])+\{{prefix\}}[_-]?\{{secret\}}")


class MalformedKey(ValueError):
    """The text is no key of ours. Takes no argument, so that a message never holds what was presented."""

    def __init__(self) -> None:
        super().__init__("not a well-formed key")


@dataclass(frozen=True, slots=True)
class Shape:
    """How the keys of an installation are written.

    The template names the parts in order: `{brand}`, `{kind}` and `{env}` where wanted, then `{prefix}` and
    `{secret}`, apart (`tos_{prefix}_{secret}`) or as one run (`ospr_{prefix}{secret}`). Only letters, digits,
    `_` and `-` occur, so that a key is a valid bearer token (RFC 6750 §2.1) and needs no quoting in a shell
    or URL. `kinds` are the words for a secret, a publishable and an organization key, in this order; where the
    template does not write them, or not the environment, only the key's row knows.

    :raises ValueError: if the template or a part cannot make unambiguous keys of at most 128 bytes with 128
        random bits, or labels of at most 64.
    """

    template: str = "{brand}_{kind}_{env}_{prefix}_{secret}"
    brand: str = "kp"
    kinds: tuple[str, ...] = ("sk", "pk", "org")  # secret, publishable, organization
    environments: tuple[str, ...] = ("live", "test")
    prefix_length: int = 8
    secret_length: int = 32  # the checksum included

    def __post_init__(self) -> None:
        if not _TEMPLATE.fullmatch(self.template) or any(self.template.count(f"{{{p}}}") > 1 for p in _PARTS):
            raise ValueError("a key template is words and {brand}, {kind}, {env}, then {prefix} and {secret}")
        if not _BRAND.fullmatch(self.brand):
            raise ValueError("a brand is letters and digits, joined by _ or -")
        if not all(words and all(map(_WORD.fullmatch, words)) for words in (self.kinds, self.environments)):
            raise ValueError("kinds and environments are words of letters and digits")
        if len(set(self.kinds)) != 3 or len(self.kinds) != 3:
            raise ValueError("kinds are three different words: for secret, publishable and organization keys")
        if self.prefix_length < 8 or self.secret_length < 22 + CHECKSUM_LENGTH:
            raise ValueError("a prefix has at least 8 characters, a secret 22 random ones (128 bits) and 6 of checksum")
        label = max(map(len, self.heads())) + self.prefix_length
        if label > MAX_LABEL:
            raise ValueError(f"a label, all up to and including the prefix, has at most {MAX_LABEL} characters")
        if label + len(self.separator) + self.secret_length > MAX_BYTES:
            raise ValueError(f"a key has at most {MAX_BYTES} bytes")

    @property
    def head(self) -> str:
        """The template of all that precedes the prefix."""
        return self.template.partition("{prefix}")[0]

    @property
    def shortest_label(self) -> int:
        """The length of the shortest label: where a key's secret can begin at the earliest."""
        return min(map(len, self.heads())) + self.prefix_length

    @property
    def separator(self) -> str:
        """What stands between prefix and secret; empty if they are one run."""
        return self.template.partition("{prefix}")[2].removesuffix("{secret}")

    @property
    def writes_kind(self) -> bool:
        """Whether a key tells by itself that it is publishable."""
        return "{kind}" in self.template

    @property
    def secret_kinds(self) -> tuple[str, ...]:
        """The words for keys that must not be seen: all but the publishable."""
        secret, _, organization = self.kinds
        return secret, organization

    def heads(self, kinds: Sequence[str] = ()) -> tuple[str, ...]:
        """Return all that a key can begin with, up to its prefix: of every kind, or of these."""
        words = product(kinds or self.kinds, self.environments)
        return tuple(dict.fromkeys(self.head.format(brand=self.brand, kind=kind, env=env) for kind, env in words))


DEFAULT = Shape()


@dataclass(frozen=True, slots=True)
class Key:
    """A whole key in its parts. Its `repr` and `str` show the label and never the secret.

    `kind_label` and `environment` are empty where the shape does not write them.
    """

    label: str
    prefix: str
    kind_label: str
    environment: str
    secret: str = field(repr=False)
    separator: str = field(repr=False, default="_")

    def reveal(self) -> str:
        """Return the full key. Only the response that shows it once, and its hashing, may call this."""
        return f"{self.label}{self.separator}{self.secret}"


def kind_label(shape: Shape, *, kind: str, scope: str) -> str:
    """Return the word by which keys of this kind and scope are known, as `mint` takes it."""
    secret, publishable, organization = shape.kinds
    if kind == "publishable":
        return publishable
    return organization if scope == "org" else secret


def mint(shape: Shape, *, kind_label: str, environment: str) -> Key:
    """Return a new random key; kind and environment are ignored by a shape that does not write them.

    :raises ValueError: if the shape writes kinds or environments but not this one.
    """
    for part, word, words in (("kind", kind_label, shape.kinds), ("env", environment, shape.environments)):
        if f"{{{part}}}" in shape.template and word not in words:
            raise ValueError(f"{word!r} is not one of {', '.join(words)}")
    head = shape.head.format(brand=shape.brand, kind=kind_label, env=environment)
    body = head + _random(shape.prefix_length) + shape.separator
    body += _random(shape.secret_length - CHECKSUM_LENGTH)
    return parse(body + _checksum(body), [shape])


def parse(text: str, shapes: Sequence[Shape]) -> Key:
    """Return the parts of a key written in one of these shapes, which are tried in order.

    :raises MalformedKey: if shape or checksum is wrong, so that no query is spent on it. A CRC-32 notices
        every single changed character: a burst of at most 8 bits.
    """
    if len(text) <= MAX_BYTES and text.isascii():
        for shape in shapes:
            # fullmatch, as `$` would let a trailing newline pass
            match = _pattern(shape).fullmatch(text)
            if match and (key := _intact(match, shape)):
                return key
    raise MalformedKey


def scanner_regex(shape: Shape, kinds: Sequence[str] = ()) -> str:
    """Return the expression of every key of this shape, or of these kinds of it, whatever its checksum.

    It means the same to Python, PCRE, RE2 and Hyperscan, and has no capturing group, which some scanners would
    take for the secret. What may stand around a key is for each scanner's rule to say.
    """
    head, prefix, secret = _head(shape, "?:", kinds), shape.prefix_length, shape.secret_length
    if not shape.separator:
        return head + _run(prefix + secret)
    return head + _run(prefix) + shape.separator + _run(secret)


def find_keys(text: str, shapes: Sequence[Shape]) -> Iterator[Key]:
    """Yield each well-formed key in any text, by shape and place.

    No boundary is asked for around a key: leaks follow an escaped `\\n` or a `%3D` that look like letters, and
    the checksum tells keys from chance.
    """
    seen: set[tuple[int, int]] = set()
    for shape in shapes:
        position = 0
        while match := _pattern(shape).search(text, position):
            key = _intact(match, shape)
            position = match.end() if key else match.start() + 1
            if key and match.span() not in seen:
                seen.add(match.span())
                yield key


def mask(text: str, shapes: Sequence[Shape]) -> str:
    """Return the text with the secret of anything like a key replaced: `kp_sk_live_a1B2c3D4…`.

    For logs, where a nearly right key is nearly a secret: a wrong checksum, a missing rest, and foreign
    characters in the secret are masked too, at the price of a word or two of what follows a shortened key. If
    the damage is in the label, so that nothing marks the key, any run of letters and digits as long as a
    secret and in mixed case is masked. A second line of defence: nobody may log a presented text on purpose.
    """
    for shape in shapes:
        text = _damaged(shape).sub(r"\g<label>…", text)
    return _unlabelled(min(shape.secret_length for shape in (*shapes, DEFAULT))).sub("…", text)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    """Return the CRC-32 (as in zlib, ISO 3309) of the text so far as 6 base62 digits, the highest first."""
    rest, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _intact(match: re.Match[str], shape: Shape) -> Key | None:
    """Return the key that was matched, or None if its checksum is wrong."""
    text, parts = match.group(), match.groupdict()
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return Key(
        label=parts["label"],
        prefix=parts["prefix"],
        kind_label=parts.get("kind", ""),
        environment=parts.get("env", ""),
        secret=parts["secret"],
        separator=shape.separator,
    )


def _head(shape: Shape, opening: str, kinds: Sequence[str] = ()) -> str:
    """Return the expression of all before the prefix; `opening` begins a group, with `{}` for its name."""
    words, environments = "|".join(kinds or shape.kinds), "|".join(shape.environments)
    kind, env = f"({opening.format('kind')}{words})", f"({opening.format('env')}{environments})"
    return shape.head.format(brand=shape.brand, kind=kind, env=env)


def _run(length: int) -> str:
    return f"{_BASE62}{{{length}}}"


def _label(shape: Shape) -> str:
    return f"(?P<label>{_head(shape, '?P<{}>')}(?P<prefix>{_run(shape.prefix_length)}))"


@lru_cache(maxsize=64)
def _pattern(shape: Shape) -> re.Pattern[str]:
    return re.compile(f"{_label(shape)}{shape.separator}(?P<secret>{_run(shape.secret_length)})")


@lru_cache(maxsize=64)
def _damaged(shape: Shape) -> re.Pattern[str]:
    """Match a label and what may be left of its secret: single foreign characters count as part of it."""
    rest = f"(?:{_BASE62}|[^0-9A-Za-z](?={_BASE62})){{0,{shape.secret_length - 1}}}"
    return re.compile(f"{_label(shape)}{shape.separator}{_BASE62}{rest}{_BASE62}*")


@lru_cache(maxsize=64)
def _unlabelled(length: int) -> re.Pattern[str]:
    """Match a run in mixed case, at most one character short of a secret; hex digests are left alone."""
    return re.compile(rf"(?<!{_BASE62})(?=[0-9a-z]*[A-Z])(?=[0-9A-Z]*[a-z]){_BASE62}{{{length - 1},}}")
