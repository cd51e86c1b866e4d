"""What someone can be in an organization or in one of its teams."""

from django.db import models


class Role(models.TextChoices):
    """What a person is somewhere. `member` belongs to an organization and may do nothing in it by that alone.

    An auditor reads all of the organization, changes nothing, and is in no team.
    """

    SUPER_ADMIN = "super_admin", "Super admin"
    AUDITOR = "auditor", "Auditor"
    TEAM_ADMIN = "team_admin", "Team admin"
    DEVELOPER = "developer", "Developer"
    MEMBER = "member", "Member"
