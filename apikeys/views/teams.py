"""The page of one team: its people, its service accounts with how many keys act for each, and its projects."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts import actions as people
from accounts.models import ServiceAccount, Team, TeamMembership
from accounts.rights import Right, holds
from apikeys.models import ApiKey
from keyportal.http import MemberRequest


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member of the team, and whether the person who looks may change what they are in it."""

    member: TeamMembership
    may_change: bool


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A service account with how many keys act for it that have not ended."""

    account: ServiceAccount
    key_count: int


@require_GET
def team_detail(request: MemberRequest, team_id: UUID) -> HttpResponse:
    at = timezone.now()
    team = get_object_or_404(Team.objects.visible_to(request.principal), pk=team_id)
    members = team.memberships.select_related("team", "membership__user").order_by("-role", "membership__user__email")
    may_invite = holds(request.principal, Right.MEMBERS_MANAGE, team.pk)
    invitations = team.invitations.pending(at=at).select_related("invited_by").order_by("-created_at")
    context = {
        "team": team,
        "members": [MemberRow(member, people.may_change(request.principal, member)) for member in members],
        "projects": team.projects.archived_last(),
        "accounts": _account_rows(team, at),
        "invitations": invitations if may_invite else [],
        "may_invite": may_invite and not team.archived_at,
        "may_add_projects": not team.archived_at and holds(request.principal, Right.PROJECTS_MANAGE, team.pk),
        "may_add_accounts": not team.archived_at and holds(request.principal, Right.SERVICE_ACCOUNTS_MANAGE, team.pk),
        "may_rename": holds(request.principal, Right.TEAM_CHANGE, team.pk),
        "may_archive": holds(request.principal, Right.TEAMS_ARCHIVE, team.pk),
    }
    return render(request, "apikeys/team_detail.html", context)


def _account_rows(team: Team, at: datetime) -> list[AccountRow]:
    """Return the running accounts by name, then the stopped ones."""
    active = ApiKey.objects.active(at=at).filter(service_account__team=team).order_by()
    counts = dict(active.values_list("service_account").annotate(Count("pk")))
    accounts = ServiceAccount.objects.filter(team=team).with_stewards().by_name()
    rows = [AccountRow(account, counts.get(account.pk, 0)) for account in accounts]
    return sorted(rows, key=lambda row: row.account.stopped_at is not None)
