"""Who may do what where, as tables: product.md's T1-T5, S1-S5, T16, T20 and T21, spelled out.

A row is who calls. Those of people are made from `accounts.rights.RULES`, and so say what docs/roles.md says; those
of keys are written out, since their scope and permissions narrow what the rights of their issuers are. `bob:team` is a
key of bob's for the team that holds all that bob can grant. The last five are a key that only reads, and keys that
lack the permission; a key of another environment; and those whose issuer is less than they were: `frank` has left.

A column is where that is to which it is done. `alices` is of the team as `team` is, but alice issued it and bob the
other; likewise `danas` and `project`. `other` is another team of the organization, and `others` that one's project.

A cell is what is answered: `+` it is done, `-` 403, `0` 404 as if there were no such thing, `?` the same of what else
is named, `!` 401. Pages also answer `x`, the form with what is wrong in it, and `>`, the way to the sign-in.
"""

from collections.abc import Callable
from dataclasses import dataclass

from accounts.rights import Right
from tests.matrix.people import (
    NAMES,
    Rows,
    here,
    is_below_the_issuer,
    is_here,
    is_own,
    may,
    may_anywhere,
    rows_of,
)

ALLOWED, FORBIDDEN, UNKNOWN, OTHER_UNKNOWN, UNAUTHENTICATED, INVALID, SIGN_IN = "+", "-", "0", "?", "!", "x", ">"
_STATUS = {FORBIDDEN: 403, UNKNOWN: 404, UNAUTHENTICATED: 401, INVALID: 422}


@dataclass(frozen=True)
class Grid:
    """One table; `rows[caller][place]` is a cell. It names the rights that it is about, or says why there is none."""

    rows: Rows
    rights: frozenset[Right] = frozenset()
    why: str = ""

    @property
    def callers(self) -> list[str]:
        return list(self.rows)

    @property
    def places(self) -> list[str]:
        return list(next(iter(self.rows.values())))

    def allowed(self, caller: str) -> set[str]:
        return {place for place, cell in self.rows[caller].items() if cell == ALLOWED}

    def status_cell(self, caller: str, place: str) -> str:
        """Return a cell as far as its status tells it."""
        cell = self.rows[caller][place]
        return UNKNOWN if cell == OTHER_UNKNOWN else cell

    def is_refused(self, caller: str) -> str:
        """Return the cell that is all of a caller's row, if it refuses them whatever it is about."""
        cells = set(self.rows[caller].values())
        return cells.pop() if len(cells) == 1 and cells <= {FORBIDDEN, UNAUTHENTICATED} else ""


def outcome(status: int) -> str:
    """Return the cell that a status belongs in; the status itself, if it belongs in none."""
    if 200 <= status < 400:
        return ALLOWED
    return next((cell for cell, refusal in _STATUS.items() if refusal == status), str(status))


Cell = Callable[[str, str], str]


def _grid(text: str, cell: Cell, *rights: Right, why: str = "") -> Grid:
    """Return a table of keys' rows as they are written, and of people's as they follow from the rights."""
    first, *lines = text.strip().splitlines()
    places = first.split()
    rows = {name: dict(zip(places, cells, strict=True)) for name, *cells in map(str.split, lines)}
    return Grid(
        rows_of(places, cell) | {"nobody": dict.fromkeys(places, UNAUTHENTICATED)} | rows, frozenset(rights), why
    )


def _pages(places: str, cell: Cell, *rights: Right, why: str = "") -> Grid:
    """Return a table of people alone; who is not signed in is sent there."""
    asked = dict.fromkeys(places.split(), SIGN_IN)
    return Grid(rows_of(places.split(), cell) | {"nobody": asked}, frozenset(rights), why)


def _cell(is_allowed: bool, is_seen: bool, *, unseen: str = UNKNOWN) -> str:
    if is_allowed:
        return ALLOWED
    return FORBIDDEN if is_seen else unseen


# What follows from the rights, for people

SEE_KEY = {"org": Right.ORGANIZATION_SEE, "team": Right.TEAM_KEYS_SEE, "project": Right.PROJECT_KEYS_SEE}
MANAGE_KEY = {
    "org": Right.ORGANIZATION_KEYS_MANAGE,
    "team": Right.TEAM_KEYS_MANAGE,
    "project": Right.TEAM_KEYS_MANAGE,
}
ISSUE_KEY = MANAGE_KEY | {"project": Right.PROJECT_KEYS_ISSUE}


