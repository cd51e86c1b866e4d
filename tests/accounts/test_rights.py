"""The table of rights: what it says is what the documentation says, and nobody decides but it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts import rights
from accounts.models import Team
from accounts.principals import Principal
from accounts.rights import RULES, Right, holds, reach
from accounts.roles import Role
from apikeys.actions.authority import RIGHT_TO_ISSUE
from apikeys.permissions import Role as KeyRole
from apikeys.permissions import may_issue_scope
from tests.cast import Person

ROOT = Path(__file__).parents[2]
APPS = ("accounts", "apikeys", "audit", "keyportal")
# Whatever tells what someone is: to decide by it is to know a rule that the table does not.
TELLING = {"is_super_admin", "is_auditor", "organization_role", "role_in", "team_roles"}
ROLES = {"SUPER_ADMIN", "AUDITOR", "TEAM_ADMIN", "DEVELOPER", "MEMBER"}
DECIDING = ("accounts/rights.py", "accounts/principals.py", "accounts/roles.py", "accounts/models/")
# Who reads what someone is and decides nothing of who may do what by it.
OTHERWISE = {
    "accounts/actions/membership.py": "whether a super admin is the last one, and what an auditor gives up",
    "accounts/actions/people.py": "that an invitation takes nothing away, and an auditor is in no team",
    "accounts/actions/closing.py": "whether a super admin who leaves is the last one",
    "accounts/actions/inviting.py": "that an auditor is in no team",
    "accounts/keeping_out.py": "whom a rule about second factors would keep out",
    "accounts/security.py": "the same: its admins are a choice of the policy",
    "accounts/actions/joining.py": "what a provider's groups make of someone, who is no auditor",
    "accounts/people.py": "what the page of people calls someone",
    "accounts/views/teams.py": "what the list of teams calls its reader",
    "apikeys/actions/authority.py": "what a role may grant to a key, which permissions have a table of their own for",
    "apikeys/forms/issuing.py": "the same, for the form",
    "apikeys/leaving.py": "what a change of role would cost keys",
    "apikeys/models/queries.py": "which keys are refused since nobody stands behind them",
    "apikeys/permissions.py": "what a role may grant to a key",
    "apikeys/policing.py": "what an organization's policy asks of a role beyond the right",
    "apikeys/presented.py": "who a key acts for",
    "apikeys/rules.py": "whether anybody stands behind a key",
    "apikeys/schemas.py": "what a key is told of itself",
    "apikeys/views/membership.py": "what someone becomes, and whether that is less",
}


def deciders() -> Iterator[tuple[str, int]]:
    """Yield where a program asks what someone is."""
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name.startswith(DECIDING) or "/migrations/" in name or "/demo" in name or "/management/" in name:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in TELLING:
                    yield name, node.lineno
                if isinstance(node, ast.Compare) and any(map(_is_a_role, [node.left, *node.comparators])):
                    yield name, node.lineno
                if isinstance(node, ast.Call) and _selects_by_role(node):
                    yield name, node.lineno


def _selects_by_role(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return called in {"filter", "exclude"} and any(keyword.arg == "role" for keyword in node.keywords)


def _is_a_role(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in ROLES
    return isinstance(node, ast.Constant) and node.value in {role.value for role in Role} - {"member"}


def test_nobody_but_the_table_decides_by_a_role() -> None:
    assert [f"{name}:{line}" for name, line in deciders() if name not in OTHERWISE] == []


def test_every_exception_is_still_one() -> None:
    assert {name for name, _ in deciders()} == OTHERWISE.keys()


@pytest.mark.parametrize("template", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_template_decides_by_a_role(template: Path) -> None:
    text = template.read_text()
    assert not [word for word in ("is_super_admin", "is_auditor", "role_in", "team_roles") if word in text]


def test_documentation_has_the_table() -> None:
    assert rights.as_table() in (ROOT / "docs/roles.md").read_text()


def test_every_right_has_a_rule_and_a_sentence() -> None:
    assert list(RULES) == list(Right)
    assert all(rule.sentence.endswith(".") for rule in RULES.values())
    assert len({rule.sentence for rule in RULES.values()}) == len(RULES)


def test_a_role_in_a_team_has_no_right_over_the_organization() -> None:
    of_organization = [rule for rule in RULES.values() if not rule.is_of_team]
    assert all(rule.roles <= {Role.SUPER_ADMIN, Role.AUDITOR} for rule in of_organization)


def test_an_auditor_has_the_rights_that_read_and_no_others() -> None:
    held = {right for right, rule in RULES.items() if Role.AUDITOR in rule.roles}
    assert held == {right for right in Right if right.endswith(".see")}


def test_a_super_admin_has_every_right_and_a_member_none() -> None:
    assert all(Role.SUPER_ADMIN in rule.roles and Role.MEMBER not in rule.roles for rule in RULES.values())


@pytest.mark.parametrize("scope", RIGHT_TO_ISSUE)
def test_the_least_role_that_issues_keys_of_a_scope_is_that_of_the_right(scope: str) -> None:
    roles = {Role(role) for role in KeyRole if may_issue_scope(scope, role)}
    assert roles == set(RULES[RIGHT_TO_ISSUE[scope]].roles)


def test_right_in_a_team_is_of_that_team_alone(bob: Person, team: Team, other_team: Team) -> None:
    assert holds(bob.principal, Right.MEMBERS_MANAGE, team.pk)
    assert not holds(bob.principal, Right.MEMBERS_MANAGE, other_team.pk)
    assert not holds(bob.principal, Right.MEMBERS_MANAGE)
    assert reach(bob.principal, Right.MEMBERS_MANAGE).team_ids == {team.pk}


def test_key_of_a_team_reaches_no_further_than_its_scope(alice: Person, team: Team, other_team: Team) -> None:
    whole = alice.principal
    key = Principal(
        user_id=whole.user_id,
        user_label=whole.user_label,
        organization_id=whole.organization_id,
        is_super_admin=True,
        team_roles={team.pk: Role.SUPER_ADMIN},
        key_id=team.pk,
        scope="team",
        team_id=team.pk,
    )
    assert reach(key, Right.TEAM_KEYS_MANAGE).team_ids == {team.pk}
    assert not reach(key, Right.TEAM_KEYS_MANAGE).is_everywhere
    assert not reach(key, Right.ORGANIZATION_SEE)
    # People are for people to manage, whatever the key may do.
    assert not reach(key, Right.MEMBERS_MANAGE)
