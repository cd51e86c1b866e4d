"""What an organization is called, and founding another one beside those that there are."""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.actions.inviting import invite_as_operator
from accounts.actions.people import add_to_organization, create_organization
from accounts.actions.refusals import NotAllowed, Refused
from accounts.models import Organization, Role, User
from accounts.principals import Principal
from accounts.rights import Right, holds


class SlugTaken(Refused):
    """Another organization of the installation has this slug."""

    code, field = "name_taken", "slug"
    sentence = "Another organization has this slug. Choose another one."


@transaction.atomic
def change_organization(*, principal: Principal, name: str, slug: str, logo_initials: str) -> Organization:
    """Call the caller's organization something else; nothing that keys do depends on it.

    :param slug: in lower-case letters, digits and hyphens, as the form checks it.
    :param logo_initials: what stands in place of a logo; empty for the first letter of the name.
    :raises NotAllowed: unless the caller is a super admin in person.
    :raises SlugTaken: if another organization has the slug.
    """
    if not holds(principal, Right.ORGANIZATION_CHANGE):
        raise NotAllowed("Only a super admin changes the organization. Ask one for it.")
    current = Organization.objects.select_for_update(no_key=True).get(pk=principal.organization_id)
    wanted = {"name": name.strip(), "slug": slug, "logo_initials": logo_initials.strip()}
    changed = [field for field, value in wanted.items() if getattr(current, field) != value]
    for field in changed:
        setattr(current, field, wanted[field])
    if changed:
        try:
            with transaction.atomic():
                current.save(update_fields=changed)
        except IntegrityError as error:
            raise SlugTaken from error
    return current


@transaction.atomic
def found_organization(*, name: str, email: str, at: datetime) -> tuple[Organization, str]:
    """Make another organization, as the operator, with a super admin: the account of an address, or who is invited.

    :return: the organization, and the token of the invitation's link; empty if there is an account.
    """
    organization = create_organization(name=name, at=at)
    user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
    if user:
        add_to_organization(organization=organization, user=user, role=Role.SUPER_ADMIN, at=at)
        return organization, ""
    _, token = invite_as_operator(organization=organization, email=email, role=Role.SUPER_ADMIN, at=at)
    return organization, token
