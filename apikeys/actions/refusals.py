"""Why an action was not carried out: what the API answers, and what a form says and beside which field."""

from collections.abc import Collection

from accounts.actions.refusals import Refused


class ScopeNotAllowed(Refused):
    """The caller's role may not issue keys of this scope there."""

    code, field = "scope_not_allowed", "scope"
    sentence = "Your role does not allow keys of this scope there. Choose another."


class PermissionNotGrantable(Refused):
    """The caller may not grant some of these permissions; `names` are they."""

    code, field = "permission_not_grantable", "permissions"

    def __init__(self, names: Collection[str], *, of_key: bool = False) -> None:
        self.names = sorted(names)
        who = "The calling key does not hold, or may not hand on" if of_key else "Your role there does not allow"
        super().__init__(f"{who}: {', '.join(self.names)}.")


class ExpiryNotGrantable(Refused):
    """A key would issue another that outlives it."""

    code, field = "expiry_not_grantable", "expiry"
    sentence = "Give an expiry no later than the calling key's own."


class EnvironmentNotGrantable(Refused):
    """A key would issue another for an environment that is not its own."""

    code, field = "environment_not_grantable", "environment"
    sentence = "Use a key of the environment that the new key is for, or issue it in the portal."


class ProjectArchived(Refused):
    """The project is archived, and gets no new keys."""

    code, field = "project_archived", "place"
    sentence = "The project is archived. An admin of its team can restore it."


class ProjectHasAccountKeys(Refused):
    """A service account is part of its team, and so are the keys that act for it."""

    code, field = "project_has_account_keys", "team"
    sentence = (
        "Keys of this project act for service accounts of its team, which do not go along. Revoke those keys first, "
        "and issue new ones for an account of the other team."
    )


class MoveHasChanged(Refused):
    """A project was to be moved, and something else would become of its keys than the preview said."""

    code = "selection_changed"
    sentence = "Its keys, or who is in that team, have changed meanwhile. Look at what would become of them now."


class KeysRemain(Refused):
    """Keys work because of this account, and would stop with it."""

    code, field = "keys_remain", "revoke_keys"
    sentence = "Keys of yours still work. Hand them over or revoke them first, or have them revoked now."


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


class EditNotAllowed(Refused):
    """The caller sees the key but may not change it."""

    code = "forbidden"
    sentence = "Only its issuer or an admin of its team may change this key."


class WideningRefused(Refused):
    """A key would be able to do more than it was issued for; `field` says in what."""

    code = "widening_refused"

    def __init__(self, sentence: str, field: str) -> None:
        super().__init__(f"{sentence} A key is only ever narrowed: issue a successor for more.")
        self.field = field


class PolicyForbids(Refused):
    """The organization's policy does not allow such a key; the sentence says which of its rules."""

    code = "policy_forbids"

    def __init__(self, sentence: str, field: str) -> None:
        super().__init__(sentence)
        self.field = field


class SuperAdminOnly(Refused):
    """What rules over all keys of an organization is its super admin's to change."""

    code = "forbidden"
    sentence = "Only a super admin, or an organization key with org:write, changes this. Ask one for it."


class NoSuchPermission(Refused):
    """The organization has added no permission of this name; built-in ones stay as they are."""

    code = "not_found"
    sentence = "No permission of this name was added here. Those that are built in stay as they are."


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


class KeyNotActive(Refused):
    """The key has ended, so that there is nothing to change about it."""

    code = "key_not_active"
    sentence = "The key has ended. Issue a new one where it is still wanted."


class SelectionChanged(Refused):
    """Many keys were to be ended, and they are not the ones of the preview any more."""

    code, field = "selection_changed", "filter"
    sentence = "Other keys pass the filter now than in the preview, or in other states. Look at them again."


class PolicyHasChanged(Refused):
    """A policy was to be turned on, and the one that it would replace is not that of the preview any more."""

    code = "selection_changed"
    sentence = "Someone else has changed the policy meanwhile. Look at what would change now."


class NotSelectable(Refused):
    """The keys that pass a filter are not ended at once; the sentence says why."""

    code, field = "invalid_field", "filter"


class HandOverNotAllowed(Refused):
    """The caller sees the key but may not say for whom it acts."""

    code, field = "forbidden", "service_account"
    sentence = "Only its issuer or an admin of its team may hand over this key."


class NotForServiceAccounts(Refused):
    """A key that means "whatever its issuer may" would mean something else for a service account."""

    code, field = "permission_not_grantable", "service_account"
    sentence = (
        "The key may do whatever its issuer may (*), which would become whatever the service account may. "
        "Issue a new key for the account, with the permissions that it needs."
    )


class RotationNotAllowed(Refused):
    """The caller sees the key but may not rotate it."""

    code = "forbidden"
    sentence = "Only its issuer, or an admin whose role is not below the key's, may rotate this key."


class SuccessorInUse(Refused):
    """The successor of the key works somewhere, so that its secret cannot be replaced."""

    code = "successor_in_use"
    sentence = "This key has a successor that is in use. Rotate the successor instead, or end this key."


class NotRotating(Refused):
    """No rotation of the key is under way, so there is none to end or to extend."""

    code = "not_rotating"
    sentence = "The key has no successor that it works beside, or it has ended."


class ExtensionNotPossible(Refused):
    """A rotated key cannot work on until the moment that was chosen; the sentence says until when it can."""

    code, field = "invalid_field", "retires_at"
