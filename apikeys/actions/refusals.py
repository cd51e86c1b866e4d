"""Why an action was not carried out: what the API answers, and what a form says and beside which field."""

from collections.abc import Collection
from typing import ClassVar


class Refused(Exception):
    """An action was refused. Its text is a sentence that says what to do, and never what was sent."""

    code: ClassVar[str] = "forbidden"
    field: ClassVar[str] = ""  # of the form to which the sentence belongs; empty for the form as a whole
    sentence: ClassVar[str] = ""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence or self.sentence)


class ScopeNotAllowed(Refused):
    """The caller's role may not issue keys of this scope there."""

    code, field = "scope_not_allowed", "scope"
    sentence = "Your role does not allow keys of this scope there. Choose another."


class PermissionNotGrantable(Refused):
    """The caller may not grant some of these permissions; `names` are they."""

    code, field = "permission_not_grantable", "permissions"

    def __init__(self, names: Collection[str]) -> None:
        self.names = sorted(names)
        super().__init__(f"Your role there does not allow: {', '.join(self.names)}.")


class ExpiryNotGrantable(Refused):
    """A key would issue another that outlives it."""

    code, field = "expiry_not_grantable", "expiry"
    sentence = "Give an expiry no later than the calling key's own."


class EnvironmentNotGrantable(Refused):
    """A key would issue another for an environment that is not its own."""

    code, field = "environment_not_grantable", "environment"
    sentence = "Use a key of the environment that the new key is for, or issue it in the portal."


class EnvironmentNotAccepted(Refused):
    """The project takes no keys of this environment."""

    code, field = "environment_not_accepted", "environment"
    sentence = "The project does not accept keys of this environment. Choose the other one."


class KindNotAllowed(Refused):
    """A publishable key is for a project, and for nothing else."""

    code, field = "scope_not_allowed", "scope"
    sentence = "A publishable key belongs to a project. Choose one."


class NetworkNotGrantable(Refused):
    """A key would issue another that may come from where it may not."""

    code, field = "network_not_grantable", "networks"
    sentence = "Give networks that lie within the calling key's own."


class LimitsNotGrantable(Refused):
    """A key that has limits would issue another that may make more requests."""

    code, field = "limits_not_grantable", "per_second"
    sentence = "Give each limit that the calling key has, and none higher than its own."


class ServiceAccountNotUsable(Refused):
    """No key can act for this service account; the sentence says why."""

    code, field = "service_account_not_usable", "service_account"


class KeyAlreadyIssued(Refused):
    """The form was sent twice: its key exists, and was shown."""

    code = "key_already_issued"
    sentence = "This form has issued its key before."


class KeyAlreadyRevoked(Refused):
    """Someone revoked it first."""

    code = "key_already_revoked"
    sentence = "The key was revoked before. Revocation is final."


class RevokeNotAllowed(Refused):
    """The caller sees the key but may not end it."""

    code = "forbidden"
    sentence = "Only its issuer or an admin of its team may revoke this key."
