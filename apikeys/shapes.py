"""The key shapes of this installation: `keyformat` with the settings put in."""

from functools import cache
from urllib.parse import unquote

from django.conf import settings

from apikeys import keyformat
from apikeys.keyformat import Shape

# What to say to who pastes a key where the name of one belongs.
KEY_AS_NAME = "A key was pasted here. Choose a name that says what uses the new one."


def current() -> Shape:
    """Return the shape that new keys get."""
    return accepted()[0]


def accepted() -> tuple[Shape, ...]:
    """Return every shape whose keys are still good, the current one first."""
    return _for_brands((settings.KEYPORTAL_KEY_BRAND, *settings.KEYPORTAL_EARLIER_KEY_BRANDS))


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
    """Say whether a text has something in it that must not be stored, logged or shown: a key, or the most of one."""
    return mask(text) != text


@cache
def _harmless_length(shapes: tuple[Shape, ...]) -> int:
    """Return a length in which neither a label with the beginning of its secret fits, nor a secret alone."""
    return min(min(shape.shortest_label, shape.secret_length - 2) for shape in (*shapes, keyformat.DEFAULT))


@cache
def _for_brands(brands: tuple[str, ...]) -> tuple[Shape, ...]:
    return tuple(Shape(brand=brand) for brand in brands)
