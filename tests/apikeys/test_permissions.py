import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.permissions import (
    ALL,
    BUILT_IN,
    PUBLISHABLE,
    Permission,
    Role,
    may_issue_scope,
)

pytestmark = pytest.mark.pure

DEVELOPER, TEAM_ADMIN, SUPER_ADMIN = Role
ROLES = (None, *Role)
FOR_TEAM_ADMINS = {"keys:write", "service_accounts:write", "audit:read", "deployments:write", "deployments:delete"}
names = st.sets(st.sampled_from([*BUILT_IN.by_name, ALL, "keys:rotate", "", "KEYS:READ", "keys:read "]))


def sentence(*permissions: str, **changes: str) -> str:
    place = {"scope": "team", "scope_title": "Payments", "environment": "live"}
    return BUILT_IN.describe(
        permissions=permissions, **{**place, "expires_phrase": "until 18 February 2027", **changes}
    )


def all_but(*missing: str) -> list[str]:
    return [name for name in BUILT_IN.by_name if name not in missing]


def test_catalogue_names_are_the_public_ones_in_order() -> None:
    assert list(BUILT_IN.by_name) == [
        "projects:read",
        "keys:read",
        "keys:write",
        "keys:rotate_self",
        "service_accounts:read",
        "service_accounts:write",
        "audit:read",
        "analysis:create",
        "analysis:read",
        "scan:trigger",
        "scan:read",
        "report:download",
        "deployments:read",
        "deployments:write",
        "deployments:delete",
        "operations:read",
        "org:read",
        "org:write",
        "webhook:receive",
    ]


@pytest.mark.parametrize("entry", BUILT_IN.entries, ids=lambda entry: entry.name)
def test_every_permission_says_what_it_means(entry: Permission) -> None:
    assert BUILT_IN.by_name[entry.name] is entry
    assert f"{entry.resource}:{entry.action}" == entry.name
    assert entry.sentence[0].isupper()
    assert entry.sentence.endswith(".")
    assert entry.sentence.count(".") == 1


def test_publishable_permissions_are_the_locked_set() -> None:
    assert set(PUBLISHABLE) == {"analysis:create", "analysis:read"}


def test_roles_are_ordered_by_power_and_not_by_name() -> None:
    assert DEVELOPER < TEAM_ADMIN < SUPER_ADMIN
    assert SUPER_ADMIN > TEAM_ADMIN > DEVELOPER
    assert sorted([SUPER_ADMIN, DEVELOPER, TEAM_ADMIN]) == list(Role)
    assert max(Role) is SUPER_ADMIN
    assert TEAM_ADMIN <= TEAM_ADMIN <= SUPER_ADMIN
    assert TEAM_ADMIN >= TEAM_ADMIN >= DEVELOPER
    assert not TEAM_ADMIN < TEAM_ADMIN
    assert not SUPER_ADMIN <= TEAM_ADMIN


def test_each_role_may_grant_what_the_one_below_may_and_more() -> None:
    assert BUILT_IN.grantable(None) == frozenset()
    assert BUILT_IN.grantable(DEVELOPER) == BUILT_IN.by_name.keys() - FOR_TEAM_ADMINS - {"org:read", "org:write"}
    assert BUILT_IN.grantable(TEAM_ADMIN) == BUILT_IN.by_name.keys() - {"org:read", "org:write"}
    assert BUILT_IN.grantable(SUPER_ADMIN) == BUILT_IN.by_name.keys()


@given(granted=names, role=st.sampled_from(ROLES))
def test_effective_is_never_more_than_the_role_or_the_grant(granted: set[str], role: Role | None) -> None:
    now = BUILT_IN.effective(granted, role)
    assert now <= BUILT_IN.grantable(role)
    assert ALL in granted or now == granted & BUILT_IN.grantable(role)


@given(granted=names)
def test_a_demotion_only_ever_takes_away(granted: set[str]) -> None:
    assert (
        BUILT_IN.effective(granted, None)
        <= BUILT_IN.effective(granted, DEVELOPER)
        <= BUILT_IN.effective(granted, TEAM_ADMIN)
        <= BUILT_IN.effective(granted, SUPER_ADMIN)
    )


@pytest.mark.parametrize("role", ROLES)
def test_star_means_whatever_the_role_allows(role: Role | None) -> None:
    assert (
        BUILT_IN.effective([ALL], role)
        == BUILT_IN.effective([ALL, "keys:read", "x:y"], role)
        == BUILT_IN.grantable(role)
    )


def test_not_grantable_names_what_the_role_may_not_give() -> None:
    granted = ["keys:read", "keys:write", "org:read", "x:y", ALL]
    assert BUILT_IN.not_grantable(granted, SUPER_ADMIN) == {"x:y"}
    assert BUILT_IN.not_grantable(granted, TEAM_ADMIN) == {"org:read", "x:y"}
    assert BUILT_IN.not_grantable(granted, DEVELOPER) == {"keys:write", "org:read", "x:y"}
    assert BUILT_IN.not_grantable(granted, None) == set(granted)
    assert BUILT_IN.not_grantable([], None) == set()


