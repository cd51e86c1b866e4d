"""Issuing a key: the form, and the one response that shows the key."""

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.recent import recent_sign_in_required
from apikeys import actions, hashing
from apikeys.forms.issuing import LIMITS, IssueKeyForm
from apikeys.keyformat import Key
from apikeys.models import ApiKey
from apikeys.snippets import snippets
from apikeys.views.access import may_issue
from keyportal.http import MemberRequest
from keyportal.pages import form_page, fragment

# What the address of the issue form can fill in.
PREFILLED = ("name", "scope", "team", "project", "environment", "permissions", "expiry", "expires_on", *LIMITS)


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required(keep=PREFILLED)
def key_issue(request: MemberRequest) -> HttpResponse:
    """Show the form; on its POST, reveal the key in this very response and nowhere else."""
    if not may_issue(request):
        raise PermissionDenied("You are in no team that has a project. Ask a team admin to add you.")
    at = timezone.now()
    if request.method == "GET":
        return _issue_form(request, _prefilled(request, at))
    form = IssueKeyForm(request.POST, principal=request.principal, at=at)
    if not form.is_valid():
        return _issue_form(request, form)
    data = form.cleaned_data
    try:
        api_key, key = actions.issue_key(
            principal=request.principal,
            name=data["name"],
            place=form.place(request.member.organization),
            environment=data["environment"],
            permissions=data["permissions"],
            limits=form.limits(),
            expires_at=form.expires_at(),
            at=at,
            issue_id=data["issue_id"],
        )
    except actions.KeyAlreadyIssued:
        return _already_issued(request, data["issue_id"])
    except actions.Refused as refused:
        form.add_error(refused.field or None, str(refused))
        return _issue_form(request, form)
    except hashing.HashingUnavailable:
        form.add_error(None, "The portal is busy just now, and nothing was issued. Try again in a moment.")
        return _busy(_issue_form(request, form))
    return _reveal(request, api_key, key)


def _prefilled(request: MemberRequest, at: datetime) -> IssueKeyForm:
    """Return the form as its URL asks for it, so that documentation can link to a correct one."""
    initial: dict[str, object] = {name: request.GET[name] for name in PREFILLED if name in request.GET}
    if "permissions" in request.GET:
        initial["permissions"] = [name for text in request.GET.getlist("permissions") for name in text.split(",")]
    return IssueKeyForm(initial=initial, principal=request.principal, at=at)


def _issue_form(request: MemberRequest, form: IssueKeyForm) -> HttpResponse:
    return form_page(
        request,
        "apikeys/key_issue.html",
        form,
        permission_groups=form.groups(),
        sentence=_sentence(request, form),
        cancel_url=reverse("key-list"),
    )


def _busy(response: HttpResponse) -> HttpResponse:
    response.status_code, response["Retry-After"] = HTTPStatus.SERVICE_UNAVAILABLE, "1"
    return response


def _sentence(request: MemberRequest, form: IssueKeyForm) -> str:
    """Say what the key could do as the form is shown, typed in or prefilled."""
    shown = QueryDict(mutable=True)
    for field in form:
        value = field.value()
        shown.setlist(field.html_name, value if isinstance(value, list) else [str(value)] if value else [])
    return IssueKeyForm(shown, principal=form.principal, at=form.at).sentence(request.member.organization)


@require_GET
def key_issue_sentence(request: MemberRequest) -> HttpResponse:
    form = IssueKeyForm(request.GET, principal=request.principal, at=timezone.now())
    return render(request, "apikeys/_issue_sentence.html", {"sentence": form.sentence(request.member.organization)})


def _reveal(request: MemberRequest, api_key: ApiKey, key: Key) -> HttpResponse:
    """The one response that holds a key. It is not redirected to, not stored, and not rendered again."""
    revealed = key.reveal()
    context = {
        "api_key": api_key,
        "key": revealed,
        "snippets": snippets(revealed, url=settings.KEYPORTAL_URL),
        "done_url": f"{reverse('key-list')}?{urlencode({'issued': str(api_key.pk)})}",
    }
    return render(request, fragment("apikeys/key_revealed.html", request), context)


def _already_issued(request: MemberRequest, issue_id: UUID) -> HttpResponse:
    """Answer a form that was sent twice, by a reload or the back button: the key exists and was shown."""
    visible = ApiKey.objects.visible_to(request.principal)
    api_key = visible.issued_by_form(request.principal.user_id, issue_id).first()
    context = {"api_key": api_key}
    return render(request, fragment("apikeys/key_already_issued.html", request), context, status=409)
