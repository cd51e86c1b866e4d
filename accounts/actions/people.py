"""Making organizations and people, and putting people into them."""

from datetime import datetime
from itertools import chain, count

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.actions.refusals import AccountExists, AlreadyMember, AlreadySetUp, AuditorInTeam
from accounts.models import Installation, Organization, OrganizationMembership, Role, Team, TeamMembership, User
from audit.context import happening_in


def set_up(*, organization_name: str, email: str, password: str, at: datetime) -> OrganizationMembership:
    """Make the first organization and its super admin, once in the life of an installation.

    :raises AlreadySetUp: if there is a user, or another set-up is won by someone else at this moment.
    """
    return _set_up(organization_name, new_user(email=email, password=password, at=at), at)


@transaction.atomic
def _set_up(organization_name: str, user: User, at: datetime) -> OrganizationMembership:
    if User.objects.exists():
        raise AlreadySetUp
    try:
        with transaction.atomic():
            Installation.objects.create(set_up_at=at)
    except IntegrityError as error:
        raise AlreadySetUp from error
    organization = create_organization(name=organization_name, at=at)
    with happening_in(organization.pk):
        save_user(user)
    return add_to_organization(organization=organization, user=user, role=Role.SUPER_ADMIN, at=at)


@transaction.atomic
def create_organization(*, name: str, at: datetime) -> Organization:
    return Organization.objects.create(name=name.strip(), slug=_free_slug(name), created_at=at)


def _free_slug(name: str) -> str:
    """Return what addresses may call a new organization: its name, with a number where that is taken."""
    base = slugify(name)[:40].strip("-") or "organization"
    taken = set(Organization.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    return next(slug for slug in chain([base], (f"{base}-{number}" for number in count(2))) if slug not in taken)


def create_user(*, email: str, password: str | None, at: datetime, name: str = "") -> User:
    """Make an account; without a password its owner signs in through a provider.

    :raises AccountExists: if the address has an account, in whatever case it is written.
    """
    user = new_user(email=email, password=password, at=at, name=name)
    save_user(user)
    return user


def new_user(*, email: str, password: str | None, at: datetime, name: str = "") -> User:
    """Return an account that is yet to be saved. Its password is hashed here, so that no transaction waits for that."""
    user = User(email=email.strip().lower(), name=name.strip(), created_at=at)
    user.set_password(password)
    return user


@transaction.atomic
def save_user(user: User, *, is_verified: bool = False) -> None:
    """Save a new account.

    :param is_verified: whether its owner has shown that they read the address.
    :raises AccountExists: as `create_user` does.
    """
    if User.objects.filter(email__iexact=user.email).exists():
        raise AccountExists
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise AccountExists from error
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=is_verified)


@transaction.atomic
def add_to_organization(*, organization: Organization, user: User, role: Role, at: datetime) -> OrganizationMembership:
    """Give a person a role in an organization; one who is a member already keeps the greater role."""
    membership, is_new = OrganizationMembership.objects.select_for_update().get_or_create(
        organization=organization, user=user, defaults={"role": role, "created_at": at}
    )
    if not is_new and role == Role.SUPER_ADMIN and not membership.is_super_admin:
        membership.role = role
        membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def add_to_team(*, team: Team, user: User, role: Role, at: datetime) -> TeamMembership:
    """Put a person into a team, and into its organization where they are not in it yet.

    :raises AlreadyMember: if they are in the team.
    :raises AuditorInTeam: if they are an auditor of the organization.
    """
    membership = add_to_organization(organization=team.organization, user=user, role=Role.MEMBER, at=at)
    if membership.is_auditor:
        raise AuditorInTeam
    team_membership, is_new = TeamMembership.objects.get_or_create(
        team=team, membership=membership, defaults={"role": role, "created_at": at}
    )
    if not is_new:
        raise AlreadyMember
    return team_membership
