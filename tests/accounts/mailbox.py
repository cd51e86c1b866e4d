"""What people find in their mail: the outbox, opened."""

import re

from accounts.mailing.content import Content, unsealed
from accounts.models import OutgoingMail


def mails(recipient: str | None = None) -> list[Content]:
    """Return what was written to an address, or to all, in the order in which it was."""
    written = OutgoingMail.objects.order_by("created_at", "pk")
    return [unsealed(mail.content) for mail in (written.filter(recipient=recipient) if recipient else written)]


def link_to(recipient: str, *, base: str = "http://127.0.0.1:8000") -> str:
    """Return the path of the first link that stands on a line of its own in the newest mail to an address."""
    link = re.findall(r"^http\S+$", mails(recipient)[-1].text, re.MULTILINE)[0]
    assert link.startswith(base)
    return str(link).removeprefix(base)
