"""Who may do what where, as tables: product.md's T1-T5, S1-S5, T16, T20 and T21, spelled out.

A row is who calls. `alice` is a super admin, `bob` an admin of the team, `dana` a developer of it, `erin` a member
without a team, `charlie` the super admin of another organization; `nobody` sends no credential. `bob:team` is a key
of bob's for the team that holds all that bob can grant. The last five are a key that only reads, and keys that lack
the permission; a key of another environment; and those whose issuer is less than they were: `frank` has left.

A column is where that is to which it is done. `alices` is of the team as `team` is, but alice issued it and bob the
other; likewise `danas` and `project`. `other` is another team of the organization, and `others` that one's project.

A cell is what is answered: `+` it is done, `-` 403, `0` 404 as if there were no such thing, `?` the same of what else
is named, `!` 401. Pages also answer `x`, the form with what is wrong in it, and `>`, the way to the sign-in.
"""

from dataclasses import dataclass

ALLOWED, FORBIDDEN, UNKNOWN, OTHER_UNKNOWN, UNAUTHENTICATED, INVALID, SIGN_IN = "+", "-", "0", "?", "!", "x", ">"
_STATUS = {FORBIDDEN: 403, UNKNOWN: 404, UNAUTHENTICATED: 401, INVALID: 422}


@dataclass(frozen=True)
class Grid:
    """One table; `rows[caller][place]` is a cell."""

    rows: dict[str, dict[str, str]]

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


def _grid(text: str) -> Grid:
    head, *lines = text.strip().splitlines()
    places = head.split()
    rows = {name: dict(zip(places, cells, strict=True)) for name, *cells in map(str.split, lines)}
    return Grid(rows)


# The API: keys


SEE_KEYS = _grid("""
                     org team alices project danas other others elsewhere
alice                 +   +     +       +      +     +     +       0
bob                   0   +     +       +      +     0     0       0
dana                  0   0     0       +      +     0     0       0
erin                  0   0     0       0      0     0     0       0
charlie               0   0     0       0      0     0     0       +
nobody                !   !     !       !      !     !     !       !
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
""")

MANAGE_KEYS = _grid("""
                     org team alices project danas other others elsewhere
alice                 +   +     +       +      +     +     +       0
bob                   0   +     +       +      +     0     0       0
dana                  0   0     0       -      +     0     0       0
erin                  0   0     0       0      0     0     0       0
charlie               0   0     0       0      0     0     0       +
nobody                !   !     !       !      !     !     !       !
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
""")

# Nobody gets hold of more by a rotation than they could grant: bob's role is below that of alice's key.
ROTATE_KEYS = _grid("""
                     org team alices project danas other others elsewhere
alice                 +   +     +       +      +     +     +       0
bob                   0   +     -       +      +     0     0       0
dana                  0   0     0       -      +     0     0       0
erin                  0   0     0       0      0     0     0       0
charlie               0   0     0       0      0     0     0       +
nobody                !   !     !       !      !     !     !       !
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
""")

# To an account of the place's team. One key sees no accounts, as it is of one project; another acts for an account,
# and hands nothing on to any other.
HAND_OVER_KEYS = _grid("""
                     team alices project danas other others elsewhere
alice                 +     +       +      +     +     +       0
bob                   +     +       +      +     0     0       0
dana                  0     0       -      +     0     0       0
erin                  0     0       0      0     0     0       0
charlie               0     0       0      0     0     0       +
nobody                !     !       !      !     !     !       !
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
""")

# The organization is always the caller's own.
ISSUE_KEYS = _grid("""
                     org team project other others elsewhere
alice                 +   +      +      +     +       0
bob                   -   +      +      0     0       0
dana                  -   -      +      0     0       0
erin                  -   0      0      0     0       0
charlie               +   0      0      0     0       +
nobody                !   !      !      !     !       !
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
""")

# The API: what is not in any place but is the caller's own, or the organization's

ANYONE = _grid("""
                     here
alice                 +
bob                   +
dana                  +
erin                  +
charlie               +
nobody                +
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
""")

WHOEVER_IS_KNOWN = Grid(ANYONE.rows | {"nobody": {"here": UNAUTHENTICATED}, "frank:left": {"here": UNAUTHENTICATED}})

# A person is not a key, and a key that only reads rotates nothing.
ROTATE_ITSELF = _grid("""
                     here
alice                 -
bob                   -
dana                  -
erin                  -
charlie               -
nobody                !
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
""")

SEE_ORGANIZATION = _grid("""
                     here
alice                 +
bob                   -
dana                  -
erin                  -
charlie               +
nobody                !
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
""")

CHANGE_ORGANIZATION = Grid(SEE_ORGANIZATION.rows | {"alice:org:reading": {"here": FORBIDDEN}})

