"""The three ways to a key: the page decides its kind, and no form asks for it (S1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from apikeys.models import ApiKey


@dataclass(frozen=True, slots=True)
class Flow:
    """One of the ways: what its form is called, what its keys are, and the names of its addresses."""

    slug: str
    title: str
    text: str
    kind: ApiKey.Kind
    scopes: tuple[str, ...]
    url_name: str
    sentence_url_name: str

    @property
    def scope(self) -> str:
        """The scope of all its keys; empty if the form asks for it."""
        return self.scopes[0] if len(self.scopes) == 1 else ""

    @property
    def is_publishable(self) -> bool:
        return self.kind == ApiKey.Kind.PUBLISHABLE


SECRET: Final = Flow(
    "secret",
    "New API key",
    "One key for one integration. You will see it once.",
    ApiKey.Kind.SECRET,
    ("team", "project"),
    "key-issue",
    "key-issue-sentence",
)
PUBLISHABLE: Final = Flow(
    "publishable",
    "New SDK key",
    "For web pages and apps, where everyone can read it. It reaches one project and no more than is listed here.",
    ApiKey.Kind.PUBLISHABLE,
    ("project",),
    "sdk-key-issue",
    "sdk-key-issue-sentence",
)
ORGANIZATION: Final = Flow(
    "organization",
    "New organization key",
    "It reaches every team and project of the organization. You will see it once.",
    ApiKey.Kind.SECRET,
    ("org",),
    "organization-keys-issue",
    "organization-keys-issue-sentence",
)
FLOWS: Final[Mapping[str, Flow]] = MappingProxyType({flow.slug: flow for flow in (SECRET, PUBLISHABLE, ORGANIZATION)})
