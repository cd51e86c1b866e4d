"""One service account: its keys, and stopping it."""

from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions as people
from accounts.models import ServiceAccount
from accounts.rights import Right, holds
from apikeys.forms.leaving import StopServiceAccountForm
from apikeys.listing import key_table
from apikeys.models import ApiKey
from apikeys.use_rows import DAY
from apikeys.views.access import may_issue
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted


@require_GET
@vary_on_headers("HX-Request")
def service_account_detail(request: MemberRequest, account_id: UUID) -> HttpResponse:
    account = _visible(request, account_id)
    keys = ApiKey.objects.visible_to(request.principal).filter(service_account=account)
    may_have_keys = account.stopped_at is None and account.has_steward
    may_manage = holds(request.principal, Right.SERVICE_ACCOUNTS_MANAGE, account.team_id)
    may_issue_for_team = holds(request.principal, Right.TEAM_KEYS_MANAGE, account.team_id)
    place = {"scope": "team", "team": str(account.team_id)} if may_issue_for_team else {}
    context = key_table(request, keys, at=timezone.now()) | {
        "account": account,
        "may_manage": may_manage,
        "may_issue": may_have_keys and may_issue(request),
        "issue_url": f"{reverse('key-issue')}?{urlencode(place | {'service_account': str(account.pk)})}",
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/service_account_detail.html"
    return render(request, template, context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def service_account_stop(request: MemberRequest, account_id: UUID) -> HttpResponse:
    account = _visible(request, account_id)
    if not holds(request.principal, Right.SERVICE_ACCOUNTS_MANAGE, account.team_id):
        raise PermissionDenied("Only an admin of the team stops its service accounts.")
    at = timezone.now()
    form = StopServiceAccountForm(posted(request), account=account)
    if not form.is_valid():
        return form_page(request, "apikeys/service_account_stop.html", form, account=account, **_counts(account, at))
    try:
        people.stop_service_account(principal=request.principal, service_account=account, at=at)
        messages.success(request, f"{account} stopped at {at:%H:%M} UTC. Its keys have been refused since.")
    except people.ServiceAccountAlreadyStopped:
        messages.info(request, f"{account} was stopped before. Its keys are refused.")
    return redirect("service-account-detail", account.pk)


def _visible(request: MemberRequest, account_id: UUID) -> ServiceAccount:
    accounts = ServiceAccount.objects.visible_to(request.principal).with_stewards()
    return get_object_or_404(accounts, pk=account_id)


def _counts(account: ServiceAccount, at: datetime) -> dict[str, object]:
    """Return how many keys end with the account, and how many of them were used in the last 24 hours."""
    keys = ApiKey.objects.active(at=at).filter(service_account=account)
    return {"key_count": keys.count(), "used_today": keys.filter(last_used_at__gte=at - DAY).count()}
