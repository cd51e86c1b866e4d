"""Second factors: the overview, adding and removing, and where a sign-in asks for one.

allauth's own views do the steps of a sign-in; they are wrapped, so that a form that was filled in wrongly answers 422.
"""

import base64
import json
from typing import Any

from allauth.account.models import Login
from allauth.account.utils import get_next_redirect_url
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import views as steps
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from allauth.mfa.webauthn import views as passkeys
from allauth.mfa.webauthn.internal import auth
from allauth.mfa.webauthn.internal.flows import perform_passwordless_login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.forms import BaseForm, Form
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions
from accounts.actions import factors as changes
from accounts.factors import KINDS, passkey_origin
from accounts.forms.factors import AddPasskeyForm, AppCodeForm, PasskeyNameForm
from accounts.middleware import organization_not_required
from accounts.recent import recent_sign_in_required
from keyportal.encryption import decrypt, encrypt
from keyportal.http import MemberRequest
from keyportal.pages import form_page, form_status, posted

# The secret of an app that is being set up, encrypted: sessions are kept in the database.
PENDING_APP = "pending_authenticator_app"
PURPOSE = "second_factor"
CODE_COUNT = 10


@organization_not_required
@require_GET
def factor_list(request: MemberRequest) -> HttpResponse:
    """Show what second factors there are, and when each was last used."""
    factors = list(Authenticator.objects.filter(user=request.user).order_by("created_at", "id"))
    of = {kind: [row for row in factors if row.type == kind] for kind in Authenticator.Type}
    codes = next(iter(of[Authenticator.Type.RECOVERY_CODES]), None)
    context = {
        "app": next(iter(of[Authenticator.Type.TOTP]), None),
        "passkeys": of[Authenticator.Type.WEBAUTHN],
        "codes": codes,
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "code_count": CODE_COUNT,
        "has_factor": any(of[kind] for kind in KINDS),
        "passkey_origin": passkey_origin(),
    }
    return render(request, "mfa/index.html", context)


@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required()
def app_add(request: MemberRequest) -> HttpResponse:
    """Show the secret of a new authenticator app, until a code shows that the app has it."""
    if Authenticator.objects.filter(user=request.user, type=Authenticator.Type.TOTP).exists():
        return redirect("mfa_index")
    secret = _pending_secret(request)
    form = AppCodeForm(posted(request), secret=secret)
    if form.is_valid():
        try:
            codes = changes.add_authenticator_app(
                user=request.user,
                secret=secret,
                step=form.step,
                at=timezone.now(),
                session_key=request.session.session_key,
            )
        except actions.Refused as refused:
            form.add_error(None, str(refused))
        else:
            del request.session[PENDING_APP]
            return _added(request, codes, "Your authenticator app is set up. Sign-ins ask for its code from now on.")
    return render(request, "mfa/app_add.html", {"form": form, **_shown(request, secret)}, status=form_status(form))


def _pending_secret(request: MemberRequest) -> str:
    """Return the secret that the page showed; a page that is opened anew shows another one."""
    kept = request.session.get(PENDING_APP)
    if request.method == "POST" and kept:
        return decrypt(kept, purpose=PURPOSE)
    secret = str(generate_totp_secret())
    request.session[PENDING_APP] = encrypt(secret, purpose=PURPOSE)
    return secret


def _shown(request: MemberRequest, secret: str) -> dict[str, str]:
    address = get_adapter().build_totp_url(request.user, secret)
    picture = base64.b64encode(get_adapter().build_totp_svg(address).encode()).decode("ascii")
    groups = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return {"picture": f"data:image/svg+xml;base64,{picture}", "secret": groups, "app_address": address}


def _added(request: MemberRequest, codes: list[str], sentence: str) -> HttpResponse:
    """Show recovery codes in this answer and nowhere else, if there are new ones."""
    if not codes:
        messages.success(request, sentence)
        return redirect("mfa_index")
    context = {"codes": codes, "sentence": sentence, "portal_url": settings.KEYPORTAL_URL}
    return render(request, "mfa/recovery_codes.html", context)


@organization_not_required
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def app_remove(request: MemberRequest) -> HttpResponse:
    factor = get_object_or_404(Authenticator, user=request.user, type=Authenticator.Type.TOTP)
    return _remove(request, factor, "mfa/app_remove.html")


@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required()
def passkey_add(request: MemberRequest) -> HttpResponse:
    if not passkey_origin():
        return redirect("mfa_index")
    form = AddPasskeyForm(posted(request))
    if form.is_valid():
        try:
            key = request.session.session_key
            codes = changes.add_passkey(user=request.user, at=timezone.now(), session_key=key, **form.cleaned_data)
        except actions.Refused as refused:
            form.add_error(None, str(refused))
        else:
            return _added(request, codes, f"The passkey “{form.cleaned_data['name']}” is set up.")
    context = {"form": form, "options": _creation_options(request), "passkey_origin": passkey_origin()}
    return render(request, "mfa/passkey_add.html", context, status=form_status(form))


