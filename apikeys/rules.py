"""What an organization has laid down for its keys: its catalogue of permissions and its policy."""

from dataclasses import dataclass
from uuid import UUID

from accounts.models import Organization
from apikeys.models import ApiKey, Policy
from apikeys.permissions import Catalogue, Role, role_now


@dataclass(frozen=True)
class Rules:
    """The rules that hold in one organization now."""

    catalogue: Catalogue
    policy: Policy

    def effective(self, api_key: ApiKey) -> frozenset[str]:
        """Return what a key may do now; it must have been read `with_roles`."""
        is_publishable = api_key.kind == ApiKey.Kind.PUBLISHABLE
        return self.catalogue.effective(api_key.permissions, role_of(api_key), is_publishable=is_publishable)


def rules_of(organization_id: UUID) -> Rules:
    """Return the rules of an organization, in one query; one that has set none has the defaults."""
    organization = Organization.objects.select_related("policy").get(pk=organization_id)
    policy = getattr(organization, "policy", None) or Policy(organization=organization)
    return Rules(Catalogue.of(organization.permission_catalogue), policy)


def role_of(api_key: ApiKey) -> Role | None:
    """Return the role with which a key acts now; it must have been read `with_roles` and with its service account."""
    account = api_key.service_account
    return role_now(
        account=account.role if account else None,
        organization=api_key.organization_role,  # type: ignore[attr-defined] # annotated by `with_roles`
        team=api_key.team_role,  # type: ignore[attr-defined] # annotated by `with_roles`
    )
