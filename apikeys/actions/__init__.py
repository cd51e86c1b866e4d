"""Every write to keys."""

from apikeys.actions.authority import may_revoke
from apikeys.actions.ending import disable_key, mark_exposed, note_reappearance, revoke_key
from apikeys.actions.importing import Imported, Incoming, NotImportable, import_keys
from apikeys.actions.issuing import MAX_EXPIRES_IN_DAYS, issue_key
from apikeys.actions.refusals import (
    EnvironmentNotAccepted,
    EnvironmentNotGrantable,
    ExpiryNotGrantable,
    KeyAlreadyIssued,
    KeyAlreadyRevoked,
    KindNotAllowed,
    LimitsNotGrantable,
    NetworkNotGrantable,
    PermissionNotGrantable,
    Refused,
    RevokeNotAllowed,
    ScopeNotAllowed,
    ServiceAccountNotUsable,
)

__all__ = [
    "MAX_EXPIRES_IN_DAYS",
    "EnvironmentNotAccepted",
    "EnvironmentNotGrantable",
    "ExpiryNotGrantable",
    "Imported",
    "Incoming",
    "KeyAlreadyIssued",
    "KeyAlreadyRevoked",
    "KindNotAllowed",
    "LimitsNotGrantable",
    "NetworkNotGrantable",
    "NotImportable",
    "PermissionNotGrantable",
    "Refused",
    "RevokeNotAllowed",
    "ScopeNotAllowed",
    "ServiceAccountNotUsable",
    "disable_key",
    "import_keys",
    "issue_key",
    "mark_exposed",
    "may_revoke",
    "note_reappearance",
    "revoke_key",
]
