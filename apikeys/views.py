"""Pages about keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.models import Project, Role
from accounts.recent import recent_sign_in_required
from apikeys import actions, hashing, permissions
from apikeys.first_steps import first_steps
from apikeys.forms import IssueKeyForm, RevokeKeyForm, UsesForm
from apikeys.keyformat import Key
from apikeys.listing import key_row, key_table
from apikeys.models import EXPIRES_SOON, ApiKey
from apikeys.snippets import examples, snippets
from apikeys.use_rows import UsePage, read_page, totals, use_row, uses_of
from apikeys.verification import issuer_role
from audit.visibility import visible_events
from keyportal.http import MemberRequest
from keyportal.pages import form_page, fragment, posted, safe_next

USED_RECENTLY = timedelta(hours=24)
EVENTS_SHOWN = 20
USES_SHOWN = 10
USES_A_PAGE = 50
OUTCOME_TABS = (("", "All"), ("accepted", "Accepted"), ("refused", "Refused"))
# What the address of the issue form can fill in.
PREFILLED = ("name", "scope", "team", "project", "environment", "permissions", "expiry", "expires_on")
EVENTS_ON_OVERVIEW = 8
ATTENTION_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PermissionLine:
    """A permission that a key was given, and whether its issuer's role still allows it."""

    name: str
    sentence: str
    is_effective: bool


@require_GET
@vary_on_headers("HX-Request")
def key_list(request: MemberRequest) -> HttpResponse:
    context = key_table(request, ApiKey.objects.visible_to(request.principal), at=timezone.now())
    context |= {"may_issue": may_issue(request)}
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/key_list.html"
    return render(request, template, context)


@require_GET
@vary_on_headers("HX-Request")
def project_detail(request: MemberRequest, project_id: UUID) -> HttpResponse:
    projects = Project.objects.visible_to(request.principal).select_related("team")
    project = get_object_or_404(projects, pk=project_id)
    keys = ApiKey.objects.visible_to(request.principal).filter(project=project)
    context = key_table(request, keys, at=timezone.now()) | {
        "project": project,
        # Who sees a project is in its team, and so may issue its keys.
        "may_issue": True,
        "issue_url": f"{reverse('key-issue')}?{urlencode({'scope': 'project', 'project': str(project.pk)})}",
    }
    template = "apikeys/_key_table.html" if request.htmx else "apikeys/project_detail.html"
    return render(request, template, context)


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
            expires_at=form.expires_at(),
            at=at,
            issue_id=data["issue_id"],
        )
    except actions.KeyAlreadyIssued:
        return _already_issued(request, data["issue_id"])
    except actions.ScopeNotAllowed:
        form.add_error("scope", "Your role does not allow keys of this scope there. Choose another.")
        return _issue_form(request, form)
    except actions.PermissionNotGrantable as error:
        form.add_error("permissions", f"Your role there does not allow: {', '.join(error.names)}.")
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


@never_cache
@require_GET
def key_detail(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal).with_places(), pk=key_id)
    at = timezone.now()
    role = issuer_role(api_key.prefix)
    events = visible_events(request).filter(target_table="api_keys", target_id=str(api_key.pk))
    context = {
        "row": key_row(api_key, request.principal, at=at),
        "is_ended": api_key.state_at(at) in {"revoked", "expired"},
        "permissions": _permission_lines(api_key, role),
        "role": Role(role.value).label.lower() if role else "nobody here any more",
        "totals": totals(api_key, at=at),
        "uses": [use_row(use) for use in uses_of(api_key)[:USES_SHOWN]],
        "events": events[:EVENTS_SHOWN],
        "snippets": [] if api_key.is_revoked else examples(url=settings.KEYPORTAL_URL),
    }
    return render(request, "apikeys/key_detail.html", context)


