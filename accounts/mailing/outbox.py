"""Writing a mail: it commits with what it is about, and a job sends it a moment later."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.template import Context
from django.template.loader import get_template, render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.mailing import job
from accounts.mailing.content import Content, sealed
from accounts.models import OutgoingMail, User
from accounts.timezones import zone_of

# RFC 5322 §2.1.1 wants lines of 78 characters; a longer subject is folded, and no reader shows so much of one.
SUBJECT_LENGTH = 150


def put(
    name: str,
    *,
    to: User | str,
    context: Mapping[str, Any],
    at: datetime,
    headers: Mapping[str, str] | None = None,
) -> OutgoingMail:
    """Write a mail from `templates/mail/<name>.txt`, whose first line is the subject, and `<name>.html`.

    It is part of the running transaction: what it is about and the mail are both kept, or neither. Its times are
    told in the time zone of the person.

    :param to: a person, or an address that is nobody's yet.
    :param context: links in it are `link`'s, never built from a request's Host.
    :param headers: beside those that every mail has.
    """
    user = to if isinstance(to, User) else None
    told = {"recipient": user, "portal_url": settings.KEYPORTAL_URL, "at": at, **context}
    mail = OutgoingMail(
        name=name,
        recipient=user.email if user else str(to),
        user=user,
        content=sealed(render(name, told, user=user, headers=headers)),
        created_at=at,
        due_at=at,
    )
    mail.save(force_insert=True)
    transaction.on_commit(job.wake)
    return mail


def render(
    name: str, told: Mapping[str, Any], *, user: User | None = None, headers: Mapping[str, str] | None = None
) -> Content:
    """Return what a mail says."""
    with timezone.override(zone_of(user) if user else None):
        # Plain text escapes nothing, whatever its template says of it.
        plain: Any = get_template(f"mail/{name}.txt")
        text = plain.template.render(Context({**told}, autoescape=False))
        html = render_to_string(f"mail/{name}.html", {**told})
    subject, _, body = text.strip().partition("\n")
    return Content(_one_line(subject), body.strip() + "\n", html, headers or {})


def link(name: str, *args: object) -> str:
    """Return the whole address of a page, as mails name it."""
    return f"{settings.KEYPORTAL_URL}{reverse(name, args=args)}"


def _one_line(subject: str) -> str:
    """Return a subject that is one header and nothing else, whatever is in the names that it holds."""
    seen = "".join(" " if unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} else sign for sign in subject)
    return " ".join(seen.split())[:SUBJECT_LENGTH]
