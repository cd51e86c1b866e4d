"""What mail a person wants, and stopping it from a mail itself."""

from dataclasses import replace

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import topics
from accounts.actions import preferences as actions
from accounts.forms.preferences import PreferencesForm
from accounts.middleware import organization_not_required
from accounts.models import User
from audit.context import ANONYMOUS, set_actor
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_page, posted


@organization_not_required
@require_http_methods(["GET", "POST"])
def account_preferences(request: MemberRequest) -> HttpResponse:
    user: User = request.user
    form = PreferencesForm(posted(request), initial=PreferencesForm.initial_of(user))
    if form.is_valid():
        actions.change_preferences(user=user, wanted=form.wanted())
        messages.success(request, "Preferences saved.")
        return redirect("account-preferences")
    return form_page(request, "accounts/account_preferences.html", form)


# RFC 8058 §3.2: a mail program posts without cookies, and so without a CSRF token. The link's own is the proof.
@csrf_exempt
@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def unsubscribe(request: PageRequest, token: str) -> HttpResponse:
    """Ask with one button, since programs open links too; a post switches the topic off, and is answered at once."""
    try:
        user, topic = topics.subscription(token)
    except topics.NoSuchSubscription as error:
        raise Http404 from error
    if request.method == "POST":
        set_actor(replace(ANONYMOUS, label="unsubscribe link"))
        actions.unsubscribe(user=user, topic=topic)
    context = {"topic": topic, "address": _masked(user.email), "is_done": request.method == "POST"}
    return render(request, "accounts/unsubscribe.html", context)


def _masked(email: str) -> str:
    """Return as much of an address as its owner needs to know it again: a link may have been passed on."""
    name, _, domain = email.rpartition("@")
    return f"{name[:1]}…@{domain}"
