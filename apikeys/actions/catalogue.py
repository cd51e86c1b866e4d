"""The permissions that there are in an organization, beside those that are built in."""

from collections.abc import Callable, Collection

from django.db import transaction

from accounts.models import Organization
from accounts.principals import Principal
from accounts.rights import Right
from apikeys.actions.policies import require_right
from apikeys.actions.refusals import NoSuchPermission
from apikeys.permissions import Catalogue, NotACatalogueEntry, Permission, Role


@transaction.atomic
def add_permission(*, principal: Principal, entry: Permission, is_published: bool = False) -> Catalogue:
    """Add a permission; keys can be granted it at once.

    :param is_published: whether new publishable keys get it.
    :raises SuperAdminOnly: unless the caller rules over the organization.
    :raises NotACatalogueEntry: if the name is none, is built in, was added before, or belongs to keyportal itself.
    """

    def changed(catalogue: Catalogue) -> Catalogue:
        if any(entry.name == other.name for other in catalogue.added):
            raise NotACatalogueEntry("There is a permission of this name. Change that one.")
        added = catalogue.adding(entry)
        return added.publishing({*added.publishable, entry.name}) if is_published else added

    return _change(principal, changed)


@transaction.atomic
def change_permission(
    *, principal: Principal, name: str, sentence: str | None = None, least_role: Role | None = None
) -> Catalogue:
    """Give a permission that was added another sentence or least role; keys whose issuer is below it lose it.

    What is not given stays what it is when nobody else can change it.

    :raises SuperAdminOnly: unless the caller rules over the organization.
    :raises NoSuchPermission: if none of this name was added.
    """

    def changed(catalogue: Catalogue) -> Catalogue:
        _require_added(catalogue, name)
        old = catalogue.by_name[name]
        return catalogue.adding(Permission(name, sentence or old.sentence, least_role or old.least_role))

    return _change(principal, changed)


@transaction.atomic
def remove_permission(*, principal: Principal, name: str) -> Catalogue:
    """Take a permission away that was added; keys that hold it can do it no more from their next request on.

    :raises SuperAdminOnly: unless the caller rules over the organization.
    :raises NoSuchPermission: if none of this name was added.
    """

    def changed(catalogue: Catalogue) -> Catalogue:
        _require_added(catalogue, name)
        return catalogue.without(name)

    return _change(principal, changed)


@transaction.atomic
def publish_permissions(*, principal: Principal, names: Collection[str]) -> Catalogue:
    """Choose what publishable keys get: new ones all of these, and existing ones no others than these.

    :raises SuperAdminOnly: unless the caller rules over the organization.
    :raises NotACatalogueEntry: if one of them may not be published.
    """
    return _change(principal, lambda catalogue: catalogue.publishing(names))


def _change(principal: Principal, changed: Callable[[Catalogue], Catalogue]) -> Catalogue:
    require_right(principal, Right.PERMISSIONS_CHANGE)
    # Locked, so that of two admins who change it at once neither undoes what the other did.
    organization = Organization.objects.select_for_update(no_key=True).get(pk=principal.organization_id)
    before = Catalogue.of(organization.permission_catalogue)
    after = changed(before)
    if after != before:
        organization.permission_catalogue = after.as_stored()
        organization.save(update_fields=["permission_catalogue"])
    return after


def _require_added(catalogue: Catalogue, name: str) -> None:
    if name not in {entry.name for entry in catalogue.added}:
        raise NoSuchPermission
