"""What keys are filtered by: one frozen value, whoever asks. Pure: no Django, no I/O."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

STATES = ("active", "attention", "disabled", "expired", "retired", "revoked")
# More words than anyone remembers of a name only cost time.
MOST_WORDS = 5
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFilter:
    """Conditions that all have to hold; one that is empty or None asks for nothing. Times are `from` ≤ x < `to`.

    :param text: words of the name, the beginning of the label, or a part of an issuer's, team's or project's name.
    :param state: one of `STATES`; `attention` is what someone should look at.
    :param team_id: keys of the team, and of its projects.
    :param issuer_id: keys of this issuer, those included that were handed over to a service account since.
    :param permission: keys that were granted it, by its name or by `*`.
    :param unused_days: keys that were last used, or came here and never were, longer ago than that.
    :param seen_from: a network in CIDR notation, from which the right key came.
    """

    text: str = ""
    state: str = ""
    scope: str = ""
    team_id: UUID | None = None
    project_id: UUID | None = None
    issuer_id: UUID | None = None
    issuer_email: str = ""
    service_account_id: UUID | None = None
    has_no_service_account: bool = False
    permission: str = ""
    label: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None
    used_from: datetime | None = None
    used_to: datetime | None = None
    is_never_used: bool = False
    unused_days: int | None = None
    expires_from: datetime | None = None
    expires_to: datetime | None = None
    never_expires: bool = False
    seen_from: str = ""

    @property
    def is_narrowing(self) -> bool:
        """Whether anything but the state is asked for."""
        return any(getattr(self, field.name) for field in fields(self) if field.name != "state")

    @property
    def is_single(self) -> bool:
        """Whether one thing is asked for besides the state, and no more."""
        return sum(bool(getattr(self, field.name)) for field in fields(self) if field.name != "state") == 1

    def as_json(self, *, mask: Callable[[str], str]) -> dict[str, object]:
        """Return what is asked for as JSON has it, for the audit log.

        :param mask: takes the secret out of a text: someone may look for a whole key by mistake.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value, mask) for name, value in values.items() if value}


def _plain(value: object, mask: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are looked for: without case, and without what stands between them."""
    return list(dict.fromkeys(_WORD.findall(text.casefold())))
