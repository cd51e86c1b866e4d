"""What is asked of keys."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

from django.db import connection, models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, Subquery
from django.db.models.functions import Cast, Coalesce, Length

from accounts.models import OrganizationMembership, Project, Role, TeamMembership
from accounts.principals import Principal
from accounts.rights import Right, holds, reach
from apikeys.filters import KeyFilter
from apikeys.models.conditions import filter_condition, state_condition, unused_since
from audit.uses import LastUse

if TYPE_CHECKING:
    from apikeys.models.api_key import ApiKey

UNUSED_AFTER = timedelta(days=90)
USE_RESOLUTION = timedelta(minutes=1)
# How long a call with a key waits for SQLite's one writer, where it writes at all; longer where it cannot do without.
NOTE_WAIT_MS, FIRST_USE_WAIT_MS = 50, 2_000

# What verification reads, in its one query.
PRESENTED = (
    "id",
    "name",
    "label",
    "digest",
    "kind",
    "scope",
    "environment",
    "permissions",
    "organization_id",
    "organization__suspended_at",
    "ruling_team_id",
    "project_id",
    "issuer_id",
    "issuer__email",
    "issuer__is_active",
    "organization_role",
    "team_role",
    "service_account_id",
    "service_account__name",
    "service_account__role",
    "service_account__stopped_at",
    "organization__permission_catalogue",
    "organization__network_policy",
    "project__environments",
    "project__archived_at",
    "team__archived_at",
    "allowed_origins",
    "networks",
    "per_second",
    "per_minute",
    "per_day",
    "created_at",
    "expires_at",
    "revoked_at",
    "retires_at",
    "disabled_at",
    "exposed_at",
    "reappeared_at",
    "in_browser_at",
    "is_unused_successor",
)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def presented(self, prefix: str) -> models.QuerySet["ApiKey", dict[str, Any]]:
        """Read, in one statement, a key and all that decides whether it is good now: its issuer's roles included."""
        rows = (
            self.filter(prefix=prefix)
            .with_roles()
            .annotate(
                is_unused_successor=ExpressionWrapper(
                    Q(predecessor__isnull=False, last_used_at=None), output_field=models.BooleanField()
                )
            )
            .values(*PRESENTED)
        )
        return cast("models.QuerySet[ApiKey, dict[str, Any]]", rows)

    def with_roles(self) -> Self:
        """Read along the roles that the issuer has now in the organization, and in the team that rules over the key."""
        organization_roles = OrganizationMembership.objects.filter(
            organization=OuterRef("organization_id"), user=OuterRef("issuer_id")
        )
        team_roles = TeamMembership.objects.filter(
            team=OuterRef("ruling_team_id"), membership__user=OuterRef("issuer_id")
        )
        return self.annotate(
            ruling_team_id=Coalesce("team_id", "project__team_id"),
            organization_role=Subquery(organization_roles.values("role")[:1]),
            team_role=Subquery(team_roles.values("role")[:1]),
        )

    def imported(self) -> Self:
        """Keys that were brought along from elsewhere.

        The condition is that of their index, and has no parameter: SQLite could not tell that the two are the same.
        """
        return self.filter(imported_at__isnull=False)

    def imported_formats(self) -> list[tuple[str, int]]:
        """Return where imported keys are from and how long their prefixes are, each pair once."""
        formats = self.imported().annotate(length=Length("prefix")).order_by()
        return list(formats.values_list("imported_from", "length").distinct())

    def imported_prefix(self, prefixes: Sequence[str]) -> str | None:
        """Return the first of these that is the prefix of an imported key."""
        found = set(self.imported().filter(prefix__in=prefixes).values_list("prefix", flat=True))
        return next((prefix for prefix in prefixes if prefix in found), None)

    def ids_of(self, prefixes: Collection[str]) -> dict[str, UUID]:
        """Return the ids of the keys that have such prefixes, in one query."""
        return dict(self.filter(prefix__in=prefixes).values_list("prefix", "pk"))

    def visible_to(self, principal: Principal) -> Self:
        """Keys the caller may manage (T1): those whose scope they could issue, and their own.

        A super admin and an auditor see the organization's keys, a team admin the team's and its projects', a
        developer those of the team's projects. A key sees what is inside its own scope, as far as its issuer's role
        reaches.
        """
        keys = self.filter(organization_id=principal.organization_id)
        if not holds(principal, Right.ORGANIZATION_SEE):
            keys = keys.filter(_within_roles(principal))
        if principal.project_id:
            return keys.filter(project_id=principal.project_id)
        if principal.is_key and principal.team_id:
            projects = Project.objects.filter(team_id=principal.team_id)
            return keys.filter(Q(team_id=principal.team_id) | Q(project__among=projects))
        return keys

    def administered_by(self, principal: Principal) -> Self:
        """Keys of the places whose keys the caller manages, whoever issued them."""
        return self._in_teams_where(principal, Right.TEAM_KEYS_MANAGE)

    def overseen_by(self, principal: Principal) -> Self:
        """Keys of the places whose keys the caller sees, whoever issued them."""
        return self._in_teams_where(principal, Right.TEAM_KEYS_SEE)

    def _in_teams_where(self, principal: Principal, right: Right) -> Self:
        """Keys of the teams in which the caller has a right; of the organization too, if they have it everywhere."""
        found, keys = reach(principal, right), self.filter(organization_id=principal.organization_id)
        return keys if found.is_everywhere else keys.filter(_of_teams(found.team_ids))

    def endable_by(self, principal: Principal) -> Self:
        """Of the keys that the caller may manage, those that it may end: `actions.may_revoke` for many at once."""
        found, own = reach(principal, Right.TEAM_KEYS_MANAGE), reach(principal, Right.PROJECT_KEYS_ISSUE)
        if found.is_everywhere:
            return self
        return self.filter(_of_teams(found.team_ids) | (own_keys(principal) & _of_teams(own.team_ids)))

    def acting_for_issuer(self) -> Self:
        """Keys that stand and fall with whoever issued them."""
        return self.filter(service_account=None)

    def left_behind(self) -> Self:
        """Keys that are refused because whoever issued them is no longer there, and which act for nobody else."""
        memberships = OrganizationMembership.objects.filter(
            organization=OuterRef("organization_id"), user=OuterRef("issuer_id")
        )
        in_team = TeamMembership.objects.filter(
            team=Coalesce(OuterRef("team_id"), OuterRef("project__team_id")), membership__user=OuterRef("issuer_id")
        )
        members = memberships.exclude(role=Role.AUDITOR)
        is_there = Exists(memberships.filter(role=Role.SUPER_ADMIN)) | Exists(in_team) | Q(scope="org")
        return self.acting_for_issuer().exclude(Exists(members) & is_there & Q(issuer__is_active=True))

    def filtered(self, asked: KeyFilter, *, at: datetime, unused_after: int | None = UNUSED_AFTER.days) -> Self:
        """Keys of which all holds that is asked for.

        :param unused_after: as for `needing_attention`, which one of the states is.
        """
        keys = self.filter(filter_condition(asked, at=at))
        return keys.in_state(asked.state, at=at, unused_after=unused_after) if asked.state else keys

    def in_state(self, state: str, *, at: datetime, unused_after: int | None = UNUSED_AFTER.days) -> Self:
        """Keys in one of `filters.STATES`."""
        return self.filter(state_condition(state, at=at, unused_after=unused_after))

    def active(self, *, at: datetime) -> Self:
        """Keys that have not ended: neither revoked nor retired nor expired."""
        return self.in_state("active", at=at)

    def expired(self, *, at: datetime) -> Self:
        return self.in_state("expired", at=at)

    def revoked(self, *, at: datetime) -> Self:
        """Keys that were ended, or retired after a rotation."""
        return self.in_state("revoked", at=at)

    def unused_for(self, days: int, *, at: datetime) -> Self:
        """Keys that were last used, or came here and never were, longer ago than some days."""
        return self.filter(unused_since(at - timedelta(days=days)))

    def granted(self, name: str) -> Self:
        """Keys that were given a permission by its name; `*` does not name it."""
        # Names have no quotation mark in them, and neither database can look into JSON in the other's way.
        texts = self.annotate(permission_text=Cast("permissions", models.TextField()))
        return texts.filter(permission_text__contains=f'"{name}"')

    def needing_attention(self, *, at: datetime, unused_after: int | None = UNUSED_AFTER.days) -> Self:
        """Active keys that someone should look at: disabled, exposed, about to expire, or long unused.

        :param unused_after: after how many days without a use, as the organization's policy says; None is never.
        """
        return self.in_state("attention", at=at, unused_after=unused_after)

    def live_origins(self, *, at: datetime, most: int) -> list[list[str]]:
        """Return the origins that good publishable keys allow: each list of them once, and at most so many."""
        keys = self.active(at=at).filter(kind="publishable", disabled_at=None).order_by()
        return list(keys.values_list("allowed_origins", flat=True).distinct()[:most])

    def issued_by_form(self, issuer_id: UUID, issue_id: UUID | None) -> Self:
        return self.filter(issuer_id=issuer_id, issue_id=issue_id) if issue_id else self.none()

    def with_places(self) -> Self:
        """Read along what a row of the table names, so that a page costs the same with 1 and 25 keys."""
        return self.select_related(
            "organization", "team", "project__team", "issuer", "revoked_by", "service_account", "predecessor"
        )

    def most_urgent_first(self) -> Self:
        """Keys seen where they must not be, then by how soon they end."""
        return self.order_by(F("exposed_at").desc(nulls_last=True), F("expires_at").asc(nulls_last=True), "-id")

    def newest_first(self) -> Self:
        """UUIDv7 is ordered by time, so the primary key's index serves the order."""
        return self.order_by("-id")

    def before(self, key_id: UUID | None) -> Self:
        return self.filter(id__lt=key_id) if key_id else self

    def after(self, key_id: UUID) -> Self:
        """The keys that are newer than one, the nearest first."""
        return self.filter(id__gt=key_id).order_by("id")

    def mark_used(self, newest: Mapping[UUID, LastUse]) -> int:
        """Move the times of last use forward, never backwards, and at most once a minute a key; return of how many.

        It waits for nobody: a row that someone is writing to is left as it is. The caller holds a transaction.
        """
        latest = max(use.at for use in newest.values())
        is_due = Q(last_used_at=None) | Q(last_used_at__lte=latest - USE_RESOLUTION)
        due = self.filter(is_due, pk__in=newest).order_by("pk").select_for_update(skip_locked=True)
        moved = 0
        for key_id, last_used_at in due.values_list("pk", "last_used_at"):
            use = newest[key_id]
            if last_used_at is None or last_used_at <= use.at - USE_RESOLUTION:
                moved += self.filter(pk=key_id).update(last_used_at=use.at, last_used_ip=use.address)
        return moved

    def mark_first_use(self, key_id: UUID, *, prefix: str, at: datetime, address: str | None) -> bool:
        """Note the first use of a key that still has this prefix and was not revoked; return whether that is so.

        Its digest may be another by now, and yet one of the same text; a new secret always has a new prefix.
        """
        still = self.filter(pk=key_id, prefix=prefix, revoked_at=None)
        with without_waiting(FIRST_USE_WAIT_MS):
            if still.filter(last_used_at=None).update(last_used_at=at, last_used_ip=address):
                return True
        return still.exists()

    def awaiting_use_of(self, successor_ids: Collection[UUID], *, at: datetime) -> Self:
        """Keys that retire soon after one of these successors was used, and have not been told that it was."""
        return self.filter(
            successor__in=successor_ids,
            successor__last_used_at__isnull=False,
            settled_at=None,
            revoked_at=None,
            retires_at__gt=at,
        )

    def upgrade_digest(self, key_id: UUID, *, old: str, new: str) -> int:
        """Replace a digest by a costlier one of the same key, unless someone else did so meanwhile."""
        with without_waiting():
            return self.filter(pk=key_id, digest=old).update(digest=new)