def _kind(place: str) -> str:
    """Return the scope of the keys of a place."""
    return {"org": "org", "team": "team", "alices": "team", "other": "team"}.get(place, "project")


def _sees_key(name: str, place: str) -> bool:
    return may(name, SEE_KEY[_kind(place)], place)


def _manages_key(name: str, place: str) -> bool:
    is_own_here = is_own(name, place) and place != "org" and may(name, Right.PROJECT_KEYS_ISSUE, place)
    return is_own_here or may(name, MANAGE_KEY[_kind(place)], place)


def _see_keys(name: str, place: str) -> str:
    return _cell(_sees_key(name, place), is_seen=False)


def _manage_keys(name: str, place: str) -> str:
    return _cell(_manages_key(name, place), _sees_key(name, place))


def _rotate_keys(name: str, place: str) -> str:
    return _cell(_manages_key(name, place) and not is_below_the_issuer(name, place), _sees_key(name, place))


def _issue_keys(name: str, place: str) -> str:
    if place == "org":
        return _cell(here(name, ISSUE_KEY["org"]), is_seen=True)
    return _cell(may(name, ISSUE_KEY[_kind(place)], place), may(name, Right.TEAM_SEE, place))


def _see_events(name: str, place: str) -> str:
    right = Right.AUDIT_SEE if place == "org" else Right.TEAM_AUDIT_SEE
    # What one did oneself, one sees.
    return _cell(may(name, right, place) or is_own(name, place), is_seen=False)


def _in_team(right: Right, *, see: Right = Right.TEAM_SEE) -> Cell:
    return lambda name, place: _cell(may(name, right, place), may(name, see, place))


def _in_own(right: Right) -> Cell:
    """What is about the caller's own organization, whichever that is."""
    return lambda name, _place: _cell(here(name, right), is_seen=True)


def _of_organization(right: Right) -> Cell:
    """What is about something of an organization: who has the right there is told of nothing elsewhere."""
    return lambda name, place: _cell(here(name, right) and is_here(name, place), not here(name, right))


def _in_form(right_of: Callable[[str], Right], *rights: Right) -> Cell:
    """What a form does not offer cannot be chosen in it; who could choose nothing gets no form."""

    def cell(name: str, place: str) -> str:
        if not any(may_anywhere(name, right) for right in rights):
            return FORBIDDEN
        return _cell(may(name, right_of(place), place), is_seen=False, unseen=INVALID)

    return cell


def _everyone(_name: str, _place: str) -> str:
    return ALLOWED


def _no_person(_name: str, _place: str) -> str:
    return FORBIDDEN


# The API: keys


SEE_KEYS = _grid(
    """
                     org team alices project danas other others elsewhere
alice:org             +   +     +       +      +     +     +       0
alice:org@project     0   0     0       +      +     0     0       0
alice:team            0   +     +       +      +     0     0       0
alice:project         0   0     0       +      +     0     0       0
bob:team              0   +     +       +      +     0     0       0
bob:project           0   0     0       +      +     0     0       0
dana:project          0   0     0       +      +     0     0       0
charlie:org           0   0     0       0      0     0     0       +
account:team          0   +     +       +      +     0     0       0
account:project       0   0     0       +      +     0     0       0
alice:org:reading     +   +     +       +      +     +     +       0
bob:team:reading      0   +     +       +      +     0     0       0
dana:project:reading  0   0     0       +      +     0     0       0
alice:org:without     -   -     -       -      -     -     -       -
dana:publishable      -   -     -       -      -     -     -       -
alice:org:test        +   +     +       +      +     +     +       0
hugo:demoted          -   -     -       -      -     -     -       -
jill:demoted          0   0     0       +      +     0     0       0
frank:left            !   !     !       !      !     !     !       !
""",
    _see_keys,
    *SEE_KEY.values(),
)

