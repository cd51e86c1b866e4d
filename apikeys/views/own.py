"""A person's own: the keys that they issued, what the portal knows about them, and the end of their account."""

import json
from dataclasses import dataclass

from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from accounts.actions import organizations_left_alone
from accounts.middleware import organization_not_required
from accounts.recent import recent_sign_in_required
from accounts.recording import record_own
from apikeys import actions
from apikeys.forms.own import DeleteAccountForm
from apikeys.health import Health, health_of
from apikeys.models import ApiKey
from apikeys.own_data import data_of
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_status, posted

PAGE_SIZE = 25
# How many keys are named of those that would end with the account.
KEYS_NAMED = 10


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key that someone issued, and whether they can look at its page where they are acting now."""

    api_key: ApiKey
    health: Health
    is_within_reach: bool


@organization_not_required
@require_GET
@vary_on_headers("HX-Request")
def my_keys(request: MemberRequest) -> HttpResponse:
    """Every key that the person issued, in whatever organization, and though they may have left it."""
    at = timezone.now()
    keys = ApiKey.objects.filter(issuer=request.user).with_places().with_roles().newest_first()
    page = Paginator(keys, PAGE_SIZE).get_page(request.GET.get("page"))
    principal = getattr(request, "principal", None)
    visible = ApiKey.objects.visible_to(principal) if principal else ApiKey.objects.none()
    within_reach = set(visible.filter(pk__in=[api_key.pk for api_key in page]).values_list("pk", flat=True))
    rows = [OwnKey(key, health_of(key, at=at), key.pk in within_reach) for key in page]
    template = "apikeys/_my_key_table.html" if request.htmx else "apikeys/my_keys.html"
    return render(request, template, {"page": page, "rows": rows})


@organization_not_required
@require_GET
def account_data(request: MemberRequest) -> HttpResponse:
    return render(request, "apikeys/account_data.html")


@organization_not_required
@require_POST
@recent_sign_in_required()
def account_download(request: MemberRequest) -> HttpResponse:
    """Hand out what the portal knows about the person, as a file, and record that it did."""
    with transaction.atomic():
        record_own("user.data_exported", request.user)
    content = json.dumps(data_of(request.user, at=timezone.now()), cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)
    response = HttpResponse(content + "\n", content_type="application/json")
    response["Content-Disposition"] = 'attachment; filename="keyportal-account.json"'
    response["Cache-Control"] = "no-store"
    return response


@organization_not_required
@require_http_methods(["GET", "POST"])
@recent_sign_in_required()
def account_delete(request: MemberRequest) -> HttpResponse:
    """Say what ends with the account, and delete it once its address was typed."""
    at = timezone.now()
    keys = actions.keys_standing_with(request.user, at=at).with_places().newest_first()
    form = DeleteAccountForm(posted(request), user=request.user, key_count=keys.count())
    if form.is_valid():
        try:
            actions.delete_account(user=request.user, at=at, revoke_keys=form.cleaned_data.get("revoke_keys", False))
        except actions.Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        else:
            logout(request)
            return redirect("account-deleted")
    context = {
        "form": form,
        "keys": keys[:KEYS_NAMED],
        "key_count": form.key_count,
        "alone": organizations_left_alone(request.user),
    }
    return render(request, "apikeys/account_delete.html", context, status=form_status(form))


@login_not_required
@require_GET
def account_deleted(request: PageRequest) -> HttpResponse:
    return render(request, "apikeys/account_deleted.html")
