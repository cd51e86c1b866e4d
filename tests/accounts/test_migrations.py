"""Going back to the version before, with rows that it did not know."""

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts.actions.inviting import invite_as_operator
from accounts.models import Invitation, Organization, OrganizationMembership, Role
from tests.accounts.scenes import invited
from tests.apikeys.people import demote
from tests.cast import NOON, Person

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("accounts", "0006_slugs_unique")]


def migrate_to(targets: list[tuple[str, str]]) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)


@pytest.fixture
def latest() -> Iterator[list[tuple[str, str]]]:
    """Come back to where the other tests are, whatever becomes of this one."""
    nodes = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield nodes
    migrate_to(nodes)


def test_way_back_keeps_people_and_voids_what_cannot_be_kept(
    transactional_db: None, latest: list[tuple[str, str]], alice: Person, bob: Person, dana: Person
) -> None:
    team = bob.membership.team_memberships.get().team
    demote(dana, Role.AUDITOR)
    kept, _ = invited(bob, team)
    with transaction.atomic():
        invite_as_operator(
            organization=Organization.objects.get(), email="olga@example.com", role=Role.SUPER_ADMIN, at=NOON
        )
    migrate_to(BEFORE)
    migrate_to(latest)
    assert OrganizationMembership.objects.get(pk=dana.membership.pk).role == Role.MEMBER
    found = Invitation.objects.get()
    assert (found.pk, found.organization_id, found.invited_by_id) == (kept.pk, team.organization_id, bob.user.pk)