MANAGE_KEYS = _grid(
    """
                     org team alices project danas other others elsewhere
alice:org             +   +     +       +      +     +     +       0
alice:org@project     0   0     0       +      +     0     0       0
alice:team            0   +     +       +      +     0     0       0
alice:project         0   0     0       +      +     0     0       0
bob:team              0   +     +       +      +     0     0       0
bob:project           0   0     0       +      +     0     0       0
dana:project          -   -     -       -      -     -     -       -
charlie:org           0   0     0       0      0     0     0       +
account:team          0   +     +       +      +     0     0       0
account:project       -   -     -       -      -     -     -       -
alice:org:reading     -   -     -       -      -     -     -       -
bob:team:reading      -   -     -       -      -     -     -       -
dana:project:reading  -   -     -       -      -     -     -       -
alice:org:without     -   -     -       -      -     -     -       -
dana:publishable      -   -     -       -      -     -     -       -
alice:org:test        +   +     +       +      +     +     +       0
hugo:demoted          -   -     -       -      -     -     -       -
jill:demoted          -   -     -       -      -     -     -       -
frank:left            !   !     !       !      !     !     !       !
""",
    _manage_keys,
    *MANAGE_KEY.values(),
    Right.PROJECT_KEYS_ISSUE,
)

# Nobody gets hold of more by a rotation than they could grant: bob's role is below that of alice's key.
ROTATE_KEYS = _grid(
    """
                     org team alices project danas other others elsewhere
alice:org             +   +     +       +      +     +     +       0
alice:org@project     0   0     0       +      +     0     0       0
alice:team            0   +     +       +      +     0     0       0
alice:project         0   0     0       +      +     0     0       0
bob:team              0   +     -       +      +     0     0       0
bob:project           0   0     0       +      +     0     0       0
dana:project          -   -     -       -      -     -     -       -
charlie:org           0   0     0       0      0     0     0       +
account:team          0   +     -       +      +     0     0       0
account:project       -   -     -       -      -     -     -       -
alice:org:reading     -   -     -       -      -     -     -       -
bob:team:reading      -   -     -       -      -     -     -       -
dana:project:reading  -   -     -       -      -     -     -       -
alice:org:without     -   -     -       -      -     -     -       -
dana:publishable      -   -     -       -      -     -     -       -
alice:org:test        -   -     -       -      -     -     -       0
hugo:demoted          -   -     -       -      -     -     -       -
jill:demoted          -   -     -       -      -     -     -       -
frank:left            !   !     !       !      !     !     !       !
""",
    _rotate_keys,
    *MANAGE_KEY.values(),
    Right.PROJECT_KEYS_ISSUE,
)

# To an account of the place's team. One key sees no accounts, as it is of one project; another acts for an account,
# and hands nothing on to any other.
HAND_OVER_KEYS = _grid(
    """
                     team alices project danas other others elsewhere
alice:org             +     +       +      +     +     +       0
alice:org@project     0     0       ?      ?     0     0       0
alice:team            +     +       +      +     0     0       0
alice:project         0     0       ?      ?     0     0       0
bob:team              +     +       +      +     0     0       0
bob:project           0     0       ?      ?     0     0       0
dana:project          -     -       -      -     -     -       -
charlie:org           0     0       0      0     0     0       +
account:team          -     -       -      -     0     0       0
account:project       -     -       -      -     -     -       -
alice:org:reading     -     -       -      -     -     -       -
bob:team:reading      -     -       -      -     -     -       -
dana:project:reading  -     -       -      -     -     -       -
alice:org:without     -     -       -      -     -     -       -
dana:publishable      -     -       -      -     -     -       -
alice:org:test        -     -       -      -     -     -       0
hugo:demoted          -     -       -      -     -     -       -
jill:demoted          -     -       -      -     -     -       -
frank:left            !     !       !      !     !     !       !
""",
    _manage_keys,
    Right.TEAM_KEYS_MANAGE,
    Right.PROJECT_KEYS_ISSUE,
)

