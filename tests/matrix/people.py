"""Who the people of the matrix are, and what follows for them from `accounts.rights.RULES`.

This reads the table of rights and nothing of the code that asks it, so that the two are held against each other.
"""

from collections.abc import Callable, Iterable

from accounts.rights import RULES, Right
from accounts.roles import Role

Rows = dict[str, dict[str, str]]

# Who is in which organization as what, and in which team as what.
PEOPLE: dict[str, tuple[str, Role, str, Role | None]] = {
    "alice": ("org", Role.SUPER_ADMIN, "", None),
    "bob": ("org", Role.MEMBER, "team", Role.TEAM_ADMIN),
    "dana": ("org", Role.MEMBER, "team", Role.DEVELOPER),
    # A member without a team.
    "erin": ("org", Role.MEMBER, "", None),
    # The admin and a developer of another team.
    "grace": ("org", Role.MEMBER, "other", Role.TEAM_ADMIN),
    "olga": ("org", Role.MEMBER, "other", Role.DEVELOPER),
    "ursula": ("org", Role.AUDITOR, "", None),
    # The outsider, who has a say in another organization and is to see nothing of this one.
    "charlie": ("elsewhere org", Role.SUPER_ADMIN, "elsewhere team", Role.TEAM_ADMIN),
}
NAMES = tuple(PEOPLE)

# The keys that others are asked about: in each place who issued one, and for what.
TARGETS = {
    "org": ("alice", "org"),
    "team": ("bob", "team"),
    "alices": ("alice", "team"),
    "project": ("bob", "project"),
    "danas": ("dana", "project"),
    "other": ("grace", "other"),
    "others": ("grace", "others"),
    "elsewhere": ("charlie", "elsewhere"),
}
_TEAMS = {
    "team": "team",
    "alices": "team",
    "project": "team",
    "second": "team",
    "danas": "team",
    "other": "other",
    "others": "other",
    "elsewhere": "elsewhere team",
}
_OF_THE_WHOLE = {Role.SUPER_ADMIN, Role.AUDITOR}
_RANKS = (Role.DEVELOPER, Role.TEAM_ADMIN, Role.SUPER_ADMIN)


def may(name: str, right: Right, place: str) -> bool:
    """Say whether someone has a right in a place."""
    return is_here(name, place) and _role(name, _TEAMS.get(place, ""), right) in RULES[right].roles


def here(name: str, right: Right) -> bool:
    """Say whether someone has a right over the organization that they are in."""
    return _role(name, "", right) in RULES[right].roles


def may_anywhere(name: str, right: Right) -> bool:
    return any(may(name, right, place) for place in _TEAMS)


def is_here(name: str, place: str) -> bool:
    """Say whether a place is in the organization of someone."""
    return PEOPLE[name][0] == ("elsewhere org" if place == "elsewhere" else "org")


def is_own(name: str, place: str) -> bool:
    """Say whether the key of a place is one that someone issued."""
    return TARGETS[place][0] == name


def is_below_the_issuer(name: str, place: str) -> bool:
    """Say whether the issuer of a place's key has a greater role there than someone."""
    issuer = TARGETS[place][0]
    ranks = [_rank(one, place) for one in (name, issuer)]
    return ranks[0] < ranks[1]


def rows_of(places: Iterable[str], cell: Callable[[str, str], str]) -> Rows:
    """Return everyone's row."""
    columns = list(places)
    return {name: {place: cell(name, place) for place in columns} for name in NAMES}


def _role(name: str, team: str, right: Right) -> Role | None:
    """Return the role that counts for a right: in the organization, or else in the team if the right is of one."""
    _, role, own_team, team_role = PEOPLE[name]
    if role in _OF_THE_WHOLE:
        return role
    return team_role if RULES[right].is_of_team and team and team == own_team else None


def _rank(name: str, place: str) -> int:
    role = _role(name, _TEAMS.get(place, ""), Right.TEAM_SEE)
    return _RANKS.index(role) if role in _RANKS else -1
