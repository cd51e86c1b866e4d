"""Issuing a key: the form, and the one response that shows the key."""

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from apikeys import actions, hashing
from apikeys.first_steps import why_no_key
from apikeys.flows import FLOWS, ORGANIZATION, SECRET, Flow
from apikeys.forms.fields import LIMITS
from apikeys.forms.issuing import IssueKeyForm
from apikeys.models import ApiKey
from apikeys.views.access import may_issue
from apikeys.views.revealing import reveal
from keyportal.http import MemberRequest
from keyportal.pages import form_page, fragment

# What the address of the issue form can fill in.
PREFILLED = (
    "name",
    "scope",
    "team",
    "project",
    "environment",
    "service_account",
    "permissions",
    "expiry",
    "expires_on",
    "allowed_origins",
    "networks",
    *LIMITS,
)
# What one click on the form chooses: everything that only looks.
READ_ONLY = "read-only"


@never_cache
@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required(keep=PREFILLED)
def key_issue(request: MemberRequest, flow: str) -> HttpResponse:
    """Show the form; on its POST, reveal the key in this very response and nowhere else."""
    at = timezone.now()
    if request.method == "GET" and flow == SECRET.slug and request.GET.get("scope") == ApiKey.Scope.ORG:
        return redirect(f"{reverse(ORGANIZATION.url_name)}?{request.GET.urlencode()}")
    _require_issuer(request, FLOWS[flow])
    if request.method == "GET":
        return _issue_form(request, _prefilled(request, FLOWS[flow], at))
    form = IssueKeyForm(request.POST, principal=request.principal, at=at, flow=FLOWS[flow])
    if not form.is_valid():
        return _issue_form(request, form)
    data = form.cleaned_data
    try:
        api_key, key = actions.issue_key(
            principal=request.principal,
            name=data["name"],
            place=form.place(request.member.organization),
            environment=data["environment"],
            permissions=form.granted,
            kind=form.flow.kind,
            service_account=data.get("service_account"),
            allowed_origins=data.get("allowed_origins", ()),
            networks=data["networks"],
            limits=form.limits(),
            expires_at=form.expires_at(),
            at=at,
            issue_id=data["issue_id"],
        )
    except actions.KeyAlreadyIssued:
        return _already_issued(request, data["issue_id"])
    except actions.Refused as refused:
        form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        return _issue_form(request, form)
    except hashing.HashingUnavailable:
        form.add_error(None, "The portal is busy just now, and nothing was issued. Try again in a moment.")
        return _busy(_issue_form(request, form))
    return reveal(request, api_key, key)


def _require_issuer(request: MemberRequest, flow: Flow) -> None:
    if flow is ORGANIZATION and not holds(request.principal, Right.ORGANIZATION_KEYS_MANAGE):
        raise PermissionDenied("Only a super admin issues keys of the organization. Ask one for it.")
    if flow is not ORGANIZATION and not may_issue(request):
        raise PermissionDenied(why_no_key(request.principal))


def _prefilled(request: MemberRequest, flow: Flow, at: datetime) -> IssueKeyForm:
    """Return the form as its URL asks for it, so that documentation can link to a correct one."""
    initial: dict[str, object] = {name: request.GET[name] for name in PREFILLED if name in request.GET}
    if "permissions" in request.GET:
        initial["permissions"] = [name for text in request.GET.getlist("permissions") for name in text.split(",")]
    form = IssueKeyForm(initial=initial, principal=request.principal, at=at, flow=flow)
    if request.GET.get("preset") == READ_ONLY:
        form.initial["permissions"] = sorted(form.catalogue.reading())
    return form


def _issue_form(request: MemberRequest, form: IssueKeyForm) -> HttpResponse:
    return form_page(
        request,
        "apikeys/key_issue.html",
        form,
        permission_groups=form.groups(),
        sentence=_sentence(request, form),
        cancel_url=_list_url(form.flow),
        flow=form.flow,
        issue_url=reverse(form.flow.url_name),
        sentence_url=reverse(form.flow.sentence_url_name),
        read_only_url=f"{reverse(form.flow.url_name)}?{urlencode({'preset': READ_ONLY})}",
    )


def _list_url(flow: Flow) -> str:
    """Return the page on which the keys of a flow are listed."""
    return reverse("organization-keys" if flow is ORGANIZATION else "key-list")


def _busy(response: HttpResponse) -> HttpResponse:
    response.status_code, response["Retry-After"] = HTTPStatus.SERVICE_UNAVAILABLE, "1"
    return response


def _sentence(request: MemberRequest, form: IssueKeyForm) -> str:
    """Say what the key could do as the form is shown, typed in or prefilled."""
    shown = QueryDict(mutable=True)
    for field in form:
        value = field.value()
        shown.setlist(field.html_name, value if isinstance(value, list) else [str(value)] if value else [])
    again = IssueKeyForm(shown, principal=form.principal, at=form.at, flow=form.flow)
    return again.sentence(request.member.organization)


@require_GET
def key_issue_sentence(request: MemberRequest, flow: str) -> HttpResponse:
    form = IssueKeyForm(request.GET, principal=request.principal, at=timezone.now(), flow=FLOWS[flow])
    return render(request, "apikeys/_issue_sentence.html", {"sentence": form.sentence(request.member.organization)})


def _already_issued(request: MemberRequest, issue_id: UUID) -> HttpResponse:
    """Answer a form that was sent twice, by a reload or the back button: the key exists and was shown."""
    visible = ApiKey.objects.visible_to(request.principal)
    api_key = visible.issued_by_form(request.principal.user_id, issue_id).first()
    context = {"api_key": api_key}
    return render(request, fragment("apikeys/key_already_issued.html", request), context, status=409)