def test_unknown_names_are_told_in_order() -> None:
    assert BUILT_IN.unknown(["z:z", "keys:read", ALL, "a:a", "z:z"]) == ["a:a", "z:z"]


@pytest.mark.parametrize(
    ("scope", "issuers"),
    [
        ("org", {SUPER_ADMIN}),
        ("team", {SUPER_ADMIN, TEAM_ADMIN}),
        ("project", {SUPER_ADMIN, TEAM_ADMIN, DEVELOPER}),
        ("galaxy", set()),
        ("", set()),
    ],
)
def test_who_may_issue_which_scope(scope: str, issuers: set[Role]) -> None:
    assert {role for role in ROLES if may_issue_scope(scope, role)} == issuers


def test_by_resource_holds_the_whole_catalogue_in_order() -> None:
    groups = BUILT_IN.by_resource()
    assert [entry.name for group in groups for entry in group.permissions] == list(BUILT_IN.by_name)
    assert [(group.resource, group.title) for group in groups] == [
        ("projects", "Projects"),
        ("keys", "API keys"),
        ("service_accounts", "Service accounts"),
        ("audit", "Audit log"),
        ("analysis", "Analyses"),
        ("scan", "Scans"),
        ("report", "Reports"),
        ("deployments", "Deployments"),
        ("operations", "Operations"),
        ("org", "Organization"),
        ("webhook", "Webhooks"),
    ]


@pytest.mark.parametrize(
    ("permissions", "can", "cannot"),
    [
        (
            ["scan:trigger", "projects:read"],
            "read projects and trigger scans",
            "write, delete, manage keys or do anything else",
        ),
        (["webhook:receive"], "receive webhooks", "read, write, delete, manage keys or do anything else"),
        (
            ["analysis:create", "analysis:read"],
            "create and read analyses",
            "delete, manage keys or do anything else",
        ),
        (
            ["projects:read", "audit:read", "deployments:read", "scan:trigger", "scan:read"],
            "read projects, the audit log and deployments, and trigger and read scans",
            "write, delete, manage keys or do anything else",
        ),
        (["keys:write"], "manage API keys", "read, write, delete or do anything else"),
        (
            ["projects:read", "keys:write", "deployments:write", "deployments:delete"],
            "read projects, manage API keys, and write and delete deployments",
            "do anything else",
        ),
        (["projects:read", "x:y"], "read projects", "write, delete, manage keys or do anything else"),
        (all_but("keys:write"), "do almost everything", "manage API keys"),
        (
            all_but("keys:write", "deployments:write", "deployments:delete"),
            "do almost everything",
            "manage API keys, or write or delete deployments",
        ),
        (
            all_but("audit:read", "scan:trigger", "scan:read", "org:read"),
            (
                "read projects and operations, read and manage API keys and service accounts, "
                "create and read analyses, "
                "download reports, read, write and delete deployments, change the organization, receive webhooks, "
                "and rotate itself"
            ),
            "do anything else",
        ),
        (list(BUILT_IN.by_name), "do everything there is a permission for", "do more than its issuer's role allows"),
        ([ALL], "do everything its issuer's role allows", "do more than its issuer may at that moment"),
        (
            [ALL, "keys:read"],
            "do everything its issuer's role allows",
            "do more than its issuer may at that moment",
        ),
    ],
)
def test_describe_says_what_a_key_can_and_cannot_do(permissions: list[str], can: str, cannot: str) -> None:
    assert sentence(*permissions) == (f"Can {can} in team Payments (live) until 18 February 2027. Cannot {cannot}.")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"scope": "org", "scope_title": "Acme"}, "in organization Acme (live) until 18 February 2027"),
        (
            {"scope": "project", "scope_title": "Checkout", "environment": "test"},
            "in project Checkout (test) until 18 February 2027",
        ),
        ({"scope_title": ""}, "in the team you choose (live) until 18 February 2027"),
        ({"environment": ""}, "in team Payments until 18 February 2027"),
        ({"expires_phrase": "with no expiry"}, "in team Payments (live) with no expiry"),
        ({"expires_phrase": ""}, "in team Payments (live)"),
    ],
)
def test_describe_says_where_and_how_long(changes: dict[str, str], where: str) -> None:
    assert sentence("scan:read", **changes) == (
        f"Can read scans {where}. Cannot write, delete, manage keys or do anything else."
    )


def test_describe_with_no_place_chosen_is_still_a_sentence() -> None:
    said = sentence("scan:read", scope="", scope_title="", environment="", expires_phrase="")
    assert said == "Can read scans. Cannot write, delete, manage keys or do anything else. Choose a scope."


@pytest.mark.parametrize("permissions", [[], ["x:y"]])
def test_describe_asks_for_a_permission_while_there_is_none(permissions: list[str]) -> None:
    assert sentence(*permissions) == "Can do nothing yet: choose at least one permission."


@given(permissions=names)
def test_describe_always_says_both_sides(permissions: set[str]) -> None:
    said = sentence(*permissions)
    assert said.startswith("Can ")
    assert said.endswith(".")
    assert "  " not in said
    assert (". Cannot " in said) == bool(permissions & {*BUILT_IN.by_name, ALL})
