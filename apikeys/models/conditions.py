"""What a `KeyFilter` asks for, as conditions of one row, and as the parts that indexes answer.

A condition with an "or" in it is found through no one index. So those come in parts too, each of which has an index
of its own; a key that is in any of them is meant.
"""

from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.lookups import IsNull

from accounts.models import Project, Team, User
from apikeys.filters import MOST_WORDS, KeyFilter, words_of
from apikeys.models import lookups
from apikeys.models.terms import KeyTerm, after, label_term, permission_term, word_term
from apikeys.permissions import ALL
from audit.addresses import range_of
from audit.models import KeyAddress

__all__ = [
    "attention_reasons",
    "filter_condition",
    "filter_parts",
    "lookups",
    "state_condition",
    "state_parts",
    "unused_since",
]

EXPIRES_SOON = timedelta(days=14)
NOT_REVOKED = Q(revoked_at=None)
NOT_ROTATED = Q(revoked_at=None, retires_at=None)
MARKED = Q(disabled_at__isnull=False) | Q(exposed_at__isnull=False) | Q(in_browser_at__isnull=False)


# What a filter asks for


def filter_condition(asked: KeyFilter, *, at: datetime) -> Q:
    """Return all that is asked for but the state, as a condition of each row by itself."""
    found = _plain(asked) & _by_other_rows(asked, within=None)
    if asked.text:
        found &= reduce(or_, _text_parts(asked.text))
    return found & reduce(or_, _unused_parts_of(asked, at))


def filter_parts(asked: KeyFilter, *, at: datetime, within: UUID, most: int | None) -> list[Q]:
    """Return the same as parts; in each of them an index of the organization's leads to the keys.

    A text takes one statement, which finds the people, teams and projects that are called so.

    :param most: if nothing but one condition is asked for, how many keys are enough to know of.
    """
    most = most if asked.is_single else None
    common = _plain(asked) & _by_other_rows(asked, within=within, most=most)
    if asked.text:
        common &= reduce(or_, _unused_parts_of(asked, at))
        return [common & part for part in _named_parts(asked.text, within, most)]
    return [common & part for part in _unused_parts_of(asked, at)]


def _plain(asked: KeyFilter) -> Q:
    lookups_of = {
        "scope": asked.scope,
        "project_id": asked.project_id,
        "issuer_id": asked.issuer_id,
        "service_account_id": asked.service_account_id,
        "service_account__isnull": asked.has_no_service_account,
        "label": asked.label,
        "created_at__gte": asked.created_from,
        "created_at__lt": asked.created_to,
        "last_used_at__gte": asked.used_from,
        "last_used_at__lt": asked.used_to,
        "last_used_at__isnull": asked.is_never_used,
        "expires_at__gte": asked.expires_from,
        "expires_at__lt": asked.expires_to,
        "expires_at__isnull": asked.never_expires,
    }
    found = Q(**{lookup: value for lookup, value in lookups_of.items() if value})
    if asked.issuer_email:
        found &= Q(issuer__in=User.objects.filter(email=asked.issuer_email.lower()))
    if asked.team_id:
        found &= Q(team_id=asked.team_id) | Q(project__among=Project.objects.filter(team_id=asked.team_id))
    return found


def _by_other_rows(asked: KeyFilter, *, within: UUID | None, most: int | None = None) -> Q:
    found = Q()
    if asked.permission:
        names = [permission_term(asked.permission), permission_term(ALL)]
        found &= _has(KeyTerm.objects.filter(term__in=names), within=within, most=most)
    if asked.seen_from:
        first, last = range_of(asked.seen_from)
        found &= _has(KeyAddress.objects.filter(place__gte=first, place__lte=last), within=within, most=most)
    return found


def _text_parts(text: str) -> list[Q]:
    """Return the keys whose name has all the words, or whose label, issuer, team or project the text is of."""
    return [
        *_own_parts(text, within=None, most=None),
        Q(issuer__in=_people(text)),
        Q(team__in=Team.objects.filter(name__icontains=text)),
        Q(project__in=Project.objects.filter(name__icontains=text)),
    ]


def _named_parts(text: str, within: UUID, most: int | None) -> list[Q]:
    """Return the same as parts, those by other names only where somebody or something is called so."""
    named = {
        "issuer_id__in": _people(text).values_list("id", Value("issuer_id__in")),
        "team_id__in": Team.objects.filter(name__icontains=text, organization_id=within).values_list(
            "id", Value("team_id__in")
        ),
        "project_id__in": Project.objects.filter(name__icontains=text, team__organization_id=within).values_list(
            "id", Value("project_id__in")
        ),
    }
    first, *others = named.values()
    found: dict[str, list[UUID]] = {}
    for row_id, lookup in first.order_by().union(*(other.order_by() for other in others), all=True):
        found.setdefault(lookup, []).append(row_id)
    return [*_own_parts(text, within=within, most=most), *(Q(**{lookup: ids}) for lookup, ids in found.items())]