# A permission that was added belongs to one organization.
CHANGE_PERMISSIONS = Grid(
    {
        caller: {"here": row["here"], "elsewhere": {ALLOWED: UNKNOWN}.get(row["here"], row["here"])}
        if not caller.startswith("charlie")
        else {"here": UNKNOWN, "elsewhere": ALLOWED}
        for caller, row in CHANGE_ORGANIZATION.rows.items()
    }
)

# The API: projects and service accounts

SEE_PROJECTS = _grid("""
                     project second others elsewhere
alice                   +      +      +       0
bob                     +      +      0       0
dana                    +      +      0       0
erin                    0      0      0       0
charlie                 0      0      0       +
nobody                  !      !      !       !
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
""")

SEE_ACCOUNTS = _grid("""
                     team other elsewhere
alice                  +    +       0
bob                    +    0       0
dana                   +    0       0
erin                   0    0       0
charlie                0    0       +
nobody                 !    !       !
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
""")

MANAGE_ACCOUNTS = _grid("""
                     team other elsewhere
alice                  +    +       0
bob                    +    0       0
dana                   -    0       0
erin                   0    0       0
charlie                0    0       +
nobody                 !    !       !
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
""")

# A key of one project sees its team, and makes nothing in it.
CREATE_ACCOUNTS = Grid(
    MANAGE_ACCOUNTS.rows
    | {
        caller: MANAGE_ACCOUNTS.rows[caller] | {"team": FORBIDDEN}
        for caller in ("alice:org@project", "alice:project", "bob:project")
    }
)

# Whose rows of the log are seen: a key's are in the place of the key, and so are those of what was done to it.
SEE_EVENTS = _grid("""
                     org team alices project danas other others elsewhere
alice                 +   +     +       +      +     +     +       0
bob                   0   +     +       +      +     0     0       0
dana                  0   0     0       0      +     0     0       0
erin                  0   0     0       0      0     0     0       0
charlie               0   0     0       0      0     0     0       +
nobody                !   !     !       !      !     !     !       !
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
""")


# Pages, which only people look at

PEOPLE = ("alice", "bob", "dana", "erin", "charlie", "nobody")


def _of_people(grid: Grid) -> Grid:
    """Return the same of people alone; who is not signed in is sent there."""
    rows = {name: grid.rows[name] for name in PEOPLE}
    return Grid(rows | {"nobody": dict.fromkeys(grid.places, SIGN_IN)})


PEOPLE_SEE_KEYS = _of_people(SEE_KEYS)
PEOPLE_SEE_PROJECTS = _of_people(SEE_PROJECTS)
# A team and its service accounts are seen by the same people.
PEOPLE_SEE_ACCOUNTS = _of_people(SEE_ACCOUNTS)
PEOPLE_MANAGE_KEYS = _of_people(MANAGE_KEYS)
PEOPLE_ROTATE_KEYS = _of_people(ROTATE_KEYS)
PEOPLE_MANAGE_ACCOUNTS = _of_people(MANAGE_ACCOUNTS)
PEOPLE_CHANGE_ORGANIZATION = _of_people(CHANGE_ORGANIZATION)
PEOPLE_CHANGE_PERMISSIONS = _of_people(CHANGE_PERMISSIONS)

# What a form does not offer cannot be chosen in it.
ISSUE_IN_FORM = _grid("""
         team project other others elsewhere
alice     +      +      +     +       x
bob       +      +      x     x       x
dana      x      +      x     x       x
erin      -      -      -     -       -
charlie   x      x      x     x       +
nobody    >      >      >     >       >
""")

ISSUE_PUBLISHABLE = _grid("""
         project others elsewhere
alice       +      +       x
bob         +      x       x
dana        +      x       x
erin        -      -       -
charlie     x      x       +
nobody      >      >       >
""")

CREATE_PROJECTS = _grid("""
         team other elsewhere
alice     +     +       x
bob       +     x       x
dana      -     -       -
erin      -     -       -
charlie   x     x       +
nobody    >     >       >
""")

CHANGE_PROJECTS = _grid("""
         project second others elsewhere
alice       +      +      +       0
bob         +      +      0       0
dana        -      -      0       0
erin        0      0      0       0
charlie     0      0      0       +
nobody      >      >      >       >
""")

# Of a team: dana's, grace's of another one, and charlie's elsewhere.
CHANGE_TEAM_MEMBERS = _grid("""
         team other elsewhere
alice     +     +       0
bob       +     0       0
dana      -     0       0
erin      0     0       0
charlie   0     0       +
nobody    >     >       >
""")

# Of the organization: the same people.
CHANGE_MEMBERS = _grid("""
         team other elsewhere
alice     +     +       0
bob       -     -       -
dana      -     -       -
erin      -     -       -
charlie   0     0       x
nobody    >     >       >
""")

# What those people issued; who administers nothing is told of nobody.
DECIDE_ON_KEYS = _grid("""
         team other elsewhere
alice     +     +       0
bob       +     0       0
dana      0     0       0
erin      0     0       0
charlie   0     0       +
nobody    >     >       >
""")
