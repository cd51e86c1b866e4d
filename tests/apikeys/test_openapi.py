"""The API's OpenAPI document itself; test_schemathesis.py holds the API to it."""

from typing import Any

import pytest

from keyportal.api import api
from keyportal.http import PROBLEMS

DOCUMENT: dict[str, Any] = api.get_openapi_schema()
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
# What anyone may ask, so that there is no refusal of a key.
PUBLIC = {"get_key_format"}
# What makes a person known, or ends that: there is nothing to be found, and those that end or go on with it take it.
SIGN_INS = {"create_token", "create_token_by_second_factor", "refresh_token"}
OF_A_TOKEN = {"end_token", "confirm_sign_in"}


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
        "create_token",
        "end_token",
        "create_token_by_second_factor",
        "refresh_token",
        "confirm_sign_in",
    ]
    assert all(operation["summary"] and operation["description"] for _, _, operation in OPERATIONS)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_operation_documents_its_refusals_as_problem_json(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    refusals = {int(status): answer for status, answer in operation["responses"].items() if int(status) >= 400}
    is_public = operation["operationId"] in PUBLIC
    is_sign_in = operation["operationId"] in SIGN_INS | OF_A_TOKEN
    finding = set() if is_sign_in else {404}
    common = {400, 503} if is_public else {400, 401, 403, 422, 429, 503} | finding
    assert common <= set(refusals) <= common | {409}
    assert all(set(answer["content"]) == {"application/problem+json"} for answer in refusals.values())
    is_open = is_public or operation["operationId"] in SIGN_INS
    assert operation.get("security") == (None if is_open else [{"PrincipalAuth": []}])


def test_every_documented_refusal_has_a_code() -> None:
    assert {400, 401, 403, 404, 422, 429, 503} <= {kind.status for kind in PROBLEMS.values()}
