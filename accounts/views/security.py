"""Settings → Security: how people have to sign in, shown before it is turned on; who joins by domains and groups."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.actions import NameTaken, Refused, security
from accounts.forms.security import SECOND_FACTORS, SECURITY_FIELDS, DomainForm, GroupForm, SecurityForm
from accounts.keeping_out import KeptOut, kept_out
from accounts.models import GroupRole, Organization, OrganizationDomain, Role, Team
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from accounts.security import SecurityPolicy, groups_claims
from keyportal.http import MemberRequest
from keyportal.pages import posted

_NEW_GROUP = ("provider", "group", "team", "role")


@dataclass(frozen=True, slots=True)
class ChangeLine:
    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would change, whom it would keep out, and what is said where that is nobody."""

    changes: list[ChangeLine]
    kept_out: list[KeptOut]
    said: str
    digest: str


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=SECURITY_FIELDS)
def security_change(request: MemberRequest) -> HttpResponse:
    """Show what holds; on its POST, whom it would keep out as it was filled in. Nothing is changed or stored here."""
    organization = _organization(request)
    form = _form(request, organization)
    if not form.is_valid():
        return _page(request, organization, form=form)
    try:
        security.require_way_in(principal=request.principal, policy=form.policy(), records=_records(request))
    except security.LocksYouOut as refused:
        form.add_error(None, str(refused))
        return _page(request, organization, form=form)
    return _page(request, organization, form=form, preview=_preview(organization, form))


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=SECURITY_FIELDS)
def security_apply(request: MemberRequest) -> HttpResponse:
    """Turn on what was previewed; all of it is sent again."""
    organization = _organization(request)
    if request.method == "GET":
        # From the confirmation of a sign-in: what was filled in is looked at once more.
        return redirect(f"{reverse('security-change')}?{request.GET.urlencode()}")
    form = _form(request, organization)
    if not form.is_valid():
        return _page(request, organization, form=form)
    try:
        security.change_security(
            principal=request.principal,
            policy=form.policy(),
            default_team=form.cleaned_data["default_team"],
            records=_records(request),
            expected=request.POST.get("digest", ""),
        )
    except Refused as refused:
        form.add_error(None, str(refused))
        return _page(request, organization, form=form)
    messages.success(request, "Security changed. It holds from everyone's next request.")
    return redirect("security-change")


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=["name"])
def domain_claim(request: MemberRequest) -> HttpResponse:
    organization = _organization(request)
    form = _domain_form(request)
    if form.is_valid():
        try:
            security.claim_domain(principal=request.principal, name=form.cleaned_data["name"], at=timezone.now())
            messages.success(request, "Domain added. It counts once the operator has verified it.")
            return redirect("security-change")
        except NameTaken as refused:
            form.add_error("name", str(refused))
    return _page(request, organization, domain_form=form)


@require_http_methods(["GET", "POST"])
@recent_sign_in_required()
def domain_release(request: MemberRequest) -> HttpResponse:
    organization = _organization(request)
    domains = OrganizationDomain.objects.filter(organization=organization)
    # What someone has removed already is gone as well.
    if request.method == "POST" and (domain := domains.filter(name=request.POST.get("domain", "")).first()):
        security.release_domain(principal=request.principal, domain=domain)
        messages.success(request, f"{domain.name} was removed. Nobody joins by it any more.")
    return redirect("security-change")


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=_NEW_GROUP)
def group_map(request: MemberRequest) -> HttpResponse:
    organization = _organization(request)
    form = _group_form(request, organization)
    if form.is_valid():
        try:
            security.map_group(
                principal=request.principal,
                **form.cleaned_data | {"role": Role(form.cleaned_data["role"])},
                at=timezone.now(),
            )
            messages.success(request, "Group added. It counts from each person's next sign-in there.")
            return redirect("security-change")
        except (NameTaken, security.TeamNotUsable) as refused:
            form.add_error("group", str(refused))
    return _page(request, organization, group_form=form)


@require_http_methods(["GET", "POST"])
@recent_sign_in_required()
def group_unmap(request: MemberRequest) -> HttpResponse:
    rows = GroupRole.objects.filter(team__organization=_organization(request))
    chosen = request.POST.get("group_role", "")
    if row := next((row for row in rows if str(row.pk) == chosen), None):
        security.unmap_group(principal=request.principal, group_role=row)
        messages.success(request, "Group removed. Whom it put into the team leaves at their next sign-in there.")
    return redirect("security-change")