@contextmanager
def without_waiting(patience_ms: int = NOTE_WAIT_MS) -> Iterator[None]:
    """Let SQLite refuse almost at once what it would else wait seconds for: the lock that another writer holds."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    # Past Django's cursor, since this is no query: it asks the library, and reads no file.
    raw = connection.connection
    [patience] = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute(f"PRAGMA busy_timeout = {patience_ms}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")


def _within_roles(principal: Principal) -> Q:
    as_admin = reach(principal, Right.TEAM_KEYS_SEE).team_ids
    own_in_team = own_keys(principal) & Q(team_id__in=reach(principal, Right.PROJECT_KEYS_ISSUE).team_ids - as_admin)
    projects = Project.objects.filter(team_id__in=reach(principal, Right.PROJECT_KEYS_SEE).team_ids)
    return Q(team_id__in=as_admin) | Q(project__among=projects) | own_in_team


def _of_teams(team_ids: Collection[UUID]) -> Q:
    return Q(team_id__in=team_ids) | Q(project__team_id__in=team_ids)


def own_keys(principal: Principal) -> Q:
    """Keys that act as the caller does: for the same service account, or for the same person and for no account."""
    if principal.service_account_id:
        return Q(service_account_id=principal.service_account_id)
    return Q(issuer_id=principal.user_id, service_account_id=None)
