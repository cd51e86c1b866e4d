"""Making and changing service accounts. The page of one shows its keys, and so is in `apikeys`."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.forms import ServiceAccountForm, StewardForm
from accounts.models import ServiceAccount, Team
from accounts.rights import Right, holds
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted

ADMINS_ONLY = "Only an admin of the team makes and changes its service accounts."


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def service_account_create(request: MemberRequest, team_id: UUID) -> HttpResponse:
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    if not holds(request.principal, Right.SERVICE_ACCOUNTS_MANAGE, team.pk):
        raise PermissionDenied(ADMINS_ONLY)
    form = ServiceAccountForm(posted(request), team=team, initial={"steward": request.user})
    if form.is_valid():
        try:
            account = actions.create_service_account(
                principal=request.principal, team=team, at=timezone.now(), **form.cleaned_data
            )
        except actions.Refused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        else:
            messages.success(request, f"{account} is there. Issue a key for it with “New API key”.")
            return redirect("service-account-detail", account.pk)
    return form_page(request, "accounts/service_account_form.html", form, team=team)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def service_account_edit(request: MemberRequest, account_id: UUID) -> HttpResponse:
    """Change the name and the steward."""
    accounts = ServiceAccount.objects.visible_to(request.principal).with_stewards()
    account = get_object_or_404(accounts, pk=account_id)
    if not holds(request.principal, Right.SERVICE_ACCOUNTS_MANAGE, account.team_id):
        raise PermissionDenied(ADMINS_ONLY)
    initial = {"name": account.name, "steward": account.steward if account.has_steward else None}
    form = StewardForm(posted(request), team=account.team, initial=initial)
    if form.is_valid():
        try:
            with transaction.atomic():
                _change(request, account, form)
        except actions.Refused as refused:
            form.add_error(refused.field or None, str(refused))
        else:
            return redirect("service-account-detail", account.pk)
    return form_page(request, "accounts/service_account_edit.html", form, account=account)


def _change(request: MemberRequest, account: ServiceAccount, form: StewardForm) -> None:
    who, data = request.principal, form.cleaned_data
    actions.rename_service_account(principal=who, service_account=account, name=data["name"])
    actions.change_steward(principal=who, service_account=account, steward=data["steward"])
