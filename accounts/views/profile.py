"""A person's own account: their profile, and good habits."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts import timezones
from accounts.actions.profile import change_profile
from accounts.factors import has_second_factor
from accounts.forms.account import ZONES_ID, ProfileForm
from accounts.middleware import organization_not_required
from accounts.models import User
from accounts.rights import only_reads
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted

FIELDS = ("name", "company", "job_title", "time_zone")


@organization_not_required
@require_http_methods(["GET", "POST"])
def account_profile(request: MemberRequest) -> HttpResponse:
    user: User = request.user
    form = ProfileForm(posted(request), initial={name: getattr(user, name) for name in FIELDS})
    if form.is_valid():
        change_profile(user=user, **form.cleaned_data)
        messages.success(request, "Profile saved.")
        return redirect("account-profile")
    return form_page(request, "accounts/account_profile.html", form, zones=timezones.names(), zones_id=ZONES_ID)


@organization_not_required
@require_GET
def account_habits(request: MemberRequest) -> HttpResponse:
    # Who is in no organization is shown no links into one either.
    may_issue = hasattr(request, "member") and not only_reads(request.principal)
    context = {"has_factor": has_second_factor(request.user), "may_issue": may_issue}
    return render(request, "accounts/account_habits.html", context)
