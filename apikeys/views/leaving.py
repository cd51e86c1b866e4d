"""The keys of people who left or were demoted: what each has lost, and what becomes of it."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.models import TeamMembership, User
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds, reach
from apikeys import actions, leaving, notices
from apikeys.forms.leaving import HandOverForm, RevokeChosenForm, field_of
from apikeys.models import ApiKey
from keyportal.http import MemberRequest
from keyportal.pages import form_page, posted

PAGE_SIZE = 50
# How many can be chosen at once: those of a page.
MOST_CHOSEN = PAGE_SIZE


@require_GET
def people_left(request: MemberRequest) -> HttpResponse:
    """Who issued keys that are refused now, because they are no longer there."""
    left = ApiKey.objects.overseen_by(request.principal).active(at=timezone.now()).left_behind()
    issuers = left.order_by().values("issuer", "issuer__name", "issuer__email").annotate(count=Count("pk"))
    page = Paginator(issuers.order_by("issuer__email"), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "apikeys/people_left.html", {"page": page})


@require_GET
@vary_on_headers("HX-Request")
def person_keys(request: MemberRequest, user_id: UUID) -> HttpResponse:
    person = _person(request, user_id)
    keys = leaving.seen_keys_of(person, request.principal, at=timezone.now())
    page = Paginator(keys, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = leaving.now(page, request.principal)
    context = {
        "person": person,
        "page": page,
        "rows": sorted(rows, key=lambda row: not row.is_affected),
        "is_all_chosen": request.GET.get("choose") == "all",
        "membership": person.memberships.filter(organization=request.principal.organization_id).first(),
        "may_change": holds(request.principal, Right.PEOPLE_MANAGE) and person != request.user,
        "may_decide": bool(reach(request.principal, Right.TEAM_KEYS_MANAGE)),
    }
    template = "apikeys/_person_key_table.html" if request.htmx else "apikeys/person_keys.html"
    return render(request, template, context)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def person_keys_revoke(request: MemberRequest, user_id: UUID) -> HttpResponse:
    """Show which of the chosen keys will end, and end them."""
    person = _person(request, user_id)
    _require_manager(request)
    keys = _chosen(request, person)
    form = RevokeChosenForm(posted(request))
    if keys and form.is_valid():
        # As all who lock many keys do, or two of them may wait for each other.
        in_order = sorted(keys, key=lambda api_key: api_key.pk)
        with transaction.atomic(), notices.together():
            ended = [_revoked(request, api_key, form.cleaned_data["reason"]) for api_key in in_order]
        at = timezone.now()
        messages.success(request, f"{_keys(sum(ended))} revoked at {at:%H:%M} UTC. Refused since.")
        return redirect("person-keys", person.pk)
    return form_page(request, "apikeys/person_keys_revoke.html", form, person=person, keys=keys)


@require_http_methods(["GET", "POST"])
@vary_on_headers("HX-Request")
@recent_sign_in_required()
def person_keys_hand_over(request: MemberRequest, user_id: UUID) -> HttpResponse:
    """Ask for each of the chosen keys which service account it shall act for; all of them are handed over, or none."""
    person = _person(request, user_id)
    _require_manager(request)
    keys = _chosen(request, person)
    form = HandOverForm(posted(request), principal=request.principal, keys=keys)
    if keys and form.is_valid():
        count = _hand_over(request, form)
        if not form.errors:
            messages.success(request, f"{_keys(count)} handed over, and working from the next request on.")
            return redirect("person-keys", person.pk)
    return form_page(request, "apikeys/person_keys_hand_over.html", form, person=person, keys=keys, lines=form.lines())


def _hand_over(request: MemberRequest, form: HandOverForm) -> int:
    """Hand over what the form says, and return how many; if one is refused, none is, and the form says why."""
    # As all who lock many keys do, or two of them may wait for each other.
    chosen = sorted(form.chosen(), key=lambda pair: pair[0].pk)
    with transaction.atomic():
        with notices.together():
            for api_key, account in chosen:
                try:
                    actions.hand_to_service_account(
                        principal=request.principal, api_key=api_key, service_account=account, at=timezone.now()
                    )
                except actions.Refused as refused:
                    form.add_error(field_of(api_key), str(refused))
        if form.errors:
            transaction.set_rollback(True)
    return len(chosen)


def _revoked(request: MemberRequest, api_key: ApiKey, reason: str) -> bool:
    try:
        actions.revoke_key(principal=request.principal, api_key=api_key, at=timezone.now(), reason=reason)
    except actions.KeyAlreadyRevoked:
        return False
    return True


def _person(request: MemberRequest, user_id: UUID) -> User:
    """Return someone in a team whose keys the caller sees, or who issued some; for everyone else there is no such."""
    principal = request.principal
    found = reach(principal, Right.TEAM_KEYS_SEE)
    if not found:
        raise Http404
    is_here = Q(memberships__team_memberships__in=TeamMembership.objects.filter(team__in=found.team_ids))
    if found.is_everywhere:
        is_here = Q(memberships__organization=principal.organization_id)
    is_issuer = Q(issued_keys__in=ApiKey.objects.overseen_by(principal))
    return get_object_or_404(User.objects.filter(is_here | is_issuer).distinct(), pk=user_id)


def _require_manager(request: MemberRequest) -> None:
    if not reach(request.principal, Right.TEAM_KEYS_MANAGE):
        raise PermissionDenied("Only an admin of the team decides what becomes of keys.")


def _chosen(request: MemberRequest, person: User) -> Sequence[ApiKey]:
    """Return the keys that the page before sent along, less what is no live key of the person any more."""
    named = (request.POST if request.method == "POST" else request.GET).getlist("key")[:MOST_CHOSEN]
    ids = {found for text in named if (found := _uuid(text))}
    return list(leaving.live_keys_of(person, request.principal, at=timezone.now()).filter(pk__in=ids))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"