# The organization is always the caller's own.
ISSUE_KEYS = _grid(
    """
                     org team project other others elsewhere
alice:org             +   +      +      +     +       0
alice:org@project     -   -      +      0     0       0
alice:team            -   +      +      0     0       0
alice:project         -   -      +      0     0       0
bob:team              -   +      +      0     0       0
bob:project           -   -      +      0     0       0
dana:project          -   -      -      -     -       -
charlie:org           +   0      0      0     0       +
account:team          -   +      +      0     0       0
account:project       -   -      -      -     -       -
alice:org:reading     -   -      -      -     -       -
bob:team:reading      -   -      -      -     -       -
dana:project:reading  -   -      -      -     -       -
alice:org:without     -   -      -      -     -       -
dana:publishable      -   -      -      -     -       -
alice:org:test        -   -      -      -     -       0
hugo:demoted          -   -      -      -     -       -
jill:demoted          -   -      -      -     -       -
frank:left            !   !      !      !     !       !
""",
    _issue_keys,
    *ISSUE_KEY.values(),
)

# The API: what is not in any place but is the caller's own, or the organization's

ANYONE = _grid(
    """
                     here
alice:org             +
alice:org@project     +
alice:team            +
alice:project         +
bob:team              +
bob:project           +
dana:project          +
charlie:org           +
account:team          +
account:project       +
alice:org:reading     +
bob:team:reading      +
dana:project:reading  +
alice:org:without     +
dana:publishable      +
alice:org:test        +
hugo:demoted          +
jill:demoted          +
frank:left            +
""",
    _everyone,
    why="It says nothing about anyone.",
)

# Whoever calls without a credential is told it too.
ANYONE = Grid(ANYONE.rows | {"nobody": {"here": ALLOWED}}, why=ANYONE.why)
WHOEVER_IS_KNOWN = Grid(
    ANYONE.rows | {"nobody": {"here": UNAUTHENTICATED}, "frank:left": {"here": UNAUTHENTICATED}},
    why="It tells callers who they are, and which permissions there are.",
)

# A person is not a key, and a key that only reads rotates nothing.
ROTATE_ITSELF = _grid(
    """
                     here
alice:org             +
alice:org@project     +
alice:team            +
alice:project         +
bob:team              +
bob:project           +
dana:project          +
charlie:org           +
account:team          +
account:project       +
alice:org:reading     -
bob:team:reading      -
dana:project:reading  -
alice:org:without     -
dana:publishable      -
alice:org:test        +
hugo:demoted          -
jill:demoted          -
frank:left            !
""",
    _no_person,
    why="A person is not a key, and it is about the calling key alone.",
)

SEE_ORGANIZATION = _grid(
    """
                     here
alice:org             +
alice:org@project     -
alice:team            -
alice:project         -
bob:team              -
bob:project           -
dana:project          -
charlie:org           +
account:team          -
account:project       -
alice:org:reading     +
bob:team:reading      -
dana:project:reading  -
alice:org:without     -
dana:publishable      -
alice:org:test        +
hugo:demoted          -
jill:demoted          -
frank:left            !
""",
    _in_own(Right.ORGANIZATION_SEE),
    Right.ORGANIZATION_SEE,
)


def _like(grid: Grid, cell: Cell, *rights: Right, **others: dict[str, str]) -> Grid:
    """Return a table with the same rows of keys, except some, and other ones of people."""
    return Grid(grid.rows | rows_of(grid.places, cell) | others, frozenset(rights))


PREVIEW_POLICY = _like(SEE_ORGANIZATION, _in_own(Right.POLICIES_CHANGE), Right.POLICIES_CHANGE)
_READING = {"alice:org:reading": {"here": FORBIDDEN}}
CHANGE_POLICY = _like(SEE_ORGANIZATION, _in_own(Right.POLICIES_CHANGE), Right.POLICIES_CHANGE, **_READING)
CHANGE_CATALOGUE = _like(SEE_ORGANIZATION, _in_own(Right.PERMISSIONS_CHANGE), Right.PERMISSIONS_CHANGE, **_READING)

# A permission that was added belongs to one organization.
_PERMISSIONS = {
    caller: {"here": row["here"], "elsewhere": {ALLOWED: UNKNOWN}.get(row["here"], row["here"])}
    if not caller.startswith("charlie")
    else {"here": UNKNOWN, "elsewhere": ALLOWED}
    for caller, row in CHANGE_CATALOGUE.rows.items()
}
CHANGE_PERMISSIONS = _like(Grid(_PERMISSIONS), _of_organization(Right.PERMISSIONS_CHANGE), Right.PERMISSIONS_CHANGE)

