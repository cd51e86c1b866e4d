import pytest
from pytest_django import Settings

from keyportal.checks import GUARDS, check_guards, check_key_shapes, check_public_address

pytestmark = pytest.mark.pure


def test_guards_of_the_settings_are_all_there(settings: Settings) -> None:
    assert check_guards() == []
    assert set(GUARDS) <= set(settings.MIDDLEWARE)


@pytest.mark.parametrize("name", GUARDS)
def test_guard_that_is_missing_is_an_error(settings: Settings, name: str) -> None:
    settings.MIDDLEWARE = [other for other in settings.MIDDLEWARE if other != name]
    assert [message.id for message in check_guards()] == ["keyportal.E001"]


def test_guards_in_another_order_are_an_error(settings: Settings) -> None:
    settings.MIDDLEWARE = [*reversed(settings.MIDDLEWARE)]
    assert [message.id for message in check_guards()] == ["keyportal.E001"]


@pytest.mark.parametrize(
    ("url", "ids"),
    [
        ("https://keys.example.com", []),
        ("http://127.0.0.1:8000", []),
        ("http://127.9.9.9", []),
        ("http://[::1]:8000", []),
        ("http://localhost:8000", []),
        ("http://keys.example.com", ["keyportal.W001"]),
        ("http://192.0.2.7:8000", ["keyportal.W001"]),
        ("http://localhost.example.com", ["keyportal.W001"]),
    ],
)
def test_public_address_in_the_clear_is_a_warning(settings: Settings, url: str, ids: list[str]) -> None:
    settings.KEYPORTAL_URL = url
    assert [message.id for message in check_public_address()] == ids


@pytest.mark.parametrize("brand", ["a b", "", "_", "x" * 100])
@pytest.mark.parametrize("name", ["KEYPORTAL_KEY_BRAND", "KEYPORTAL_EARLIER_KEY_BRANDS"])
def test_brand_that_makes_no_keys_is_an_error(settings: Settings, name: str, brand: str) -> None:
    assert check_key_shapes() == []
    setattr(settings, name, brand if name == "KEYPORTAL_KEY_BRAND" else [brand])
    assert [message.id for message in check_key_shapes()] == ["keyportal.E002"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "KEYPORTAL_KEY_TEMPLATE",
            "{brand}",
            "KEYPORTAL_KEY_BRAND and KEYPORTAL_KEY_KINDS do not make keys: a key temp",
        ),
        ("KEYPORTAL_KEY_TEMPLATE", "{brand}_{secret}_{prefix}", "KEYPORTAL_KEY_TEMPLATE, KEYPORTAL_KEY_BRAND and"),
        ("KEYPORTAL_KEY_KINDS", ["sk", "pk"], "kinds are three different words"),
        ("KEYPORTAL_KEY_KINDS", ["sk", "sk", "org"], "kinds are three different words"),
        ("KEYPORTAL_KEY_KINDS", ["s k", "pk", "org"], "kinds and environments are words"),
        ("KEYPORTAL_EARLIER_KEY_SHAPES", ["nonsense"], "KEYPORTAL_EARLIER_KEY_SHAPES do not make keys: a key template"),
        ("KEYPORTAL_EARLIER_KEY_SHAPES", ["{brand}_{prefix}{secret}"], "write the brand out"),
        ("KEYPORTAL_EARLIER_KEY_SHAPES", ["a_{kind}_{prefix}{secret}"], "followed by its three kinds"),
        ("KEYPORTAL_EARLIER_KEY_SHAPES", ["a_{prefix}{secret} sk,pk,org"], "followed by its three kinds"),
    ],
)
def test_shape_that_makes_no_keys_is_an_error(settings: Settings, name: str, value: object, sentence: str) -> None:
    setattr(settings, name, value)
    [message] = check_key_shapes()
    assert message.id == "keyportal.E002"
    assert sentence in message.msg


def test_earlier_brands_need_a_template_with_one(settings: Settings) -> None:
    settings.KEYPORTAL_KEY_TEMPLATE, settings.KEYPORTAL_EARLIER_KEY_BRANDS = "tos_{prefix}_{secret}", ["acme"]
    assert "write those shapes out in KEYPORTAL_EARLIER_KEY_SHAPES" in check_key_shapes()[0].msg
