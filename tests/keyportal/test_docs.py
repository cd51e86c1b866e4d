import json
import re

import pytest
from django.test import Client

from accounts.models import User
from apikeys.permissions import BUILT_IN
from keyportal import docs
from keyportal.api import api
from keyportal.http import PROBLEMS
from tests.accounts.scenes import text_of

# Objects whose members are names of fields.
FREE = {"items[].changes"}


@pytest.fixture
def document(client: Client, db: None) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = client.get("/v1/openapi.json").json()
    return found


def test_reference_is_for_everyone(client: Client, db: None) -> None:
    assert User.objects.count() == 0
    assert client.get("/v1/docs").status_code == 200


def test_reference_names_every_operation_of_the_document(
    client: Client, document: dict[str, dict[str, dict[str, dict[str, object]]]]
) -> None:
    shown = {(operation.method, operation.path) for operation in client.get("/v1/docs").context["operations"]}
    written = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert shown == written
    assert ("GET", "/v1/projects") in shown


@pytest.mark.parametrize("code", PROBLEMS)
def test_reference_explains_every_problem_at_its_own_anchor(client: Client, db: None, code: str) -> None:
    page = client.get("/v1/docs")
    assert f'id="{code}"' in page.content.decode()
    assert PROBLEMS[code].title in text_of(page).replace("&#x27;", "'")


@pytest.mark.parametrize("name", BUILT_IN.by_name)
def test_reference_lists_every_permission(client: Client, db: None, name: str) -> None:
    assert name in text_of(client.get("/v1/docs"))


def test_document_is_openapi_3_1_with_problems(
    document: dict[str, dict[str, dict[str, dict[str, object]]]],
) -> None:
    assert str(document["openapi"]).startswith("3.1")
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():  # type: ignore[attr-defined] # a mapping
                if int(status) >= 400:
                    assert [*answer["content"]] == ["application/problem+json"]


def test_document_is_made_once_and_stays_as_it_is(client: Client, db: None) -> None:
    document = api.get_openapi_schema()
    before = json.dumps(document)
    for url in ("/v1/openapi.json", "/v1/docs"):
        assert client.get(url).status_code == 200
    assert api.get_openapi_schema() is document
    assert json.dumps(document) == before


@pytest.mark.parametrize("url", ["/v1/openapi.json", "/v1/docs"])
@pytest.mark.parametrize("cookie", ["", "of a session that has ended"])
def test_reference_needs_no_key_and_no_session(client: Client, db: None, url: str, cookie: str) -> None:
    client.cookies["keyportal_session"] = cookie
    assert client.get(url).status_code == 200
    assert Client().get(url).status_code == 200


def operations_of(client: Client) -> dict[str, docs.Operation]:
    return {operation.id: operation for operation in client.get("/v1/docs").context["operations"]}


def test_examples_hold_no_key_and_name_the_portal(client: Client, db: None) -> None:
    operations = operations_of(client)
    assert operations["list_projects"].curl == (
        'curl -H "Authorization: Bearer $KEYPORTAL_KEY" \\\n  http://127.0.0.1:8000/v1/projects'
    )
    assert "-X POST" in operations["issue_api_key"].curl


def test_example_of_each_operation_sends_members_of_its_own_body(client: Client, db: None) -> None:
    for operation in operations_of(client).values():
        sent = re.search(r"-d '(.+)'", operation.curl)
        assert bool(sent) == bool(operation.body_fields)
        required = {field.name for field in operation.body_fields if field.is_required and "." not in field.name}
        names = set(json.loads(sent[1])) if sent else set()
        assert required <= names <= {field.name for field in operation.body_fields}


def test_reference_tells_the_members_of_objects_within_objects(client: Client, db: None) -> None:
    page = client.get("/v1/docs")
    operations = {operation.id: operation for operation in page.context["operations"]}
    key, keys = (
        {field.name: field.type for answer in operations[name].responses for field in answer.fields}
        for name in ("get_api_key", "list_api_keys")
    )
    assert (key["issuer"], key["issuer.email"]) == ("object", "string")
    assert (key["service_account"], key["service_account.id"]) == ("object | null", "uuid")
    assert (keys["items"], keys["items[].label"], keys["items[].issuer.email"]) == ("object[]", "string", "string")
    assert "items[].issuer.email" in text_of(page)


def test_reference_leaves_no_object_untold(client: Client, db: None) -> None:
    for operation in operations_of(client).values():
        for fields in (operation.body_fields, *(answer.fields for answer in operation.responses)):
            objects = [field.name for field in fields if field.type in {"object", "object[]", "object | null"}]
            told = {field.name.rpartition(".")[0].removesuffix("[]") for field in fields}
            assert set(objects) - told <= FREE, operation.id
