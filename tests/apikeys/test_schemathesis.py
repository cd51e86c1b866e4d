"""The API against its own OpenAPI document: whatever it is sent, it answers what it says that it answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.actions import create_service_account
from accounts.models import Organization, Project, Role, Team
from apikeys import actions
from apikeys.permissions import Permission
from keyportal.api import api
from keyportal.handler import Handler
from keyportal.http import SIGN_IN_PREFIX
from tests.cast import NOON, Issued, Person

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    missing_required_header,
]
DOCUMENT: dict[str, dict[str, Any]] = api.get_openapi_schema()["paths"]
OPERATIONS = [(method, path) for path, methods in DOCUMENT.items() for method in methods]
# In the others there is nothing that could be wrong.
TAKING = [
    (method, path)
    for method, path in OPERATIONS
    if DOCUMENT[path][method].get("parameters") or "requestBody" in DOCUMENT[path][method]
]
# How often each operation is called with each key.
EXAMPLES = {"org": 25, "team": 4, "project": 4, "publishable": 2, "": 2}
SIGN_INS = {path for path in DOCUMENT if path.startswith(SIGN_IN_PREFIX)}
PUBLIC = {"/v1/key-format", *SIGN_INS}
# What no made-up body succeeds at: it has to name some of the keys there are, a time within a few days, or a password.
SELDOM = {"/v1/api-keys/bulk", "/v1/api-keys/{key_id}/rotation/extend", *SIGN_INS}
Issue = Callable[..., Issued]


@dataclass(frozen=True)
class House:
    """The keys to call with, and the ids of what there is: made-up ones are all unknown."""

    headers: dict[str, dict[str, str]]
    ids: dict[str, str]

    def put_into(self, case: Any) -> None:
        """Put our ids into a case wherever it has one."""
        case.path_parameters = self._filled_in(case.path_parameters)
        case.body = self._filled_in(case.body)
        if case.operation.path == "/v1/permissions" and isinstance(case.body, dict):
            # It must be resource:action, and none that there is.
            case.body["name"] = "invoices:write"
        if case.operation.path == "/v1/api-keys" and isinstance(case.body, dict) and "scope" in case.body:
            # A scope wants its own place and no other, which the document can only say in words.
            places = {place: self.ids[f"{place}_id"] for place in ("team", "project") if place == case.body["scope"]}
            rest = {name: value for name, value in case.body.items() if name not in {"team_id", "project_id"}}
            case.body = rest | {f"{place}_id": value for place, value in places.items()}

    def _filled_in(self, sent: Any) -> Any:
        if not isinstance(sent, dict):
            return sent
        return {name: self.ids[name] if name in self.ids and value else value for name, value in sent.items()}


@cache
def document() -> Any:
    """Return the document as the portal serves it, once: reading it costs more than many calls."""
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", Handler(), config=SchemathesisConfig())


@pytest.fixture
def schema(db: None) -> Iterator[Any]:
    """The portal by its document, called in this process and in the test's transaction."""
    # As Django's own test client does: the end of a request must not close the test's connection.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield document()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def house(issue: Issue, alice: Person, bob: Person, organization: Organization, team: Team, project: Project) -> House:
    keys = {
        "org": issue(alice, organization, permissions=["*"]),
        "team": issue(alice, team, permissions=["*"]),
        "project": issue(alice, project, permissions=["*"]),
        "publishable": issue(alice, project, permissions=[], kind="publishable"),
    }
    rotating = issue(alice, project)
    actions.rotate_key(principal=alice.principal, api_key=rotating.row, at=timezone.now())
    actions.add_permission(principal=alice.principal, entry=Permission("invoices:read", "See invoices."))
    account = create_service_account(
        principal=alice.principal, team=team, name="ci", role=Role.DEVELOPER, steward=bob.user, at=NOON
    )
    ids = {"key_id": rotating.row.pk, "project_id": project.pk, "team_id": team.pk, "steward_id": bob.user.pk}
    ids |= {"account_id": account.pk, "service_account_id": account.pk}
    headers = {name: issued.headers for name, issued in keys.items()} | {"": {}}
    return House(headers, {name: str(value) for name, value in ids.items()} | {"name": "invoices:read"})


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_to_what_is_well_formed_are_documented(schema: Any, house: House, method: str, path: str) -> None:
    operation = schema[path][method.upper()]
    seen = {
        key: fuzz(operation, house, key, GenerationMode.POSITIVE, examples=examples)
        for key, examples in EXAMPLES.items()
    }
    assert (seen["org"] & {200, 201, 204}) or path in SELDOM
    if path in SIGN_INS:
        # Whatever key comes along, nothing that is made up signs in.
        return
    assert all((401 in statuses) == (key == "" and path not in PUBLIC) for key, statuses in seen.items())


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_answers_to_what_is_not_well_formed_are_documented(schema: Any, house: House, method: str, path: str) -> None:
    assert fuzz(schema[path][method.upper()], house, "org", GenerationMode.NEGATIVE, examples=25)


def lacks_key(case: Any) -> bool:
    """Say whether what is wrong with a case is in its headers, of which the key is one."""
    headers = case.meta.components.get(ParameterLocation.HEADER)
    return headers is not None and headers.mode is GenerationMode.NEGATIVE


def fuzz(operation: Any, house: House, key: str, mode: GenerationMode, *, examples: int) -> set[int]:
    """Call an operation again and again, undo what it did, and return the statuses of its answers."""
    seen: set[int] = set()
    is_wrong = mode is GenerationMode.NEGATIVE

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def conform(case: Any) -> None:
        if not is_wrong:
            house.put_into(case)
        with transaction.atomic():
            response = case.call(headers={} if lacks_key(case) else house.headers[key])
            transaction.set_rollback(True)
        case.validate_response(response, checks=[*CHECKS, *[negative_data_rejection] * is_wrong])
        seen.add(response.status_code)

    conform()
    return seen
