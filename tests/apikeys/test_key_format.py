"""The page and the endpoint that say how keys look here."""

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apikeys import keyformat, scanner_rules, shapes
from tests.apikeys.test_key_life import SHAPES
from tests.cast import Issued
from tests.services import ROOT

PAGE, API = "/key-format/", "/v1/key-format"


def test_format_is_for_everyone_and_says_what_the_rules_say(db: None) -> None:
    response: Any = Client().get(API)
    assert response.status_code == 200
    accepted, url = shapes.accepted(), "http://127.0.0.1:8000"
    pattern = scanner_rules.github(accepted)
    assert response.json() == {
        "shapes": [
            {
                "written": "kp_(sk|pk|org)_(live|test)_<8>_<32>",
                "regex": "kp_(?:sk|org)_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}",
                "is_current": True,
                "writes_kind": True,
                "writes_environment": True,
            }
        ],
        "regex": scanner_rules.regex(accepted),
        "finds_publishable": False,
        "gitleaks": scanner_rules.gitleaks(accepted, url=url),
        "git_secrets": scanner_rules.git_secrets(accepted),
        "pre_commit_hook": scanner_rules.hook(accepted, url=url),
        "pre_commit_config": scanner_rules.PRE_COMMIT_CONFIG,
        "github": {
            "pattern_name": "keyportal API key",
            "secret_format": pattern.secret_format,
            "before_secret": pattern.before_secret,
            "after_secret": pattern.after_secret,
            "test_string": pattern.test_string,
        },
    }


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "keyportal"])
def test_format_follows_the_settings(settings: Settings, db: None, name: str) -> None:
    SHAPES[name].use(settings)
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = [SHAPES["keyportal"].as_earlier]
    found = Client().get(API).json()
    current, earlier = found["shapes"]
    assert (current["is_current"], earlier["is_current"]) == (True, False)
    assert current["writes_kind"] == ("{kind}" in SHAPES[name].template)
    assert current["writes_environment"] == ("{env}" in SHAPES[name].template)
    assert found["finds_publishable"] is not current["writes_kind"]
    for shape in shapes.accepted():
        key = keyformat.mint(shape, kind_label=shape.kinds[0], environment="test").reveal()
        assert re.findall(found["regex"], f"KEY={key}") == [key]


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic x"])
def test_format_asks_for_no_key_and_refuses_none(db: None, header: str) -> None:
    assert Client().get(API, headers={"Authorization": header}).status_code == 200


def test_key_in_the_query_is_refused_here_too(issued: Issued) -> None:
    response: Any = Client().get(API, {"key": issued.text})
    assert (response.status_code, response.json()["code"]) == (400, "key_in_query")


@pytest.mark.parametrize("name", SHAPES)
def test_page_shows_each_rule_with_a_button_that_copies_it(settings: Settings, dana_client: Client, name: str) -> None:
    SHAPES[name].use(settings)
    response: Any = dana_client.get(PAGE)
    assert response.status_code == 200
    context = response.context
    blocks = [context[slug] for slug in ("regex", "gitleaks", "git_secrets")]
    for snippet in (*blocks, *context["hooks"], *context["github"]):
        assert f'id="snippet-{snippet.slug}"' in response.text
        assert f'data-copy="snippet-{snippet.slug}"' in response.text
    assert response.text.count("data-download=") == 2
    assert ("find publishable keys too" in response.text) is ("{kind}" not in SHAPES[name].template)
    assert scanner_rules.written(shapes.current()).replace("<", "&lt;").replace(">", "&gt;") in response.text


def test_page_asks_for_a_sign_in_and_is_linked_from_the_keys(db: None, dana_client: Client) -> None:
    assert Client().get(PAGE).status_code == 302
    assert f'href="{PAGE}"' in dana_client.get("/integrations/").content.decode()


def test_document_shows_shapes_that_can_be_set(settings: Settings) -> None:
    text = (ROOT / "docs/key-formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\{brand\}\S*)` \| `(\w+)` \| (?:`([\w,]+)`)? ?\| `(\S+)` \|$", text, re.MULTILINE)
    assert len(rows) == len(SHAPES)
    for template, brand, kinds, example in rows:
        settings.KEYPORTAL_KEY_TEMPLATE, settings.KEYPORTAL_KEY_BRAND = template, brand
        settings.KEYPORTAL_KEY_KINDS = kinds.split(",") if kinds else ["sk", "pk", "org"]
        head = shapes.current().heads()[0]
        rest = scanner_rules.written(shapes.current()).partition("<")[2]
        assert f"{head}<{rest}" == example
