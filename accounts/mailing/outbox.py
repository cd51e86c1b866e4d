"""Writing a mail: it commits with what it is about, and a job sends it a moment later."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string

from accounts.models import OutgoingMail, User
from keyportal.encryption import encrypt

PURPOSE = "mail"


def put(name: str, *, to: User | str, context: Mapping[str, Any], at: datetime) -> OutgoingMail:
    """Write a mail from `templates/mail/<name>.txt`, whose first line is the subject, and `<name>.html`.

    Links in the context are built from KEYPORTAL_URL, never from a request's Host.
    """
    user = to if isinstance(to, User) else None
    address = user.email if user else str(to)
    told = {"recipient": user, "address": address, **context}
    subject, _, text = render_to_string(f"mail/{name}.txt", told).strip().partition("\n")
    html = render_to_string(f"mail/{name}.html", told)
    content = json.dumps({"subject": subject.strip(), "text": text.strip() + "\n", "html": html})
    return OutgoingMail.objects.create(
        name=name,
        recipient=address,
        user=user,
        content=encrypt(content, purpose=PURPOSE),
        created_at=at,
        due_at=at,
    )
