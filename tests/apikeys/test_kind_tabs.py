"""The tabs by kind, on the page of a project and under Integrations."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import Project
from apikeys import shapes
from apikeys.snippets import browser_snippets
from tests.cast import Issued, Person

PAGE = "https://shop.example.com"
Issue = Callable[..., Issued]


@pytest.fixture
def published(issue: Issue, dana: Person, project: Project) -> Issued:
    return issue(dana, project, name="shop-page", kind="publishable", permissions=[], allowed_origins=[PAGE])


def text_of(client: Client, url: str, **headers: str) -> str:
    response: Any = client.get(url, headers=headers)
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


def current_tabs(text: str) -> list[str]:
    tabs = text[text.index('aria-label="Keys by kind"') :].split("</nav>", maxsplit=1)[0]
    return [part.split(">")[1].split("<")[0] for part in tabs.split("<a ") if 'aria-current="page"' in part]


def test_page_of_a_project_shows_its_keys_by_kind(
    published: Issued, issued: Issued, project: Project, dana_client: Client
) -> None:
    secret = text_of(dana_client, f"/projects/{project.pk}/")
    sdk = text_of(dana_client, f"/projects/{project.pk}/sdk-keys/")
    assert (issued.row.label in secret, published.row.label in secret) == (True, False)
    assert (issued.row.label in sdk, published.row.label in sdk) == (False, True)
    assert (current_tabs(secret), current_tabs(sdk)) == (["API keys"], ["SDK keys"])
    assert f"/sdk-keys/new/?project={project.pk}" in sdk
    assert f"/integrations/new/?scope=project&amp;project={project.pk}" in secret


def test_integrations_show_all_keys_and_sdk_keys_apart(published: Issued, issued: Issued, dana_client: Client) -> None:
    every, sdk = text_of(dana_client, "/integrations/"), text_of(dana_client, "/integrations/sdk-keys/")
    assert (issued.row.label in every, published.row.label in every) == (True, True)
    assert (issued.row.label in sdk, published.row.label in sdk) == (False, True)
    assert (current_tabs(every), current_tabs(sdk)) == (["API keys"], ["SDK keys"])


@pytest.mark.parametrize("path", ["/integrations/sdk-keys/", "/projects/{}/sdk-keys/"])
def test_fragment_is_the_table_alone(published: Issued, project: Project, dana_client: Client, path: str) -> None:
    text = text_of(dana_client, path.format(project.pk), **{"HX-Request": "true"})
    assert published.row.label in text
    assert "Keys by kind" not in text
    assert "keyportal-client.js" not in text


def test_sdk_keys_come_with_a_snippet_for_this_installation(
    project: Project, dana: Person, dana_client: Client, settings: Settings
) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    text = text_of(dana_client, f"/projects/{project.pk}/sdk-keys/")
    assert "https://keys.example.com/static/js/keyportal-client.js" in text
    assert "key: &quot;kp_pk_…&quot; });" in text
    assert "No SDK keys yet" in text
    assert "keyportal-client.js" not in text_of(dana_client, f"/projects/{project.pk}/")


@pytest.mark.parametrize("path", ["/integrations/sdk-keys/", "/projects/{}/sdk-keys/"])
def test_query_count_is_the_same_for_1_and_3_keys(
    issue: Issue, dana: Person, project: Project, dana_client: Client, path: str
) -> None:
    counts = []
    for _ in range(3):
        issue(dana, project, kind="publishable", permissions=[], allowed_origins=[PAGE])
        with CaptureQueriesContext(connection) as queries:
            text_of(dana_client, path.format(project.pk))
        counts.append(len(queries))
    assert counts[0] == counts[2]


def test_sdk_keys_of_a_stranger_are_not_there(published: Issued, project: Project, charlie_client: Client) -> None:
    assert charlie_client.get(f"/projects/{project.pk}/sdk-keys/").status_code == 404
    assert published.row.label not in text_of(charlie_client, "/integrations/sdk-keys/")


@pytest.mark.parametrize(
    ("template", "brand", "kinds", "prefix"),
    [
        ("{brand}_{kind}_{env}_{prefix}_{secret}", "kp", ["sk", "pk", "org"], "kp_pk_"),
        ("{brand}_{kind}_{prefix}{secret}", "ss", ["secret", "pub", "org"], "ss_pub_"),
        ("{brand}-{env}-{kind}-{prefix}-{secret}", "acme", ["s", "p", "o"], "acme-live-p-"),
        ("{brand}_{env}_{prefix}{secret}", "onv", ["sk", "pk", "org"], "onv_"),
        ("ospr_{prefix}{secret}", "kp", ["sk", "pk", "org"], "ospr_"),
    ],
)
def test_snippet_tells_the_client_how_publishable_keys_begin(
    settings: Settings, template: str, brand: str, kinds: list[str], prefix: str
) -> None:
    settings.KEYPORTAL_KEY_TEMPLATE, settings.KEYPORTAL_KEY_BRAND = template, brand
    settings.KEYPORTAL_KEY_KINDS = kinds
    assert shapes.publishable_prefix() == prefix
    text = browser_snippets("x", url="https://keys.example.com", prefix=prefix)[0].text
    assert (f'prefix: "{prefix}"' in text) == (prefix != "kp_pk_")