def _own_parts(text: str, *, within: UUID | None, most: int | None) -> list[Q]:
    words = [word_term(word) for word in words_of(text)[:MOST_WORDS]]
    enough = most if len(words) == 1 else None
    by_name = [_begins(word, within, enough) for word in words]
    return [*([reduce(and_, by_name)] if by_name else []), _begins(label_term(text), within, most)]


def _people(text: str) -> QuerySet[User]:
    return User.objects.filter(Q(email__icontains=text) | Q(name__icontains=text))


def _begins(term: bytes, within: UUID | None, most: int | None) -> Q:
    return _has(KeyTerm.objects.filter(term__gte=term, term__lt=after(term)), within=within, most=most)


def _has(rows: "QuerySet[Any]", *, within: UUID | None, most: int | None = None) -> Q:
    """Return the keys that have one of these rows.

    Where they shall lead to the keys, those of the organization are read by their own index. Where keys are looked
    through, each is asked by itself: of a plain `EXISTS`, PostgreSQL would read all such rows first.
    """
    if within:
        return Q(pk__in=rows.filter(organization_id=within).values("key_id").distinct()[:most])
    return Q(IsNull(Subquery(rows.filter(key_id=OuterRef("pk")).values("key_id")[:1]), False))


def _unused_parts_of(asked: KeyFilter, at: datetime) -> list[Q]:
    return _unused_parts(at - timedelta(days=asked.unused_days)) if asked.unused_days else [Q()]


def unused_since(moment: datetime) -> Q:
    """Keys that were last used before a moment, or came here before it and never were."""
    return reduce(or_, _unused_parts(moment))


def _unused_parts(moment: datetime) -> list[Q]:
    return [
        Q(last_used_at__lt=moment),
        Q(last_used_at=None, imported_at=None, created_at__lt=moment),
        Q(last_used_at=None, imported_at__lt=moment),
    ]


# States


def _api_key() -> Any:
    """Return the model, whose module needs this one."""
    return apps.get_model("apikeys", "ApiKey")


def state_condition(state: str, *, at: datetime, unused_after: int | None) -> Q:
    """Return the keys in a state; any, if none is named."""
    return reduce(or_, state_parts(state, at=at, unused_after=unused_after))


def state_parts(state: str, *, at: datetime, unused_after: int | None) -> list[Q]:
    """Return the keys in a state as parts, each with an index of its own."""
    match state:
        case "active":
            return _active_parts(at)
        case "attention":
            return list(attention_reasons(at=at, unused_after=unused_after).values())
        case "disabled":
            return [Q(disabled_at__isnull=False) & MARKED & NOT_REVOKED & reduce(or_, _active_parts(at))]
        case "expired":
            return [
                NOT_ROTATED & Q(expires_at__lte=at),
                NOT_REVOKED & Q(retires_at__gt=at, expires_at__lte=at),
            ]
        case "retired":
            return [NOT_REVOKED & Q(retires_at__lte=at)]
        case "revoked":
            return [Q(revoked_at__isnull=False), NOT_REVOKED & Q(retires_at__lte=at)]
        case _:
            return [Q()]


def _active_parts(at: datetime) -> list[Q]:
    return [
        NOT_ROTATED & Q(expires_at=None),
        NOT_ROTATED & Q(expires_at__gt=at),
        NOT_REVOKED & Q(retires_at__gt=at) & (Q(expires_at=None) | Q(expires_at__gt=at)),
    ]


def attention_reasons(*, at: datetime, unused_after: int | None) -> dict[str, Q]:
    """Return why someone should look at an active key; each reason has an index of its own."""
    unused = _unused_parts(at - timedelta(days=unused_after)) if unused_after else []
    reasons = {
        "marked": MARKED,
        # From the few that reappeared to their successors, and never the other way.
        "reappeared": Q(pk__in=_api_key().objects.filter(reappeared_at__isnull=False).values("successor")),
        "expiring": Q(expires_at__gt=at, expires_at__lte=at + EXPIRES_SOON),
        **{f"unused_{number}": part for number, part in enumerate(unused)},
    }
    active = reduce(or_, _active_parts(at))
    return {name: NOT_REVOKED & reason & active for name, reason in reasons.items()}
