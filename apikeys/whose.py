"""Whose key is this: from what someone has found to the keys of theirs that it belongs to."""

from collections.abc import Sequence

from accounts.principals import Principal
from apikeys import shapes
from apikeys.keyformat import ALPHABET, MAX_LABEL
from apikeys.models import ApiKey

# What one question can be about; a leak may hold more, but nobody reads on.
MOST_LABELS = 20


def label_regex() -> str:
    """Return the expression of a label in any accepted shape, which means the same to Python and to a browser.

    It is the head and the prefix: where a key's prefix and secret are one run, no more of that run than the prefix.
    """
    labels = {
        f"(?:{'|'.join(sorted(shape.heads(), key=len, reverse=True))})[0-9A-Za-z]{{{shape.prefix_length}}}"
        for shape in shapes.accepted()
    }
    return "|".join(sorted(labels))


def example_label() -> str:
    """Return what a label looks like here."""
    shape = shapes.current()
    return shape.heads()[0] + "a1B2c3D4e5F6g7H8"[: shape.prefix_length]


def labels_in(text: str) -> list[str]:
    """Return what may be labels in what was sent, each once: imported keys have some of any shape."""
    words = dict.fromkeys(word.rstrip("….") for word in text.split())
    plain = set(ALPHABET) | set("_-.")
    return [word for word in words if word and len(word) <= MAX_LABEL and plain.issuperset(word)][:MOST_LABELS]


def keys_of(principal: Principal, labels: Sequence[str]) -> list[ApiKey]:
    """Return the keys that have these labels, as far as the caller may manage them; others' keys are no answer."""
    if not labels:
        return []
    return list(ApiKey.objects.visible_to(principal).filter(label__in=labels).with_places().with_roles().newest_first())
