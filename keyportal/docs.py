"""The reference of the API as a page, made from its OpenAPI document, so that the two cannot disagree."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.middleware import organization_not_required
from apikeys.permissions import BUILT_IN
from keyportal.api import VERSION, api
from keyportal.http import PROBLEMS, PageRequest


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a member of a body or an answer."""

    name: str
    place: str
    type: str
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body_fields: list[Field]
    responses: list[Answer]
    curl: str


@login_not_required
@organization_not_required
@require_GET
def api_docs(request: PageRequest) -> HttpResponse:
    context = {
        "operations": list(_operations(api.get_openapi_schema())),
        "problems": [(code, kind.status, kind.title, _plain(kind.advice)) for code, kind in PROBLEMS.items()],
        "permissions": BUILT_IN.entries,
        "version": VERSION,
    }
    return render(request, "keyportal/api_docs.html", context)


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            body_fields = _members(body, schemas, place="body")
            yield Operation(
                id=operation["operationId"],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=_plain(operation.get("description", "")),
                parameters=[_parameter(item) for item in operation["parameters"]],
                body_fields=body_fields,
                responses=list(_answers(operation, schemas)),
                curl=_curl(method.upper(), path, body_fields),
            )


def _answers(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Answer]:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json", {}).get("schema")
        yield Answer(str(status), _members(content, schemas, place="answer"))


def _parameter(item: Mapping[str, Any]) -> Field:
    schema = item["schema"]
    return Field(item["name"], item["in"], _type(schema), item.get("required", False), _described(schema))


def _members(schema: Mapping[str, Any] | None, schemas: Mapping[str, Any], *, place: str) -> list[Field]:
    if not schema:
        return []
    resolved = schemas[_name(schema)] if "$ref" in schema else schema
    required = resolved.get("required", [])
    return [
        Field(name, place, _type(member), name in required, _described(member))
        for name, member in resolved.get("properties", {}).items()
    ]


def _type(schema: Mapping[str, Any]) -> str:
    """Return a type as people write it: `uuid | null`, `string[]`, `"live" | "test"`."""
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "$ref" in schema:
        return _name(schema)
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return str(schema.get("format") or schema.get("const") or schema.get("type", "any"))


def _described(schema: Mapping[str, Any]) -> str:
    """Return what a field means, and what it is if it is left out."""
    default = schema.get("default")
    left_out = f" Left out, it is {json.dumps(default)}." if default not in (None, "") else ""
    return _plain(schema.get("description", "")) + left_out


def _plain(text: str) -> str:
    """Return a description without its Markdown, which is for the OpenAPI document."""
    return text.replace("`", "")


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


EXAMPLE = '{"name": "github-action-checkout-service", "scope": "project", "project_id": "…", "expires_in_days": 90}'


def _curl(method: str, path: str, body_fields: list[Field]) -> str:
    lines = ['curl -H "Authorization: Bearer $KEYPORTAL_KEY"']
    if method != "GET":
        lines.append(f"-X {method}")
    if body_fields:
        lines.append(f"-H 'Content-Type: application/json' -d '{EXAMPLE}'")
    lines.append(f"{settings.KEYPORTAL_URL}{path}")
    return " \\\n  ".join(lines)
