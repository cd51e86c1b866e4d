"""Settings → Organization: what it is called."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.actions import Refused
from accounts.actions.organizations import change_organization
from accounts.forms.organizations import OrganizationForm
from accounts.models import Organization
from accounts.rights import Right, holds
from keyportal.http import MemberRequest
from keyportal.pages import form_status, posted


@require_http_methods(["GET", "POST"])
def organization_settings(request: MemberRequest) -> HttpResponse:
    if not holds(request.principal, Right.ORGANIZATION_CHANGE):
        raise PermissionDenied("Only a super admin changes the organization. Ask one for it.")
    organization = Organization.objects.get(pk=request.principal.organization_id)
    form = OrganizationForm(posted(request), organization=organization)
    if form.is_valid():
        try:
            change_organization(principal=request.principal, **form.cleaned_data)
        except Refused as refused:
            form.add_error(refused.field or None, str(refused))
        else:
            messages.success(request, "Organization changed.")
            return redirect("organization-settings")
    context = {"form": form, "organization": organization}
    return render(request, "accounts/organization_settings.html", context, status=form_status(form))
