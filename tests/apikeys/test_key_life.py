"""The whole life of a key under each shape, through what people and programs call."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from django.test import Client
from pytest_django import Settings
from uuid_utils.compat import uuid7

from accounts.models import Organization, Project
from apikeys import keyformat, scanner_rules, shapes
from apikeys.models import ApiKey
from tests.apikeys.logbook import Logbook
from tests.apikeys.sessions import Session
from tests.cast import Issued, Person

Issue = Callable[..., Issued]


@dataclass(frozen=True)
class Configured:
    """What an operator sets for a shape, and what its keys and labels look like then."""

    template: str
    brand: str
    kinds: list[str]
    # For the test environment: of a secret and a publishable key of a project, and of one of the organization.
    project_key: str
    publishable_key: str
    organization_key: str

    def use(self, settings: Settings) -> None:
        settings.KEYPORTAL_KEY_TEMPLATE = self.template
        settings.KEYPORTAL_KEY_BRAND, settings.KEYPORTAL_KEY_KINDS = self.brand, self.kinds

    @property
    def as_earlier(self) -> str:
        """The same as an operator writes it down once another shape is in use."""
        kinds = f" {','.join(self.kinds)}" if "{kind}" in self.template else ""
        return self.template.replace("{brand}", self.brand) + kinds


RUN, LABEL, SECRET = "[0-9A-Za-z]{40}", "[0-9A-Za-z]{8}", "[0-9A-Za-z]{32}"
UNWRITTEN = ["sk", "pk", "org"]
SHAPES = {
    "keyportal": Configured(
        "{brand}_{kind}_{env}_{prefix}_{secret}",
        "kp",
        ["sk", "pk", "org"],
        f"kp_sk_test_{LABEL}_{SECRET}",
        f"kp_pk_test_{LABEL}_{SECRET}",
        f"kp_org_test_{LABEL}_{SECRET}",
    ),
    "ossprey": Configured("ospr_{prefix}{secret}", "kp", UNWRITTEN, *[f"ospr_{RUN}"] * 3),
    "onvera": Configured("onv_sk_{env}_{prefix}{secret}", "kp", UNWRITTEN, *[f"onv_sk_test_{RUN}"] * 3),
    "sigsentry": Configured(
        "{brand}_{kind}_{prefix}{secret}",
        "ss",
        ["secret", "pub", "org"],
        f"ss_secret_{RUN}",
        f"ss_pub_{RUN}",
        f"ss_org_{RUN}",
    ),
    "trustedoss": Configured("{brand}_{prefix}_{secret}", "tos", UNWRITTEN, *[f"tos_{LABEL}_{SECRET}"] * 3),
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, settings: Settings) -> Configured:
    found = SHAPES[request.param]
    found.use(settings)
    return found


def issue_in_the_form(client: Client, project: Project) -> str:
    form = {"name": "by-form", "scope": "project", "project": str(project.pk), "environment": "test", "expiry": "90"}
    response: Any = client.post(
        "/integrations/new/", form | {"issue_id": str(uuid7()), "permissions": ["projects:read"]}
    )
    assert response.status_code == 200
    return str(response.context["key"])


def issue_as_json(session: Session) -> str:
    response = session.post("/v1/api-keys", {"name": "by-json", "scope": "org", "environment": "test"})
    assert response.status_code == 201
    return str(response.json()["key"])


def whoami(key: str) -> Any:
    return Client().get("/v1/whoami", headers={"Authorization": f"Bearer {key}"})


def row_of(key: str) -> ApiKey:
    return ApiKey.objects.get(prefix=keyformat.parse(key, shapes.accepted()).prefix)


def assert_hidden(key: str, row: ApiKey, logbook: Logbook) -> None:
    """Assert that a log line and an address with a key show its label and no more."""
    structlog.get_logger("test").warning("seen", text=f"Bearer {key}, and cut off {key[:-9]}")
    [line] = logbook.events("seen")
    assert line["text"] == f"Bearer {row.label}…, and cut off {row.label}…"
    assert key[-32:] not in logbook.text


def assert_scanned(key: str, row: ApiKey) -> None:
    text = f'{{"env": "A=1\\n{key}\\nB=2"}}'
    assert re.findall(scanner_rules.regex(shapes.accepted()), text) == [key]
    assert [found.label for found in keyformat.find_keys(text, shapes.accepted())] == [row.label]
    assert re.findall(scanner_rules.regex(shapes.accepted()), f"the key {row.label} was issued") == []


def assert_listed(client: Client, key: str, row: ApiKey) -> None:
    """Assert that the label finds the key and no other, and that its page opens, neither of which shows more."""
    response: Any = client.get("/integrations/", {"q": row.label})
    assert [found.api_key.pk for found in response.context["rows"]] == [row.pk]
    page = client.get(f"/keys/{row.pk}/")
    assert page.status_code == 200
    for text in (response.text, page.text):
        assert row.label in text
        assert key[-32:-6] not in text


@pytest.mark.parametrize("scope", ["project", "org"])
def test_key_lives_its_whole_life(
    shape: Configured,
    alice: Person,
    alice_client: Client,
    issued: Issued,
    project: Project,
    logbook: Logbook,
    scope: str,
) -> None:
    is_project = scope == "project"
    key = issue_in_the_form(alice_client, project) if is_project else issue_as_json(Session(alice))
    assert re.fullmatch(shape.project_key if is_project else shape.organization_key, key)
    row = row_of(key)
    assert key.startswith(row.label)
    assert (row.kind, row.scope, row.environment) == ("secret", scope, "test")

    response = whoami(key)
    assert response.status_code == 200
    assert (response.json()["key"]["environment"], response.json()["key"]["label"]) == ("test", row.label)
    assert whoami(key[:-1] + ("0" if key[-1] != "0" else "1")).status_code == 401
    assert Client().get(f"/v1/whoami?key={key}").json()["code"] == "key_in_query"

    assert_hidden(key, row, logbook)
    assert_scanned(key, row)
    assert_listed(alice_client, key, row)

    assert alice_client.post(f"/keys/{row.pk}/revoke/", {"reason": "over"}).status_code < 400
    response = whoami(key)
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")


def test_publishable_key_says_so_where_the_shape_writes_the_kind(
    shape: Configured, alice: Person, project: Project
) -> None:
    body = {"name": "sdk", "scope": "project", "project_id": str(project.pk), "kind": "publishable"}
    response = Session(alice).post("/v1/api-keys", body | {"environment": "test"})
    assert response.status_code == 201
    key = response.json()["key"]
    assert re.fullmatch(shape.publishable_key, key)
    assert (row_of(key).kind, row_of(key).environment) == ("publishable", "test")
    found = re.findall(scanner_rules.regex(shapes.accepted()), key)
    assert found == ([] if "{kind}" in shape.template else [key])


def test_pasted_key_is_refused_as_a_name_and_found_by_its_label(
    shape: Configured, alice: Person, alice_client: Client, project: Project
) -> None:
    key = issue_in_the_form(alice_client, project)
    row = row_of(key)
    response = Session(alice).post("/v1/api-keys", {"name": f"for {key}", "scope": "org"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "name")
    response = alice_client.get("/integrations/", {"q": key})
    assert response["Location"] == f"/integrations/?q={row.label}"


@pytest.mark.parametrize("later", [name for name in SHAPES if name != "keyportal"])
def test_changing_the_shape_keeps_earlier_keys_good(
    settings: Settings, issue: Issue, alice: Person, organization: Organization, later: str
) -> None:
    earlier = issue(alice, organization).text
    SHAPES[later].use(settings)
    assert whoami(earlier).json()["code"] == "invalid_key"
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = [SHAPES["keyportal"].as_earlier]
    new = issue(alice, organization).text
    assert re.fullmatch(SHAPES[later].organization_key.replace("_test_", "_live_"), new)
    assert [whoami(key).status_code for key in (earlier, new)] == [200, 200]
    assert [key.reveal() for key in keyformat.find_keys(f"{earlier} {new}", shapes.accepted())] == [new, earlier]
    SHAPES["keyportal"].use(settings)
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = [SHAPES[later].as_earlier]
    assert [whoami(key).status_code for key in (earlier, new)] == [200, 200]
