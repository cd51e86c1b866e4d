"""The name of a key is under the same rule wherever it is given."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from uuid_utils.compat import uuid7

from accounts.models import Project
from apikeys.forms.ending import RevokeKeyForm
from apikeys.forms.issuing import IssueKeyForm
from apikeys.models import ApiKey
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]
UNSEEN = ["a\x1b[31mb", "a\u202eb", "a\u200bb", "a\x85b", "a\u2028b"]
unseen = pytest.mark.parametrize("name", UNSEEN, ids=ascii)


@unseen
def test_form_refuses_a_name_that_cannot_be_seen(bob: Person, project: Project, name: str) -> None:
    data: dict[str, Any] = {"issue_id": str(uuid7()), "name": name, "scope": "project", "project": str(project.pk)}
    data |= {"environment": "live", "permissions": ["scan:read"], "expiry": "90"}
    form = IssueKeyForm(data, principal=bob.principal, at=NOON)
    assert form.errors == {"name": ["A name has 1 to 100 characters, and none that cannot be seen."]}
    assert IssueKeyForm(data | {"name": "ab"}, principal=bob.principal, at=NOON).is_valid()


@unseen
def test_api_refuses_a_name_that_cannot_be_seen(issue: Issue, bob: Person, project: Project, name: str) -> None:
    caller = issue(bob, project, permissions=["keys:write"])
    body = {"name": name, "scope": "project", "permissions": ["keys:write"]}
    response: Any = Client().post("/v1/api-keys", body, content_type="application/json", headers=caller.headers)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "name")
    assert ApiKey.objects.count() == 1


@unseen
def test_command_refuses_a_name_that_cannot_be_seen(alice: Person, name: str) -> None:
    with pytest.raises(CommandError, match="none that cannot be seen"):
        call_command("issue_key", "--name", name, "--scope", "org", "--permissions", "scan:read")
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize("typed", ["nightly scan", "nightly  scan", " nightly\u00a0scan "])
def test_name_is_typed_as_a_page_shows_it(issue: Issue, dana: Person, project: Project, typed: str) -> None:
    issued = issue(dana, project, name="nightly   scan")
    assert RevokeKeyForm({"name": typed}, api_key=issued.row, is_used_recently=True).is_valid()
    for wrong in ("nightlyscan", "Nightly scan", "nightly scans"):
        assert not RevokeKeyForm({"name": wrong}, api_key=issued.row, is_used_recently=True).is_valid()