@never_cache
@require_GET
@vary_on_headers("HX-Request")
def key_uses(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal), pk=key_id)
    form = UsesForm(request.GET)
    is_valid = form.is_valid()
    chosen = form.cleaned_data.get("outcome", "")
    page = UsePage([], None)
    if is_valid:
        rows = uses_of(api_key).matching(is_refused=form.is_refused)
        page = read_page(rows, before=form.cleaned_data["before"], size=USES_A_PAGE)
    filters = {"outcome": chosen} if chosen else {}
    context = {
        "api_key": api_key,
        "uses": [use_row(use) for use in page.uses],
        "tabs": [
            (title, _url(request, {"outcome": value} if value else {}), value == chosen)
            for value, title in OUTCOME_TABS
        ],
        "chosen": chosen,
        "is_valid": is_valid,
        "older_url": _url(request, filters | {"before": str(page.next_before)}) if page.next_before else "",
        "newest_url": _url(request, filters) if request.GET.get("before") else "",
    }
    template = "apikeys/_use_pages.html" if request.htmx else "apikeys/key_uses.html"
    return render(request, template, context, status=200 if is_valid else 422)


def _url(request: MemberRequest, query: dict[str, str]) -> str:
    return f"{request.path}?{urlencode(query)}" if query else request.path


def _permission_lines(api_key: ApiKey, role: permissions.Role | None) -> list[PermissionLine]:
    """Return what the key was given, `*` written out, each with whether it is in force."""
    names = permissions.grantable(role) if permissions.ALL in api_key.permissions else api_key.permissions
    effective = permissions.effective(api_key.permissions, role)
    return [
        PermissionLine(entry.name, entry.sentence, entry.name in effective)
        for entry in permissions.CATALOGUE.values()
        if entry.name in names
    ]


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
def key_revoke(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal).with_places(), pk=key_id)
    if not actions.may_revoke(request.principal, api_key):
        raise PermissionDenied("Only its issuer or an admin of its team revokes this key.")
    at = timezone.now()
    is_used_recently = bool(api_key.last_used_at and at - api_key.last_used_at < USED_RECENTLY)
    default_next = request.htmx.current_url_abs_path or reverse("key-detail", args=[api_key.pk])
    form = RevokeKeyForm(
        posted(request),
        api_key=api_key,
        is_used_recently=is_used_recently,
        initial={"next": default_next},
    )
    if not form.is_valid():
        return form_page(
            request,
            "apikeys/key_revoke.html",
            form,
            api_key=api_key,
            is_used_recently=is_used_recently,
        )
    try:
        actions.revoke_key(principal=request.principal, api_key=api_key, at=at, reason=form.cleaned_data["reason"])
        messages.success(request, f"{api_key.name} revoked at {at:%H:%M} UTC. It has been refused since.")
    except actions.KeyAlreadyRevoked:
        messages.info(request, f"{api_key.name} was revoked before. It is refused.")
    return redirect(safe_next(request, form.cleaned_data["next"], reverse("key-list")))


@require_GET
def overview(request: MemberRequest) -> HttpResponse:
    at = timezone.now()
    keys = ApiKey.objects.visible_to(request.principal)
    attention = keys.needing_attention(at=at).with_places().most_urgent_first()[:ATTENTION_SHOWN]
    is_issuer = may_issue(request)
    steps = first_steps(request.principal, is_issuer=is_issuer)
    context = {
        "counts": {
            "active": keys.active(at=at).count(),
            "used_today": keys.filter(last_used_at__gte=at - timedelta(days=1)).count(),
            "attention": keys.needing_attention(at=at).count(),
            "expiring": keys.active(at=at).filter(expires_at__lte=at + EXPIRES_SOON).count(),
        },
        "attention": [key_row(api_key, request.principal, at=at) for api_key in attention],
        "events": visible_events(request)[:EVENTS_ON_OVERVIEW],
        "steps": [] if all(step.done for step in steps) else steps,
        "may_issue": is_issuer,
        "url": settings.KEYPORTAL_URL,
    }
    return render(request, "apikeys/overview.html", context)


def may_issue(request: MemberRequest) -> bool:
    """Say whether there is anything that this person could issue a key for."""
    principal = request.principal
    return (
        principal.is_super_admin
        or Project.objects.visible_to(principal).exists()
        or bool(principal.team_ids_as(Role.TEAM_ADMIN))
    )