# The API: projects and service accounts

SEE_PROJECTS = _grid(
    """
                     project second others elsewhere
alice:org               +      +      +       0
alice:org@project       +      0      0       0
alice:team              +      +      0       0
alice:project           +      0      0       0
bob:team                +      +      0       0
bob:project             +      0      0       0
dana:project            +      0      0       0
charlie:org             0      0      0       +
account:team            +      +      0       0
account:project         +      0      0       0
alice:org:reading       +      +      +       0
bob:team:reading        +      +      0       0
dana:project:reading    +      0      0       0
alice:org:without       -      -      -       -
dana:publishable        -      -      -       -
alice:org:test          +      +      +       0
hugo:demoted            -      -      -       -
jill:demoted            +      +      0       0
frank:left              !      !      !       !
""",
    _in_team(Right.TEAM_SEE),
    Right.TEAM_SEE,
)

SEE_ACCOUNTS = _grid(
    """
                     team other elsewhere
alice:org              +    +       0
alice:org@project      0    0       0
alice:team             +    0       0
alice:project          0    0       0
bob:team               +    0       0
bob:project            0    0       0
dana:project           0    0       0
charlie:org            0    0       +
account:team           +    0       0
account:project        0    0       0
alice:org:reading      +    +       0
bob:team:reading       +    0       0
dana:project:reading   0    0       0
alice:org:without      -    -       -
dana:publishable       -    -       -
alice:org:test         +    +       0
hugo:demoted           -    -       -
jill:demoted           +    0       0
frank:left             !    !       !
""",
    _in_team(Right.TEAM_SEE),
    Right.TEAM_SEE,
)

MANAGE_ACCOUNTS = _grid(
    """
                     team other elsewhere
alice:org              +    +       0
alice:org@project      0    0       0
alice:team             +    0       0
alice:project          0    0       0
bob:team               +    0       0
bob:project            0    0       0
dana:project           -    -       -
charlie:org            0    0       +
account:team           +    0       0
account:project        -    -       -
alice:org:reading      -    -       -
bob:team:reading       -    -       -
dana:project:reading   -    -       -
alice:org:without      -    -       -
dana:publishable       -    -       -
alice:org:test         +    +       0
hugo:demoted           -    -       -
jill:demoted           -    -       -
frank:left             !    !       !
""",
    _in_team(Right.SERVICE_ACCOUNTS_MANAGE),
    Right.SERVICE_ACCOUNTS_MANAGE,
)

# A key of one project sees its team, and makes nothing in it.
CREATE_ACCOUNTS = Grid(
    MANAGE_ACCOUNTS.rows
    | {
        caller: MANAGE_ACCOUNTS.rows[caller] | {"team": FORBIDDEN}
        for caller in ("alice:org@project", "alice:project", "bob:project")
    },
    MANAGE_ACCOUNTS.rights,
)

# Whose rows of the log are seen: a key's are in the place of the key, and so are those of what was done to it.
SEE_EVENTS = _grid(
    """
                     org team alices project danas other others elsewhere
alice:org             +   +     +       +      +     +     +       0
alice:org@project     0   0     0       +      +     0     0       0
alice:team            0   +     +       +      +     0     0       0
alice:project         0   0     0       +      +     0     0       0
bob:team              0   +     +       +      +     0     0       0
bob:project           0   0     0       +      +     0     0       0
dana:project          -   -     -       -      -     -     -       -
charlie:org           0   0     0       0      0     0     0       +
account:team          0   +     +       +      +     0     0       0
account:project       -   -     -       -      -     -     -       -
alice:org:reading     +   +     +       +      +     +     +       0
bob:team:reading      0   +     +       +      +     0     0       0
dana:project:reading  -   -     -       -      -     -     -       -
alice:org:without     -   -     -       -      -     -     -       -
dana:publishable      -   -     -       -      -     -     -       -
alice:org:test        +   +     +       +      +     +     +       0
hugo:demoted          -   -     -       -      -     -     -       -
jill:demoted          -   -     -       -      -     -     -       -
frank:left            !   !     !       !      !     !     !       !
""",
    _see_events,
    Right.AUDIT_SEE,
    Right.TEAM_AUDIT_SEE,
)


