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

# How deep objects within objects are told: a list's items, and the objects in those.
LEVELS = 2


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
                curl=_curl(method.upper(), path, _example(operation["operationId"], body, schemas)),
            )


def _answers(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Answer]:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json", {}).get("schema")
        yield Answer(str(status), _members(content, schemas, place="answer"))


def _parameter(item: Mapping[str, Any]) -> Field:
    schema = item["schema"]
    return Field(item["name"], item["in"], _type(schema), item.get("required", False), _described(schema))


def _members(
    schema: Mapping[str, Any] | None, schemas: Mapping[str, Any], *, place: str, within: str = "", levels: int = LEVELS
) -> list[Field]:
    """Return the members of an object, each followed by those of the object that it is: `items[].issuer.email`."""
    found: list[Field] = []
    for name, member, is_required in _properties(schema, schemas):
        found.append(Field(within + name, place, _type(member), is_required, _described(member)))
        inner, suffix = _object_in(member)
        if inner and levels:
            prefix = f"{within}{name}{suffix}."
            found += _members(inner, schemas, place=place, within=prefix, levels=levels - 1)
    return found


def _properties(
    schema: Mapping[str, Any] | None, schemas: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield the name of each member of an object, what it is, and whether it has to be there."""
    if schema:
        resolved = schemas[_name(schema)] if "$ref" in schema else schema
        required = resolved.get("required", [])
        for name, member in resolved.get("properties", {}).items():
            yield name, member, name in required


def _object_in(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the object that a member is, or of which it is a list, and what its name gets for a list."""
    if "$ref" in schema:
        return schema, ""
    if schema.get("type") == "array":
        inner, suffix = _object_in(schema.get("items", {}))
        return inner, f"[]{suffix}"
    return next(((option, "") for option in schema.get("anyOf", []) if "$ref" in option), (None, ""))


def _type(schema: Mapping[str, Any]) -> str:
    """Return a type as people write it: `uuid | null`, `string[]`, `"live" | "test"`."""
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "$ref" in schema:
        return "object"
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


# What most people come for; for the others, what has to be sent is filled in by its type.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "issue_api_key": {
        "name": "github-action-checkout-service",
        "scope": "project",
        "project_id": "…",
        "expires_in_days": 90,
    }
}
_PLACEHOLDERS: Mapping[str, Any] = {"array": [], "boolean": True, "integer": 1, "object": {}}


def _example(operation_id: str, body: Mapping[str, Any] | None, schemas: Mapping[str, Any]) -> str:
    """Return a body to begin with: what has to be in it, or its first member if nothing has; empty if there is none."""
    members = list(_properties(body, schemas))
    if not members:
        return ""
    chosen = [item for item in members if item[2]] or members[:1]
    values = {name: _placeholder(member) for name, member, _ in chosen}
    return json.dumps(EXAMPLES.get(operation_id, values), ensure_ascii=False)


def _placeholder(schema: Mapping[str, Any]) -> Any:
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    first = options[0]
    default = schema.get("default")
    if default is not None:
        return default
    if "enum" in first:
        return first["enum"][0]
    return _PLACEHOLDERS.get("object" if "$ref" in first else first.get("type", ""), "…")


def _curl(method: str, path: str, example: str) -> str:
    lines = ['curl -H "Authorization: Bearer $KEYPORTAL_KEY"']
    if method != "GET":
        lines.append(f"-X {method}")
    if example:
        lines.append(f"-H 'Content-Type: application/json' -d '{example}'")
    lines.append(f"{settings.KEYPORTAL_URL}{path}")
    return " \\\n  ".join(lines)
