"""What a key is found by: the words of its name, its label and its permissions, one row each."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models

from accounts.models import Organization
from apikeys.filters import words_of

if TYPE_CHECKING:
    from apikeys.models.api_key import ApiKey

# A row's column is no longer, whatever a name holds.
_MOST_BYTES = 200
_INDEXED = frozenset({"name", "prefix", "label", "permissions"})


class KeyTerm(models.Model):
    """One thing a key is found by. It is bytes, as ranges need an order, and each database has its own for text."""

    pk = models.CompositePrimaryKey("key", "term")
    key = models.ForeignKey("apikeys.ApiKey", models.CASCADE, related_name="terms", db_index=False)
    term = models.BinaryField(max_length=_MOST_BYTES)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+", db_index=False)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["organization", "term", "key"], name="key_term_found_by")]

    def __str__(self) -> str:
        return bytes(self.term).decode(errors="replace")


def word_term(word: str) -> bytes:
    return f"n:{word}".encode()[:_MOST_BYTES]


def label_term(label: str) -> bytes:
    return f"l:{label}".encode()[:_MOST_BYTES]


def permission_term(name: str) -> bytes:
    return f"p:{name}".encode()[:_MOST_BYTES]


def after(term: bytes) -> bytes:
    """Return the least bytes that come after all that begin with these. UTF-8 has no byte 255, so the last can grow."""
    return term[:-1] + bytes([term[-1] + 1])


def terms_of(api_key: "ApiKey") -> set[bytes]:
    words = [*words_of(api_key.name), api_key.prefix.casefold()]
    names: Collection[str] = api_key.permissions
    return {*map(word_term, words), *map(permission_term, names), label_term(api_key.label)}


def keep_terms(
    instance: "ApiKey", created: bool, raw: bool = False, update_fields: Collection[str] | None = None, **_: Any
) -> None:
    """Have a key found by what it holds now, in the transaction that wrote it. Connected to its signal."""
    if raw or not (created or update_fields is None or _INDEXED.intersection(update_fields)):
        return
    wanted = terms_of(instance)
    held = set() if created else {bytes(term) for term in instance.terms.values_list("term", flat=True)}
    if gone := held - wanted:
        instance.terms.filter(term__in=gone).delete()
    KeyTerm.objects.bulk_create(
        KeyTerm(key=instance, organization_id=instance.organization_id, term=term) for term in sorted(wanted - held)
    )
