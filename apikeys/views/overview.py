"""The first page: what there is and what needs a look."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from apikeys.filters import KeyFilter
from apikeys.finding import BOUND, count_all, most_urgent, search_of
from apikeys.first_steps import first_steps
from apikeys.listing import key_row, said
from apikeys.models import EXPIRES_SOON, ApiKey
from apikeys.rules import rules_of
from apikeys.views.access import may_issue
from audit.visibility import visible_events
from keyportal.http import MemberRequest

EVENTS_ON_OVERVIEW = 8
ATTENTION_SHOWN = 5
FIGURES = {
    "active": "Active keys",
    "used_today": "Used in 24 hours",
    "attention": "Need attention",
    "expiring": "Expire within 14 days",
}


@require_GET
def overview(request: MemberRequest) -> HttpResponse:
    at = timezone.now()
    policy = rules_of(request.principal.organization_id).policy
    search = search_of(request.principal, KeyFilter(), at=at, unused_after=policy.warn_unused_after)
    asked = {
        "active": KeyFilter(state="active"),
        "used_today": KeyFilter(state="active", used_from=at - timedelta(days=1)),
        "attention": KeyFilter(state="attention"),
        # One that ends just then counts, and the end of a filter does not.
        "expiring": KeyFilter(state="active", expires_to=at + EXPIRES_SOON + timedelta(microseconds=1)),
    }
    counts = count_all(search, asked)
    attention = most_urgent(search, size=ATTENTION_SHOWN)
    left = ApiKey.objects.overseen_by(request.principal).active(at=at).left_behind()
    left_behind = left.order_by()[:BOUND].count()
    is_issuer = may_issue(request)
    steps = first_steps(request.principal, is_issuer=is_issuer)
    context = {
        "counts": counts,
        "figures": [(title, said(counts[name]), _url(asked[name])) for name, title in FIGURES.items()],
        "left_behind": left_behind,
        "left_behind_said": said(left_behind),
        "attention": [key_row(api_key, request.principal, policy=policy, at=at) for api_key in attention],
        "events": visible_events(request)[:EVENTS_ON_OVERVIEW],
        "steps": [] if all(step.done for step in steps) else steps,
        "may_issue": is_issuer,
        "url": settings.KEYPORTAL_URL,
    }
    return render(request, "apikeys/overview.html", context)


def _url(asked: KeyFilter) -> str:
    """Return the address of the list that a figure counts."""
    moments = {"used_from": asked.used_from, "expires_to": asked.expires_to}
    query = {"tab": asked.state} | {
        name: f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for name, moment in moments.items() if moment
    }
    return f"{reverse('key-list')}?{urlencode(query)}"
