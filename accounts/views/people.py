"""The page of an organization's people. What is done to one of them shows their keys, and so is in `apikeys`."""

from allauth.socialaccount.adapter import get_adapter
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from accounts.forms.inviting import PeopleFilterForm
from accounts.models import Invitation
from accounts.people import members, rows_of
from accounts.rights import Right, holds
from keyportal.http import MemberRequest

PAGE_SIZE = 50


@require_GET
@vary_on_headers("HX-Request")
def people_list(request: MemberRequest) -> HttpResponse:
    if not holds(request.principal, Right.PEOPLE_SEE):
        raise PermissionDenied("Only a super admin or an auditor sees everyone in the organization.")
    form = PeopleFilterForm(request.GET)
    is_valid = form.is_valid()
    asked = {"text": form.cleaned_data["q"], "role": form.cleaned_data["role"]} if is_valid else {}
    organization_id = request.principal.organization_id
    page = Paginator(members(organization_id, **asked), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "rows": rows_of(page, _provider_names(request)) if is_valid else [],
        "is_filtered": any(asked.values()) or not is_valid,
        "may_manage": holds(request.principal, Right.PEOPLE_MANAGE),
    }
    if request.htmx:
        return render(request, "accounts/_people_table.html", context, status=200 if is_valid else 422)
    pending = Invitation.objects.filter(organization=organization_id).pending(at=timezone.now())
    context["invitations"] = pending.select_related("team", "organization", "invited_by").order_by("-created_at")
    return render(request, "accounts/people_list.html", context, status=200 if is_valid else 422)


def _provider_names(request: MemberRequest) -> dict[str, str]:
    """Return what the configured providers are called, by what accounts there are stored under."""
    return {getattr(found, "sub_id", found.id): found.name for found in get_adapter().list_providers(request)}
