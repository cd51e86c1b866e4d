"""Who looks at the log in these tests."""

from typing import NamedTuple

from accounts import actions
from accounts.models import OrganizationMembership, Role, Team
from accounts.principals import Principal, principal_of
from tests.audit.happenings import NOON


class People(NamedTuple):
    alice: OrganizationMembership
    dana: OrganizationMembership
    charlie: OrganizationMembership
    team: Team

    @property
    def alice_as_principal(self) -> Principal:
        return principal_of(self.alice)


def make_people() -> People:
    alice = actions.set_up(organization_name="Acme", email="alice@example.com", password="a b c", at=NOON)
    team = actions.create_team(principal=principal_of(alice), name="Payments", at=NOON)
    dana = actions.create_user(email="dana@example.com", password=None, at=NOON)
    in_team = actions.add_to_team(team=team, user=dana, role=Role.DEVELOPER, at=NOON)
    elsewhere = actions.create_organization(name="Elsewhere", at=NOON)
    charlie = actions.create_user(email="charlie@example.com", password=None, at=NOON)
    return People(
        alice=alice,
        dana=in_team.membership,
        charlie=actions.add_to_organization(organization=elsewhere, user=charlie, role=Role.SUPER_ADMIN, at=NOON),
        team=team,
    )
