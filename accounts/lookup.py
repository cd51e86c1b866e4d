"""What operators name on a command line: by name or by id."""

from typing import TypeVar
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Q, QuerySet

from accounts.models import Organization, Project, Team, User

T = TypeVar("T", Organization, Project, Team)


def one_organization(named: str | None) -> Organization:
    """Return the organization of this name, slug or id, or the only one there is.

    :raises CommandError: if there is none, or several to choose from.
    """
    # What is the name of one and the slug of another is told apart by nobody but who wrote it: then it takes the id.
    return _one(Organization.objects.all(), named, "organization", also=Q(slug=(named or "").lower()))


def one_team(organization: Organization, named: str) -> Team:
    """:raises CommandError: if the organization has no such team."""
    return _one(Team.objects.filter(organization=organization), named, "team")


def one_project(organization: Organization, named: str) -> Project:
    """:raises CommandError: if the organization has no such project, or several teams have one of this name."""
    projects = Project.objects.filter(team__organization=organization).select_related("team")
    return _one(projects, named, "project")


def one_user(email: str) -> User:
    """:raises CommandError: if nobody has this address."""
    try:
        return User.objects.get(email=email.strip().lower())
    except User.DoesNotExist as error:
        raise CommandError(f"Nobody has an account with the address {email}.") from error


def _one(rows: QuerySet[T], named: str | None, noun: str, also: Q | None = None) -> T:
    found = list((rows.filter(_named(named) | (also or Q())) if named else rows)[:2])
    if len(found) == 1:
        return found[0]
    option = f"--{noun}"
    if not found:
        raise CommandError(f"There is no {noun} called {named}." if named else f"There is no {noun} yet.")
    raise CommandError(f"There are several: name one by its id with {option}.")


def _named(text: str) -> Q:
    try:
        return Q(pk=UUID(text))
    except ValueError:
        return Q(name__iexact=text)
