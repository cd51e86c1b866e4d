"""Every write to keys."""

from apikeys.actions.authority import may_revoke
from apikeys.actions.ending import disable_key, mark_exposed, note_reappearance, revoke_key
from apikeys.actions.issuing import MAX_EXPIRES_IN_DAYS, issue_key
from apikeys.actions.refusals import (
    EnvironmentNotGrantable,
    ExpiryNotGrantable,
    KeyAlreadyIssued,
    KeyAlreadyRevoked,
    PermissionNotGrantable,
    RevokeNotAllowed,
    ScopeNotAllowed,
)

__all__ = [
    "MAX_EXPIRES_IN_DAYS",
    "EnvironmentNotGrantable",
    "ExpiryNotGrantable",
    "KeyAlreadyIssued",
    "KeyAlreadyRevoked",
    "PermissionNotGrantable",
    "RevokeNotAllowed",
    "ScopeNotAllowed",
    "disable_key",
    "issue_key",
    "mark_exposed",
    "may_revoke",
    "note_reappearance",
    "revoke_key",
]