# Pages, which only people look at

PEOPLE = (*NAMES, "nobody")


def _of_people(grid: Grid) -> Grid:
    """Return the same of people alone; who is not signed in is sent there."""
    rows = {name: grid.rows[name] for name in NAMES}
    return Grid(rows | {"nobody": dict.fromkeys(grid.places, SIGN_IN)}, grid.rights, grid.why)


def people_in_their_own(right: Right) -> Grid:
    """Return who may use a page about their own organization."""
    return _pages("here", _in_own(right), right)


def people_in_a_team(right: Right, places: str) -> Grid:
    """Return who may use a page about something of a team."""
    return _pages(places, _in_team(right), right)


PEOPLE_SEE_KEYS = _of_people(SEE_KEYS)
PEOPLE_SEE_PROJECTS = _of_people(SEE_PROJECTS)
# A team and its service accounts are seen by the same people.
PEOPLE_SEE_ACCOUNTS = _of_people(SEE_ACCOUNTS)
PEOPLE_MANAGE_KEYS = _of_people(MANAGE_KEYS)
PEOPLE_ROTATE_KEYS = _of_people(ROTATE_KEYS)
PEOPLE_MANAGE_ACCOUNTS = _of_people(MANAGE_ACCOUNTS)
PEOPLE_CHANGE_PERMISSIONS = _of_people(CHANGE_PERMISSIONS)

ISSUE_IN_FORM = _pages(
    "team project other others elsewhere",
    _in_form(lambda place: ISSUE_KEY[_kind(place)], Right.TEAM_KEYS_MANAGE, Right.PROJECT_KEYS_ISSUE),
    Right.TEAM_KEYS_MANAGE,
    Right.PROJECT_KEYS_ISSUE,
)
ISSUE_PUBLISHABLE = _pages(
    "project others elsewhere",
    _in_form(lambda _: Right.PROJECT_KEYS_ISSUE, Right.TEAM_KEYS_MANAGE, Right.PROJECT_KEYS_ISSUE),
    Right.PROJECT_KEYS_ISSUE,
)
CREATE_PROJECTS = _pages(
    "team other elsewhere",
    _in_form(lambda _: Right.PROJECTS_MANAGE, Right.PROJECTS_MANAGE),
    Right.PROJECTS_MANAGE,
)
CHANGE_PROJECTS = people_in_a_team(Right.PROJECTS_MANAGE, "project second others elsewhere")
# Where to is asked of whoever gets that far: tests/apikeys tries who may move a project whither.
MOVE_PROJECTS = _pages(
    "project second others elsewhere",
    lambda name, place: _in_team(Right.PROJECTS_MANAGE)(name, place).replace(ALLOWED, INVALID),
    Right.PROJECTS_MANAGE,
)
RENAME_TEAMS = people_in_a_team(Right.TEAM_CHANGE, "team other elsewhere")
ARCHIVE_TEAMS = people_in_a_team(Right.TEAMS_ARCHIVE, "team other elsewhere")
# Of a team: dana's, grace's of another one, and charlie's elsewhere; and invitations to it.
CHANGE_TEAM_MEMBERS = people_in_a_team(Right.MEMBERS_MANAGE, "team other elsewhere")


def _change_members(name: str, place: str) -> str:
    # The last super admin stays one.
    return INVALID if (name, place) == ("charlie", "elsewhere") else _of_organization(Right.PEOPLE_MANAGE)(name, place)


# Of the organization: the same people.
CHANGE_MEMBERS = _pages("team other elsewhere", _change_members, Right.PEOPLE_MANAGE)

# What those people issued; who sees the keys of no team is told of nobody.
SEE_LEFT_KEYS = _pages(
    "team other elsewhere", _in_team(Right.TEAM_KEYS_SEE, see=Right.TEAM_KEYS_SEE), Right.TEAM_KEYS_SEE
)
DECIDE_ON_KEYS = _pages(
    "team other elsewhere", _in_team(Right.TEAM_KEYS_MANAGE, see=Right.TEAM_KEYS_SEE), Right.TEAM_KEYS_MANAGE
)
