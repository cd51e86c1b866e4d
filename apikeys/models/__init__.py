"""Keys and what an organization demands of them."""

from apikeys.models.api_key import ApiKey
from apikeys.models.policy import Policy
from apikeys.models.queries import EXPIRES_SOON, PRESENTED, UNUSED_AFTER, ApiKeyQuerySet, own_keys, without_waiting

__all__ = ["EXPIRES_SOON", "PRESENTED", "UNUSED_AFTER", "ApiKey", "ApiKeyQuerySet", "Policy", "own_keys", "without_waiting"]
