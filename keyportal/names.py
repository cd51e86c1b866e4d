"""What may be the name of anything: of a key, a project, a person."""

import unicodedata

from django.core.exceptions import ValidationError

MAX_LENGTH = 100
RULE = "A name has 1 to 100 characters, and none that cannot be seen."
# Control, format and surrogate characters, and the two that end a line: they forge what a log or a page shows.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_plain(text: str) -> bool:
    """Say whether a text, less the white space around it, can be a name."""
    stripped = text.strip()
    return 1 <= len(stripped) <= MAX_LENGTH and not any(unicodedata.category(sign) in _UNSEEN for sign in stripped)


def with_unseen_marked(text: str) -> str:
    """Return a text that anybody may have sent, with a mark for each character that could change how a page reads."""
    return "".join("\ufffd" if unicodedata.category(sign) in _UNSEEN else sign for sign in text)


def validate_plain(text: str) -> None:
    """Refuse, as a validator of forms and models, what cannot be a name.

    :raises ValidationError: with the rule as its sentence.
    """
    if not is_plain(text):
        raise ValidationError(RULE, code="name")


def folded(text: str) -> str:
    """Return a name with each run of white space as one space: pages show it so, and people type what they see."""
    return " ".join(text.split())
