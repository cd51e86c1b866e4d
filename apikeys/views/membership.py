"""Changing what people are in a team and the organization, and taking them out: what becomes of their keys is shown."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts import actions as people
from accounts.models import OrganizationMembership, Role, ServiceAccount, Team, TeamMembership, User
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from apikeys import leaving
from apikeys.forms.leaving import ConfirmForm, OrganizationRoleForm, TeamRoleForm
from apikeys.leaving import Change
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted

OTHER_ROLE = {Role.TEAM_ADMIN: Role.DEVELOPER, Role.DEVELOPER: Role.TEAM_ADMIN}
# What someone can become in the organization, and of which that is a loss for their keys.
LESSER_ROLES = frozenset({Role.DEVELOPER, Role.MEMBER, Role.AUDITOR})


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def team_member_role(request: MemberRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    member = _team_member(request, team_id, user_id)
    person, to = member.membership.user, OTHER_ROLE[Role(member.role)]
    form = TeamRoleForm(posted(request), initial={"role": member.role})
    if form.is_valid():
        role = Role(form.cleaned_data["role"])
        if _is_done(
            form,
            lambda: people.change_team_role(
                at=timezone.now(), principal=request.principal, team_membership=member, role=role
            ),
        ):
            messages.success(request, f"{person.display_name} is {_with_article(role)} of {member.team} now.")
            return _next(request, person, member.team, is_less=role in LESSER_ROLES)
    change = leaving.in_team(member.team_id, to)
    return form_page(
        request, "apikeys/team_member_role.html", form, member=member, **_preview(request, person, change, to=to)
    )


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def team_member_remove(request: MemberRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    member = _team_member(request, team_id, user_id)
    person, form = member.membership.user, ConfirmForm(posted(request))
    if form.is_valid() and _is_done(
        form, lambda: people.remove_from_team(at=timezone.now(), principal=request.principal, team_membership=member)
    ):
        messages.success(request, f"{person.display_name} is no longer in {member.team}.")
        return _next(request, person, member.team, is_less=True)
    preview = _preview(request, person, leaving.in_team(member.team_id, None))
    stewarded = ServiceAccount.objects.filter(team=member.team, steward=person, stopped_at=None).by_name()
    return form_page(request, "apikeys/team_member_remove.html", form, member=member, stewarded=stewarded, **preview)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def person_role(request: MemberRequest, user_id: UUID) -> HttpResponse:
    """Make someone a super admin or an auditor, or no longer."""
    membership = _membership(request, user_id)
    person = membership.user
    form = OrganizationRoleForm(posted(request), initial={"role": membership.role})
    if form.is_valid():
        role = Role(form.cleaned_data["role"])
        if _is_done(
            form,
            lambda: people.change_organization_role(
                at=timezone.now(), principal=request.principal, membership=membership, role=role
            ),
        ):
            messages.success(request, f"{person.display_name} is {_with_article(role)} of the organization now.")
            return _next(request, person, is_less=role in LESSER_ROLES)
    others = [Role(role) for role, _ in reversed(OrganizationMembership.ROLES) if role != membership.role]
    previews = [_preview(request, person, leaving.in_organization(role), to=role) for role in others]
    leaves = Team.objects.filter(memberships__membership=membership).by_name()
    context = {"person": person, "previews": previews, "leaves": leaves, "stays": _why_they_stay(membership)}
    return form_page(request, "apikeys/person_role.html", form, **context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def person_remove(request: MemberRequest, user_id: UUID) -> HttpResponse:
    """Take someone out of the organization and all of its teams."""
    membership = _membership(request, user_id)
    person, form = membership.user, ConfirmForm(posted(request))
    if form.is_valid() and _is_done(
        form,
        lambda: people.remove_from_organization(at=timezone.now(), principal=request.principal, membership=membership),
    ):
        messages.success(request, f"{person.display_name} is no longer in the organization.")
        return _next(request, person, is_less=True)
    preview = _preview(request, person, leaving.in_organization(None)) | {"stays": _why_they_stay(membership)}
    accounts = ServiceAccount.objects.filter(team__organization=membership.organization, steward=person)
    stewarded = accounts.filter(stopped_at=None).by_name()
    return form_page(request, "apikeys/person_remove.html", form, person=person, stewarded=stewarded, **preview)


def _team_member(request: MemberRequest, team_id: UUID, user_id: UUID) -> TeamMembership:
    rows = TeamMembership.objects.filter(team__in=Team.objects.visible_to(request.principal))
    member = get_object_or_404(rows.select_related("team", "membership__user"), team=team_id, membership__user=user_id)
    if not people.may_change(request.principal, member):
        raise PermissionDenied("Only an admin of the team changes who is in it; a super admin, only a super admin.")
    return member


def _membership(request: MemberRequest, user_id: UUID) -> OrganizationMembership:
    if not holds(request.principal, Right.PEOPLE_MANAGE):
        raise PermissionDenied("Only a super admin changes who is in the organization, and as what.")
    rows = OrganizationMembership.objects.select_related("user", "organization")
    return get_object_or_404(rows, organization=request.principal.organization_id, user=user_id)


def _why_they_stay(membership: OrganizationMembership) -> str:
    return people.LastSuperAdmin.sentence if people.is_only_super_admin(membership) else ""


def _is_done(form: Form, act: Callable[[], object]) -> bool:
    """Carry out what a form asks for; if it is refused, say why in the form."""
    try:
        act()
    except people.Refused as refused:
        form.add_error(refused.field if refused.field in form.fields else None, str(refused))
    return not form.errors


def _preview(request: MemberRequest, person: User, change: Change, *, to: Role | None = None) -> dict[str, object]:
    """Return what becomes of the person's keys that the caller administers."""
    keys = leaving.live_keys_of(person, request.principal, at=timezone.now())
    costs = leaving.costs(keys, request.principal, change)
    return {
        "live_count": costs.live_count,
        "refused": costs.refused,
        "narrowed": costs.narrowed,
        "to": to.label.lower() if to else "",
        "leaves_teams": to == Role.AUDITOR,
        "is_self": person == request.user,
    }


def _next(request: MemberRequest, person: User, team: Team | None = None, *, is_less: bool) -> HttpResponse:
    """Go where the person's keys are to be decided on, if they can do less now and have any."""
    if person == request.user:
        # What they may look at now is for their next request to say.
        return redirect("team-list")
    if is_less and leaving.live_keys_of(person, request.principal, at=timezone.now()).exists():
        return redirect("person-keys", person.pk)
    return redirect(reverse("team-detail", args=[team.pk]) if team else reverse("people-list"))


def _with_article(role: Role) -> str:
    return f"{'an' if role == Role.AUDITOR else 'a'} {role.label.lower()}"
