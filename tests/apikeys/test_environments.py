from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Project
from apikeys.actions import EnvironmentNotGrantable, issue_key
from apikeys.models import ApiKey
from tests.apikeys.people import acting_as
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]
PAIRS = [("test", "live"), ("live", "test")]


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_key_issues_keys_of_its_own_environment_only(
    issue: Issue, bob: Person, project: Project, own: str, other: str
) -> None:
    caller = acting_as(issue(bob, project, permissions=["keys:write"], environment=own))
    wanted: dict[str, Any] = {
        "principal": caller,
        "name": "child",
        "place": project,
        "permissions": ["keys:write"],
        "expires_at": None,
        "at": NOON,
    }
    with pytest.raises(EnvironmentNotGrantable):
        issue_key(**wanted, environment=other)
    assert issue_key(**wanted, environment=own)[0].environment == own
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_call_for_another_environment_is_a_problem(
    issue: Issue, bob: Person, project: Project, own: str, other: str
) -> None:
    caller = issue(bob, project, permissions=["keys:write"], environment=own)
    body = {"name": "child", "scope": "project", "permissions": ["keys:write"], "environment": other}
    response: Any = Client().post("/v1/api-keys", body, content_type="application/json", headers=caller.headers)
    assert (response.status_code, response.json()["code"]) == (403, "environment_not_grantable")
    assert ApiKey.objects.count() == 1


def test_person_issues_for_both(issue: Issue, bob: Person, project: Project) -> None:
    assert {issue(bob, project, environment=name).row.environment for name in ("live", "test")} == {"live", "test"}
