"""What an organization has laid down for its keys: its catalogue of permissions and its policy."""

from dataclasses import dataclass
from uuid import UUID

from accounts.models import Organization
from apikeys.models import ApiKey, Policy
from apikeys.networks import NetworkPolicy
from apikeys.permissions import AUDITOR, Catalogue, Role, role_now


@dataclass(frozen=True)
class Rules:
    """The rules that hold in one organization now."""

    catalogue: Catalogue
    policy: Policy
    networks: NetworkPolicy | None = None

    def effective(self, api_key: ApiKey) -> frozenset[str]:
        """Return what a key may do now; it must have been read `with_roles`."""
        is_publishable = api_key.kind == ApiKey.Kind.PUBLISHABLE
        return self.catalogue.effective(api_key.permissions, role_of(api_key), is_publishable=is_publishable)


def rules_of(organization_id: UUID, *, is_locked: bool = False) -> Rules:
    """Return the rules of an organization, in one query; one that has set none has the defaults.

    :param is_locked: whether they must stay as they are until the end of the caller's transaction. Lock them before
        any key, or two callers may wait for each other.
    """
    if is_locked:
        # A statement of its own: one that waits for a lock still reads what it joins as it was before.
        Organization.objects.select_for_update(no_key=True).only("pk").get(pk=organization_id)
    organization = Organization.objects.select_related("policy").get(pk=organization_id)
    policy = getattr(organization, "policy", None) or Policy(organization=organization)
    catalogue = Catalogue.of(organization.permission_catalogue)
    return Rules(catalogue, policy, NetworkPolicy.of(organization.network_policy))


def role_of(api_key: ApiKey) -> Role | None:
    """Return the role with which a key acts now; it must have been read `with_roles` and with its service account."""
    account = api_key.service_account
    return role_now(
        account=account.role if account else None,
        organization=api_key.organization_role,  # type: ignore[attr-defined] # annotated by `with_roles`
        team=api_key.team_role,  # type: ignore[attr-defined] # annotated by `with_roles`
    )


def is_issuer_gone(api_key: ApiKey) -> bool:
    """Say whether nobody stands behind a key any more; it must have been read as for `role_of`, with its issuer.

    A key of a service account needs its issuer no longer.
    """
    if api_key.service_account_id:
        return False
    role: str | None = api_key.organization_role  # type: ignore[attr-defined] # annotated by `with_roles`
    # An auditor stands behind no key, though they are a member.
    if not api_key.issuer.is_active or role in {None, AUDITOR}:
        return True
    return api_key.scope != ApiKey.Scope.ORG and role_of(api_key) is None
