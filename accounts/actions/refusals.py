"""Why an action was not carried out: what the API answers, and what a form says and beside which field."""

from typing import ClassVar


class Refused(Exception):
    """An action was refused. Its text is a sentence that says what to do, and never what was sent."""

    code: ClassVar[str] = "forbidden"
    field: str = ""  # of the form to which the sentence belongs; empty for the form as a whole
    sentence: ClassVar[str] = ""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence or self.sentence)


class NotAllowed(Refused):
    """The caller's role does not allow this."""

    code = "forbidden"
    sentence = "Your role does not allow this. Ask an admin of the team."


class AlreadySetUp(Exception):
    """There are users already, so the set-up link is void."""


class NameTaken(Refused):
    """Another of the same kind there has this name: a team of the organization, a project or account of the team."""

    code, field = "name_taken", "name"
    sentence = "There is one of this name already. Choose another name."


class TeamArchived(Refused):
    """The team is archived, and gets nothing new."""

    code, field = "team_archived", "team"
    sentence = "The team is archived. A super admin can restore it."


class AccountExists(Exception):
    """There is an account with this email address; its owner signs in instead."""


class AlreadyMember(Exception):
    """The person is in this team already."""


class NotAMember(Refused):
    """The person is not in the team or organization, or not any more."""

    code = "not_found"
    sentence = "This person is not a member here any more."


class LastSuperAdmin(Refused):
    """Nobody would be left who administers the organization."""

    code, field = "forbidden", "role"
    sentence = "This is the only super admin of the organization. Make someone else one first."


class AuditorInTeam(Refused):
    """An auditor reads what all teams do, and so is in none."""

    code, field = "forbidden", "email"
    sentence = "This person is an auditor of the organization, who is in no team. Change their role there first."


class InvitationNotUsable(Exception):
    """The invitation was used, has expired, or was never made."""


class WrongAccount(Exception):
    """The invitation is for another email address."""


class StewardNotInTeam(Refused):
    """Who answers for a service account has to be in its team."""

    code, field = "steward_not_in_team", "steward"
    sentence = "The steward has to be a member of the team. Choose one who is."


class ServiceAccountAlreadyStopped(Refused):
    """The service account was stopped, and that is final."""

    code = "service_account_already_stopped"
    sentence = "The service account was stopped before. Stopping is final."
