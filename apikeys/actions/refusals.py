"""Why an action was not carried out."""

from collections.abc import Collection


class ScopeNotAllowed(Exception):
    """The caller's role may not issue keys of this scope there."""


class PermissionNotGrantable(Exception):
    """The caller may not grant some of these permissions; `names` are they."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = sorted(names)


class ExpiryNotGrantable(Exception):
    """A key would issue another that outlives it."""


class EnvironmentNotGrantable(Exception):
    """A key would issue another for an environment that is not its own."""


class KeyAlreadyIssued(Exception):
    """The form was sent twice: its key exists, and was shown."""


class KeyAlreadyRevoked(Exception):
    """Someone revoked it first."""


class RevokeNotAllowed(Exception):
    """The caller sees the key but may not end it."""
