"""The first page: what there is and what needs a look."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from apikeys.first_steps import first_steps
from apikeys.listing import key_row
from apikeys.models import EXPIRES_SOON, ApiKey
from apikeys.views.access import may_issue
from audit.visibility import visible_events
from keyportal.http import MemberRequest

EVENTS_ON_OVERVIEW = 8
ATTENTION_SHOWN = 5


@require_GET
def overview(request: MemberRequest) -> HttpResponse:
    at = timezone.now()
    keys = ApiKey.objects.visible_to(request.principal)
    attention = keys.needing_attention(at=at).with_places().most_urgent_first()[:ATTENTION_SHOWN]
    is_issuer = may_issue(request)
    steps = first_steps(request.principal, is_issuer=is_issuer)
    context = {
        "counts": {
            "active": keys.active(at=at).count(),
            "used_today": keys.filter(last_used_at__gte=at - timedelta(days=1)).count(),
            "attention": keys.needing_attention(at=at).count(),
            "expiring": keys.active(at=at).filter(expires_at__lte=at + EXPIRES_SOON).count(),
        },
        "attention": [key_row(api_key, request.principal, at=at) for api_key in attention],
        "events": visible_events(request)[:EVENTS_ON_OVERVIEW],
        "steps": [] if all(step.done for step in steps) else steps,
        "may_issue": is_issuer,
        "url": settings.KEYPORTAL_URL,
    }
    return render(request, "apikeys/overview.html", context)
