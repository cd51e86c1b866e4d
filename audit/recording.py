"""The one place where an audit row is written."""

import ipaddress
from typing import Any

from django.utils import timezone

from audit.models import AuditEvent
from audit.signals import Happening
from audit.values import as_json, as_text


def write(happening: Happening, using: str, **_: Any) -> None:
    """Write what happened into the log, in the transaction that is open."""
    context, place = happening.context, happening.place
    actor = context.actor
    AuditEvent(
        at=context.at or timezone.now(),
        organization_id=place.organization_id or context.organization_id,
        team_id=place.team_id,
        project_id=place.project_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=as_text(actor.label),
        issuer_id=actor.issuer_id,
        issuer_label=as_text(actor.issuer_label),
        target_table=happening.target_table,
        target_id=as_text(happening.target_id),
        target_label=as_text(happening.target_label),
        action=happening.action,
        event=happening.event,
        changes=as_json(happening.changes),
        request_id=context.request_id,
        address=_address(context.address),
    ).save(using=using)


def _address(text: str | None) -> str | None:
    """Return an address that the column can hold, without a zone; the peer of a unix socket has none."""
    try:
        return str(ipaddress.ip_address((text or "").partition("%")[0]))
    except ValueError:
        return None
