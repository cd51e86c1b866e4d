"""What happens to the people behind a key, by rows that no action of this version writes."""

from django.db import transaction

from accounts.models import OrganizationMembership, Role, TeamMembership, User
from accounts.principals import Principal
from apikeys.verification import verify
from tests.cast import NOON, Issued, Person


def acting_as(issued: Issued) -> Principal:
    """Return the principal of a key at noon."""
    key = verify(issued.text, at=NOON).key
    assert key is not None
    return key.principal


def demote(person: Person, role: Role = Role.MEMBER) -> None:
    """Change the person's role in the organization."""
    with transaction.atomic():
        membership = OrganizationMembership.objects.get(pk=person.membership.pk)
        membership.role = role
        membership.save(update_fields=["role"])


def change_team_role(person: Person, role: Role) -> None:
    with transaction.atomic():
        for team_membership in TeamMembership.objects.filter(membership=person.membership):
            team_membership.role = role
            team_membership.save(update_fields=["role"])


def leave_teams(person: Person) -> None:
    with transaction.atomic():
        for team_membership in TeamMembership.objects.filter(membership=person.membership):
            team_membership.delete()


def leave_organization(person: Person) -> None:
    with transaction.atomic():
        OrganizationMembership.objects.get(pk=person.membership.pk).delete()


def deactivate(person: Person) -> None:
    with transaction.atomic():
        user = User.objects.get(pk=person.user.pk)
        user.is_active = False
        user.save(update_fields=["is_active"])


def suspend_organization(person: Person) -> None:
    with transaction.atomic():
        organization = person.membership.organization
        organization.suspended_at = NOON
        organization.save(update_fields=["suspended_at"])
