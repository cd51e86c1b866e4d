"""Keys and what an organization demands of them."""

from apikeys.models.api_key import ApiKey
from apikeys.models.conditions import EXPIRES_SOON
from apikeys.models.policy import Policy
from apikeys.models.queries import PRESENTED, UNUSED_AFTER, ApiKeyQuerySet, own_keys, without_waiting
from apikeys.models.terms import KeyTerm

__all__ = [
    "EXPIRES_SOON",
    "PRESENTED",
    "UNUSED_AFTER",
    "ApiKey",
    "ApiKeyQuerySet",
    "KeyTerm",
    "Policy",
    "own_keys",
    "without_waiting",
]