def _organization(request: MemberRequest) -> Organization:
    """Let only who may change it see it."""
    if not holds(request.principal, Right.SECURITY_CHANGE):
        raise PermissionDenied("Only a super admin changes how people sign in. Ask one for it.")
    return Organization.objects.select_related("default_team").get(pk=request.principal.organization_id)


def _records(request: MemberRequest) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = get_authentication_records(request, request.user)
    return records


def _kept(request: MemberRequest, names: tuple[str, ...]) -> dict[str, str]:
    return {name: request.GET[name] for name in names if name in request.GET}


def _form(request: MemberRequest, organization: Organization) -> SecurityForm:
    return SecurityForm(posted(request), organization=organization, initial=_kept(request, SECURITY_FIELDS))


def _domain_form(request: MemberRequest, *, is_new: bool = False) -> DomainForm:
    data = None if is_new else posted(request)
    return DomainForm(data, initial=_kept(request, ("name",)), auto_id="domain_%s")


def _group_form(request: MemberRequest, organization: Organization, *, is_new: bool = False) -> GroupForm:
    return GroupForm(
        None if is_new else posted(request),
        organization=organization,
        providers={name: _provider_name(name) for name in groups_claims()},
        initial=_kept(request, _NEW_GROUP),
        auto_id="group_%s",
    )


def _page(
    request: MemberRequest,
    organization: Organization,
    *,
    form: SecurityForm | None = None,
    domain_form: DomainForm | None = None,
    group_form: GroupForm | None = None,
    preview: Preview | None = None,
) -> HttpResponse:
    form = form or SecurityForm(organization=organization)
    domain_form = domain_form or _domain_form(request, is_new=True)
    group_form = group_form or _group_form(request, organization, is_new=True)
    rows = GroupRole.objects.filter(team__organization=organization).select_related("team")
    context = {
        "form": form,
        "domain_form": domain_form,
        "group_form": group_form,
        "preview": preview,
        "organization": organization,
        "domains": organization.domains.order_by("name"),
        "groups": [(row, _provider_name(row.provider)) for row in rows.order_by("provider", "group", "team__name")],
        "has_groups": bool(groups_claims()),
        "hidden": [(name, value) for name in SECURITY_FIELDS for value in request.POST.getlist(name)],
    }
    is_wrong = any(shown.errors for shown in (form, domain_form, group_form))
    return render(request, "accounts/security_change.html", context, status=422 if is_wrong else 200)


def _preview(organization: Organization, form: SecurityForm) -> Preview:
    before, after = SecurityPolicy.of(organization), form.policy()
    changes = list(_changes(before, after, organization.default_team, form.cleaned_data["default_team"]))
    said = _said_of_everyone(before, after)
    return Preview(changes, kept_out(organization, after), said, security.security_digest(organization))


def _said_of_everyone(before: SecurityPolicy, after: SecurityPolicy) -> str:
    if after.asks_more_than(before):
        return "Everyone could fulfil it. Some may have to sign in again."
    if before != after == SecurityPolicy():
        return "Nothing is asked any more."
    return "Nothing gets stricter. Nobody has to sign in again."


def _changes(
    before: SecurityPolicy, after: SecurityPolicy, team_before: Team | None, team_after: Team | None
) -> Iterator[ChangeLine]:
    people = {value: label.lower() for value, label in SECOND_FACTORS}
    lines = [
        ("People sign in through a provider", *("yes" if said.require_social else "no" for said in (before, after))),
        ("Domains of sign-in addresses", *(", ".join(said.domains) or "any" for said in (before, after))),
        ("Who needs a second factor", *(people[said.second_factor] for said in (before, after))),
        ("Team of verified domains", *(team.name if team else "none" for team in (team_before, team_after))),
    ]
    for label, was, will_be in lines:
        if was != will_be:
            yield ChangeLine(label, was, will_be)


def _provider_name(provider: str) -> str:
    """Return what the provider's button says; its id, if it is not configured any more."""
    apps = settings.SOCIALACCOUNT_PROVIDERS.get("openid_connect", {}).get("APPS", [])
    return next((str(app["name"]) for app in apps if app["provider_id"] == provider), provider)
