"""Whose key is this: from what someone has found to the keys of theirs that it belongs to."""

import re
from collections.abc import Sequence

from accounts.principals import Principal
from apikeys import foreign, shapes
from apikeys.models import ApiKey

# What one question can be about; a leak may hold more, but nobody reads on.
MOST_LABELS = 20
# What stands between a key and its surroundings in a log or a file; a script of the page splits at the same.
_BETWEEN = re.compile(r"""[\s"'`,;:=<>(){}\[\]…]+""")


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
    """Return the labels of any accepted shape in what was sent, each once, and nothing of what follows them."""
    return list(dict.fromkeys(re.findall(label_regex(), text)))[:MOST_LABELS]


def imported_labels_in(text: str) -> list[str]:
    """Return what may be labels of imported keys in what was sent: of each word no more than such a label is long.

    They look like anything, so that only who finds one among the keys knows that it is no part of a secret.
    """
    words = (word for word in _BETWEEN.split(text) if not re.search(label_regex(), word))
    lengths = foreign.prefix_lengths()
    cut = [[word[:length] for length in lengths if len(word) >= length] for word in words if word.isascii()]
    cut = [labels for labels in cut if labels][:MOST_LABELS]
    return list(dict.fromkeys(label for labels in cut for label in labels if label.isprintable()))


def keys_of(principal: Principal, labels: Sequence[str]) -> list[ApiKey]:
    """Return the keys that have these labels, as far as the caller may manage them; others' keys are no answer."""
    if not labels:
        return []
    return list(ApiKey.objects.visible_to(principal).filter(label__in=labels).with_places().with_roles().newest_first())
