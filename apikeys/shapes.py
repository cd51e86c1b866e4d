"""The key shapes of this installation: `keyformat` with the settings put in."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote

from django.conf import settings

from apikeys import keyformat
from apikeys.keyformat import Shape


def current() -> Shape:
    """Return the shape that new keys get."""
    return accepted()[0]


def accepted() -> tuple[Shape, ...]:
    """Return every shape whose keys are still good, the current one first.

    :raises ValueError: if a setting makes no keys, with a sentence that names it.
    """
    return _accepted(
        settings.KEYPORTAL_KEY_TEMPLATE,
        settings.KEYPORTAL_KEY_BRAND,
        tuple(settings.KEYPORTAL_KEY_KINDS),
        tuple(settings.KEYPORTAL_EARLIER_KEY_BRANDS),
        tuple(settings.KEYPORTAL_EARLIER_KEY_SHAPES),
    )


def kind_label(kind: str, scope: str) -> str:
    """Return how the current shape calls a new key of this kind and scope; `keyformat.mint` takes it."""
    return keyformat.kind_label(current(), kind=kind, scope=scope)


def publishable_prefix() -> str:
    """Return how new publishable keys begin, as far as that tells them from others where the shape does: `kp_pk_`."""
    shape = current()
    before, written, after = shape.head.partition("{kind}")
    # The separator that follows the kind is in all of them.
    told = before + written + after[:1] if written else before.partition("{env}")[0] or before
    return told.format(brand=shape.brand, kind=shape.kinds[1], env=shape.environments[0])


def mask(text: str) -> str:
    """Return a text with everything that looks like a key cut down to its label.

    A key that is spelled in percents, whole or in part, is found too; the text is then returned without them.
    """
    if len(text) <= _harmless_length(accepted()):
        return text
    plain = text
    for _ in range(3):  # an address inside an address is encoded more than once
        plain = unquote(plain)
    if plain != text and (masked := keyformat.mask(plain, accepted())) != plain:
        return masked
    return keyformat.mask(text, accepted())


def holds_key(text: str) -> bool:
    """Say whether a text has something in it that must not be stored, logged or shown: a key, or the most of one.

    Where a shape's label is little more than the brand, words look like one: `tos_frontend_ci` is no key, as it
    has neither a digit nor a capital letter.
    """
    return re.search("[0-9A-Z]", text) is not None and mask(text) != text


@cache
def _harmless_length(shapes: tuple[Shape, ...]) -> int:
    """Return a length in which neither a label with the beginning of its secret fits, nor a secret alone."""
    return min(min(shape.shortest_label, shape.secret_length - 2) for shape in (*shapes, keyformat.DEFAULT))


@cache
def _accepted(
    template: str, brand: str, kinds: tuple[str, ...], brands: tuple[str, ...], shapes: tuple[str, ...]
) -> tuple[Shape, ...]:
    with _explained("KEYPORTAL_KEY_TEMPLATE, KEYPORTAL_KEY_BRAND and KEYPORTAL_KEY_KINDS do not make keys"):
        found = [Shape(template, brand, kinds)]
    with _explained("KEYPORTAL_EARLIER_KEY_BRANDS do not make keys"):
        if brands and "{brand}" not in template:
            raise ValueError("the template has no {brand}; write those shapes out in KEYPORTAL_EARLIER_KEY_SHAPES")
        found += [Shape(template, earlier, kinds) for earlier in brands]
    with _explained("KEYPORTAL_EARLIER_KEY_SHAPES do not make keys"):
        found += [_written_out(text) for text in shapes]
    unique: dict[str, Shape] = {}
    for shape in found:
        unique.setdefault(keyformat.scanner_regex(shape), shape)
    return tuple(unique.values())


def _written_out(text: str) -> Shape:
    """Return the shape of `acme_{kind}_{env}_{prefix}_{secret} sk,pk,org`; kinds are there if the template has them."""
    template, _, labels = text.partition(" ")
    if "{brand}" in template:
        raise ValueError(f"write the brand out instead of {{brand}} in {text}")
    if bool(labels.strip()) != ("{kind}" in template):
        raise ValueError(f"a template with {{kind}}, and no other, is followed by its three kinds, unlike {text}")
    kinds = tuple(label.strip() for label in labels.split(",")) if labels else keyformat.DEFAULT.kinds
    return Shape(template, kinds=kinds)


@contextmanager
def _explained(sentence: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{sentence}: {error}") from error
