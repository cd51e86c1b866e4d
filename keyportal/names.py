"""What may be the name of anything: of a key, a project, a person."""

import unicodedata
from collections.abc import Callable

from django.core.exceptions import ValidationError

MAX_LENGTH = 100
RULE = "A name has 1 to 100 characters, and none that cannot be seen."
KEY_PASTED = "A key was pasted here. Write something that is no secret."
# Control, format and surrogate characters, and the two that end a line: they forge what a log or a page shows.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _holds_none(_text: str) -> bool:
    """Take nothing for a key, as long as nobody has said what keys look like."""
    return False


_holds_key: Callable[[str], bool] = _holds_none


def refuse_keys(holds_key: Callable[[str], bool]) -> None:
    """Have texts refused that hold a key, which the app that knows keys can tell: names are kept in clear."""
    global _holds_key  # noqa: PLW0603 - one rule for the whole process is the point
    _holds_key = holds_key


def is_plain(text: str) -> bool:
    """Say whether a text, less the white space around it, can be a name."""
    return not broken_rule(text)


def broken_rule(text: str, rule: str = RULE) -> str:
    """Return why a text, less the white space around it, cannot be a name; nothing, if it can.

    :param rule: what to say of one that is too long, empty or not seen whole, where it is called something else.
    """
    stripped = text.strip()
    if not 1 <= len(stripped) <= MAX_LENGTH or any(unicodedata.category(sign) in _UNSEEN for sign in stripped):
        return rule
    return KEY_PASTED if _holds_key(stripped) else ""


def with_unseen_marked(text: str) -> str:
    """Return a text that anybody may have sent, with a mark for each character that could change how a page reads."""
    return "".join("\ufffd" if unicodedata.category(sign) in _UNSEEN else sign for sign in text)


def validate_plain(text: str) -> None:
    """Refuse, as a validator of forms and models, what cannot be a name.

    :raises ValidationError: with the rule as its sentence.
    """
    if broken := broken_rule(text):
        raise ValidationError(broken, code="name")


def folded(text: str) -> str:
    """Return a name with each run of white space as one space: pages show it so, and people type what they see."""
    return " ".join(text.split())