def _creation_options(request: MemberRequest) -> str:
    """Return what the browser is asked to make: a passkey that signs in alone, or a key that stands beside a password.

    A security key without a PIN cannot verify its user, and one with little memory cannot be found without a name.
    Both are good second factors, so neither ability is required.
    """
    options = auth.begin_registration(request.user, False)
    options["publicKey"]["authenticatorSelection"] |= {"residentKey": "preferred", "requireResidentKey": False}
    return json.dumps(options)


@organization_not_required
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def passkey_rename(request: MemberRequest, factor_id: int) -> HttpResponse:
    factor = _passkey(request, factor_id)
    form = PasskeyNameForm(posted(request), initial={"name": str(factor)})
    if form.is_valid():
        changes.rename_passkey(user=request.user, factor_id=factor_id, name=form.cleaned_data["name"])
        return redirect("mfa_index")
    return form_page(request, "mfa/passkey_rename.html", form, factor=factor)


@organization_not_required
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def passkey_remove(request: MemberRequest, factor_id: int) -> HttpResponse:
    return _remove(request, _passkey(request, factor_id), "mfa/passkey_remove.html")


def _passkey(request: MemberRequest, factor_id: int) -> Authenticator:
    return get_object_or_404(Authenticator, user=request.user, type=Authenticator.Type.WEBAUTHN, pk=factor_id)


def _remove(request: MemberRequest, factor: Authenticator, template: str) -> HttpResponse:
    form = Form(posted(request))
    if form.is_valid():
        try:
            changes.remove_factor(user=request.user, factor_id=factor.pk, at=timezone.now())
        except changes.FactorGone as gone:
            raise Http404 from gone
        except actions.Refused as refused:
            form.add_error(None, str(refused))
        else:
            return redirect("mfa_index")
    is_last = not Authenticator.objects.filter(user=request.user, type__in=KINDS).exclude(pk=factor.pk).exists()
    stays = changes.why_last_stays(request.user) if is_last else None
    return form_page(request, template, form, factor=factor, is_last=is_last, stays=stays)


@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def recovery_codes_generate(request: MemberRequest) -> HttpResponse:
    form = Form(posted(request))
    if form.is_valid():
        try:
            codes = changes.generate_recovery_codes(user=request.user, at=timezone.now())
        except actions.Refused as refused:
            form.add_error(None, str(refused))
        else:
            return _added(request, codes, "Recovery codes from before are void.")
    return form_page(request, "mfa/recovery_codes_generate.html", form)


# The steps of a sign-in


def _answered(response: Any, form: BaseForm | None) -> HttpResponseBase:
    """Say by the status, too, that a form was filled in wrongly."""
    if form is not None and form.errors and response.status_code == 200:
        response.status_code = 422
    return response  # type: ignore[no-any-return] # allauth is not typed


class _SecondStep(steps.AuthenticateView):  # type: ignore[misc] # allauth is not typed
    template_name = "mfa/authenticate.html"

    def form_invalid(self, form: BaseForm) -> HttpResponseBase:
        return _answered(super().form_invalid(form), form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        kinds = set(Authenticator.objects.filter(user=self.stage.login.user).values_list("type", flat=True))
        context["has_app"] = Authenticator.Type.TOTP in kinds
        context["has_codes"] = bool(kinds - {Authenticator.Type.WEBAUTHN})
        context["has_passkey"] = Authenticator.Type.WEBAUTHN in kinds and bool(passkey_origin())
        context["options"] = json.dumps(context["js_data"]["request_options"])
        return context


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponseBase:
    """Ask for a second factor, after the password or a provider."""
    response: HttpResponseBase = _SecondStep.as_view()(request)
    return response


class _PasskeySignIn(passkeys.LoginWebAuthnView):  # type: ignore[misc] # allauth is not typed
    def form_valid(self, form: BaseForm) -> HttpResponseBase:
        factor = form.cleaned_data["credential"]
        login = Login(user=factor.user, redirect_url=get_next_redirect_url(self.request))
        response: HttpResponseBase = perform_passwordless_login(self.request, factor, login)
        return response


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def passkey_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Give the sign-in page's script a challenge, and sign in whose passkey answers it."""
    response: HttpResponseBase = _PasskeySignIn.as_view()(request)
    return response


class _ConfirmByCode(steps.ReauthenticateView):  # type: ignore[misc] # allauth is not typed
    template_name = "mfa/reauthenticate.html"

    def form_invalid(self, form: BaseForm) -> HttpResponseBase:
        return _answered(super().form_invalid(form), form)


@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def confirm_by_code(request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = _ConfirmByCode.as_view()(request)
    return response


class _ConfirmByPasskey(passkeys.ReauthenticateWebAuthnView):  # type: ignore[misc] # allauth is not typed
    template_name = "mfa/reauthenticate_passkey.html"

    def form_invalid(self, form: BaseForm) -> HttpResponseBase:
        return _answered(self.render_to_response(self.get_context_data(form=form)), form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | kwargs | {"options": json.dumps(context["js_data"]["request_options"])}


@organization_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def confirm_by_passkey(request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = _ConfirmByPasskey.as_view()(request)
    return response
