"""The API against its own OpenAPI document: what it answers is what it says it answers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.models import Organization
from keyportal.api import api
from keyportal.handler import Handler
from keyportal.http import PROBLEMS
from tests.cast import Issued, Person

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    missing_required_header,
]
DOCUMENT: dict[str, Any] = api.get_openapi_schema()
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
# What anyone may ask, so that there is no refusal of a key.
PUBLIC = {"get_key_format"}
Issue = Callable[..., Issued]


def test_document_is_openapi_3_1_with_a_name_and_a_summary_for_every_operation() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert ids == [
        "whoami",
        "get_key_format",
        "issue_api_key",
        "list_api_keys",
        "disable_api_key",
        "enable_api_key",
        "end_api_keys",
        "get_api_key",
        "narrow_api_key",
        "revoke_api_key",
        "list_api_key_uses",
        "rotate_api_key",
        "rotate_calling_key",
        "get_api_key_rotation",
        "end_api_key_rotation",
        "extend_api_key_rotation",
        "get_policy",
        "change_policy",
        "preview_policy",
        "list_permissions",
        "add_permission",
        "publish_permissions",
        "change_permission",
        "remove_permission",
        "hand_over_api_key",
        "list_projects",
        "get_project",
        "list_service_accounts",
        "create_service_account",
        "get_service_account",
        "change_service_account",
        "stop_service_account",
        "list_audit_events",
    ]
    assert all(operation["summary"] and operation["description"] for _, _, operation in OPERATIONS)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_operation_documents_its_refusals_as_problem_json(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    refusals = {int(status): answer for status, answer in operation["responses"].items() if int(status) >= 400}
    is_public = operation["operationId"] in PUBLIC
    common = {400, 503} if is_public else {400, 401, 403, 404, 422, 429, 503}
    assert common <= set(refusals) <= common | {409}
    assert all(set(answer["content"]) == {"application/problem+json"} for answer in refusals.values())
    assert operation.get("security") == (None if is_public else [{"PrincipalAuth": []}])


def test_every_documented_refusal_has_a_code() -> None:
    assert {400, 401, 403, 404, 422, 429, 503} <= {kind.status for kind in PROBLEMS.values()}


@pytest.fixture
def schema(db: None) -> Iterator[Any]:
    """The document as the portal serves it, called in this process and in the test's transaction."""
    # As Django's own test client does: the end of a request must not close the test's connection.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/v1/openapi.json", Handler(), config=SchemathesisConfig())
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in OPERATIONS])
def test_answers_are_the_documented_ones(
    schema: Any, issue: Issue, alice: Person, organization: Organization, method: str, path: str
) -> None:
    headers = issue(alice, organization, permissions=["*"]).headers
    seen: set[int] = set()

    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method.upper()].as_strategy())
    def conform(case: Any) -> None:
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)

    conform()
    assert seen
    assert 401 not in seen


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in OPERATIONS])
def test_answers_to_a_caller_without_a_key_are_the_documented_ones(schema: Any, method: str, path: str) -> None:
    nobody = "01900000-0000-7000-8000-000000000007"
    case = schema[path][method.upper()].Case(
        path_parameters={"key_id": nobody, "project_id": nobody, "account_id": nobody, "name": "x"}
    )
    response = case.call()
    case.validate_response(response, checks=CHECKS)
    assert response.status_code == (200 if path == "/v1/key-format" else 401)
