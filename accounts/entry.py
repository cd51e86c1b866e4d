"""What an organization asks of a sign-in before it lets someone in."""

from collections.abc import Mapping, Sequence
from typing import Any

from accounts.models import OrganizationMembership


def obstacle(membership: OrganizationMembership, records: Sequence[Mapping[str, Any]]) -> str:
    """Return the code of what keeps a person out of an organization for now; empty, if nothing does.

    :param records: how the session's person has proved who they are, as allauth keeps it.
    """
    return ""
