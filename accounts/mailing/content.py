"""What a mail says, as it is kept until it is sent: encrypted, since it may hold a link that opens an account."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from keyportal.encryption import decrypt, encrypt

PURPOSE = "mail"


@dataclass(frozen=True, slots=True)
class Content:
    """A subject of one line, the same in two forms, and headers beside those that every mail has."""

    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def sealed(content: Content) -> str:
    return encrypt(json.dumps(asdict(content)), purpose=PURPOSE)


def unsealed(text: str) -> Content:
    """Return the content again.

    :raises Unreadable: if it was sealed under another SECRET_KEY.
    """
    return Content(**json.loads(decrypt(text, purpose=PURPOSE)))
