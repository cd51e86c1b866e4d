"""A person's address, and changing it."""

from dataclasses import replace

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import throttles
from accounts.actions.email_change import (
    EmailChangeNotUsable,
    EmailTaken,
    ask_for_email_change,
    cancel_email_change,
    confirm_email,
    find_email_confirmation,
)
from accounts.actions.inviting import token_digest
from accounts.connected import connected_accounts, manager_of
from accounts.forms.account import EmailChangeForm
from accounts.middleware import organization_not_required
from accounts.models import EmailChange
from accounts.recent import recent_sign_in_required
from audit.context import ANONYMOUS, set_actor
from keyportal.http import MemberRequest, PageRequest
from keyportal.pages import form_status, posted

CONFIRMATION_SESSION_KEY = "email_confirmation_digest"
INVALID = "accounts/email_confirm_invalid.html"


@organization_not_required
@require_GET
def account_email(request: MemberRequest) -> HttpResponse:
    return _page(request, EmailChangeForm(user=request.user))


@organization_not_required
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=["new_email"])
def email_change(request: MemberRequest) -> HttpResponse:
    """Ask for another address; the answer is the same whether somebody has it or not."""
    form = EmailChangeForm(posted(request), user=request.user, initial={"new_email": request.GET.get("new_email")})
    if manager_of(request.user, connected_accounts(request)):
        return _page(request, EmailChangeForm(user=request.user), status=403)
    if not form.is_valid():
        return _page(request, form)
    throttles.consume_mail(request, "manage_email", form.cleaned_data["new_email"])
    ask_for_email_change(user=request.user, new_email=form.cleaned_data["new_email"], at=timezone.now())
    messages.success(request, "We have mailed a link to your old address and one to the new. Open both.")
    return redirect("account-email")


def _page(request: MemberRequest, form: EmailChangeForm, *, status: int = 0) -> HttpResponse:
    context = {
        "form": form,
        "manager": manager_of(request.user, connected_accounts(request)),
        "change": EmailChange.objects.filter(user=request.user, expires_at__gt=timezone.now()).first(),
    }
    return render(request, "accounts/account_email.html", context, status=status or form_status(form))


@organization_not_required
@require_POST
def email_change_cancel(request: MemberRequest) -> HttpResponse:
    cancel_email_change(user=request.user)
    messages.success(request, f"Your address stays {request.user.email}. Both links are void.")
    return redirect("account-email")


@login_not_required
@organization_not_required
@never_cache
@require_GET
def email_confirm_open(request: PageRequest, token: str) -> HttpResponse:
    """Take the token out of the address, as that of an invitation; nothing is confirmed by opening a link."""
    try:
        find_email_confirmation(digest := token_digest(token), at=timezone.now())
    except EmailChangeNotUsable:
        return render(request, INVALID, status=410)
    request.session[CONFIRMATION_SESSION_KEY] = digest
    return redirect("email-confirm")


@login_not_required
@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def email_confirm(request: PageRequest) -> HttpResponse:
    """Ask for the one click that confirms; programs that read mail follow links, and press no buttons."""
    digest, at = request.session.get(CONFIRMATION_SESSION_KEY, ""), timezone.now()
    try:
        confirmation = find_email_confirmation(digest, at=at)
        if request.method == "POST":
            if not request.user.is_authenticated:
                set_actor(replace(ANONYMOUS, label="mailed link"))
            confirmation = confirm_email(digest=digest, at=at, session_key=request.session.session_key)
            del request.session[CONFIRMATION_SESSION_KEY]
    except EmailChangeNotUsable:
        return render(request, INVALID, status=410)
    except EmailTaken as taken:
        return render(request, INVALID, {"reason": str(taken)}, status=409)
    template = "accounts/email_confirmed.html" if request.method == "POST" else "accounts/email_confirm.html"
    return render(request, template, {"confirmation": confirmation, "change": confirmation.change})
