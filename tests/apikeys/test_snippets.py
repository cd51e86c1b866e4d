import ast
import shlex
from typing import Any

import pytest
from django.test import Client

from apikeys.listing import key_row
from apikeys.models import ApiKey
from apikeys.permissions import BUILT_IN
from apikeys.rules import rules_of
from apikeys.snippets import examples, snippets
from keyportal.api import api
from keyportal.http import PROBLEMS
from tests.apikeys.presented import of_nobody
from tests.cast import NOON, Issued, Person, later

URL = "https://keys.example.com"


@pytest.mark.pure
def test_every_snippet_holds_the_whole_key_once_and_hides_it_from_repr() -> None:
    text = of_nobody()
    for snippet in snippets(text, url=URL):
        assert snippet.text.count(text) == 1
        assert text not in repr(snippet)


@pytest.mark.pure
def test_snippets_are_what_a_shell_and_python_read() -> None:
    text = of_nobody()
    found = {snippet.slug: snippet for snippet in snippets(text, url=URL)}
    assert shlex.split(found["shell"].text) == ["export", f"KEYPORTAL_KEY={text}"]
    assert shlex.split(found["curl"].text.replace("\\\n", "")) == [
        "curl",
        "-H",
        f"Authorization: Bearer {text}",
        f"{URL}/v1/projects",
    ]
    assert (found["env"].text, found["env"].filename) == (f"KEYPORTAL_KEY={text}\n", "keyportal.env")
    assert ast.parse(found["python"].text).body
    for slug in ("github", "gitlab"):
        # From stdin, so that the key is in no process list.
        assert found[slug].text.splitlines()[1:] == [text, "KEY"]


@pytest.mark.pure
def test_examples_read_the_key_from_the_environment() -> None:
    found = {snippet.slug: snippet.text for snippet in examples(url=URL)}
    assert set(found) == {"curl", "python", "github", "gitlab"}
    assert all("KEYPORTAL_KEY" in text and "kp_" not in text for text in found.values())
    assert ast.parse(found["python"]).body
    assert "${{ secrets.KEYPORTAL_KEY }}" in found["github"]


@pytest.mark.parametrize(
    ("expires_at", "expires_in", "is_soon"),
    [
        (None, "", False),
        (NOON, "", False),
        (later(days=1), "in 1 day", True),
        (later(days=14), "in 14 days", True),
        (later(days=14, seconds=1), "in 14 days", False),
    ],
)
def test_row_says_how_long_a_key_still_works(
    issued: Issued, dana: Person, expires_at: Any, expires_in: str, is_soon: bool
) -> None:
    api_key = ApiKey.objects.with_places().with_roles().get(pk=issued.row.pk)
    api_key.expires_at = expires_at
    row = key_row(api_key, dana.principal, at=NOON, policy=rules_of(issued.row.organization_id).policy)
    assert (row.expires_in, row.expires_soon, row.scope_title) == (expires_in, is_soon, "Checkout")


# The reference


def test_reference_is_public_and_names_every_operation_code_and_parameter(db: None) -> None:
    response: Any = Client().get("/v1/docs")
    assert response.status_code == 200
    documented = [
        (method.upper(), path, operation["operationId"])
        for path, operations in api.get_openapi_schema()["paths"].items()
        for method, operation in operations.items()
    ]
    assert [(o.method, o.path, o.id) for o in response.context["operations"]] == documented
    assert ("POST", "/v1/api-keys/{key_id}/rotate", "rotate_api_key") in documented
    for code in PROBLEMS:
        assert f'id="{code}"' in response.text
    for operation in response.context["operations"]:
        assert operation.path in response.text
        for field in (*operation.parameters, *operation.body_fields):
            assert field.name in response.text
    assert [entry.name for entry in response.context["permissions"]] == list(BUILT_IN.by_name)


def test_reference_writes_types_as_people_do(db: None) -> None:
    operations = {o.id: o for o in Client().get("/v1/docs").context["operations"]}
    fields = {field.name: (field.type, field.is_required) for field in operations["issue_api_key"].body_fields}
    assert fields == {
        "name": ("string", True),
        "scope": ('"org" | "team" | "project"', True),
        "team_id": ("uuid | null", False),
        "project_id": ("uuid | null", False),
        "kind": ('"secret" | "publishable"', False),
        "environment": ('"live" | "test"', False),
        "permissions": ("string[]", False),
        "service_account_id": ("uuid | null", False),
        "allowed_origins": ("string[]", False),
        "networks": ("string[]", False),
        "per_second": ("integer | null", False),
        "per_minute": ("integer | null", False),
        "per_day": ("integer | null", False),
        "expires_in_days": ("integer | null", False),
        "expires_at": ("date-time | null", False),
    }
    assert operations["issue_api_key"].curl.splitlines()[1] == "  -X POST \\"
    answers = {
        answer.status: [field.name for field in answer.fields] for answer in operations["list_projects"].responses
    }
    assert answers["200"][:5] == ["items", "items[].id", "items[].name", "items[].team", "items[].team.id"]


@pytest.mark.parametrize("who", ["nobody", "alice"])
def test_reference_can_be_read_signed_in_and_out(alice_client: Client, who: str) -> None:
    client = Client() if who == "nobody" else alice_client
    response = client.get("/v1/docs")
    assert response.status_code == 200
    assert ("Back to the portal" in response.text) is (who == "alice")
