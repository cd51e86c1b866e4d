from collections.abc import Callable
from urllib.parse import quote

import pytest
from pytest_django import Settings

from apikeys import keyformat, shapes
from apikeys.keyformat import Shape

pytestmark = pytest.mark.pure

KEY = "kp_sk_live_a1B2c3D4_0123456789abcdefghijKLMNOPqrstuv"  # a key's shape; nobody ever issued it
MASKED = "kp_sk_live_a1B2c3D4…"


def spelled_out(text: str) -> str:
    return "".join(f"%{ord(character):02x}" for character in text)


@pytest.mark.parametrize(
    "spell",
    [
        spelled_out,
        lambda text: quote(spelled_out(text)),
        lambda text: text.replace("_", "%5F"),
        lambda text: text[:30] + spelled_out(text[30:40]) + text[40:],
        lambda text: text[:-1] + spelled_out(text[-1]),
    ],
)
def test_key_in_percents_is_masked(spell: Callable[[str], str]) -> None:
    masked = shapes.mask(f"/?next=%2Fteams%2F&key={spell(KEY)}")
    assert masked == f"/?next=/teams/&key={MASKED}"


def test_percents_without_a_key_are_left_as_they_are() -> None:
    for text in ("100%", "/?q=a%20b", "%zz%", "%e4%00", "50%5Foff"):
        assert shapes.mask(text) == text
    assert shapes.mask(f"100% of {KEY}") == f"100% of {MASKED}"


def test_shapes_are_the_current_one_and_the_earlier_ones(settings: Settings) -> None:
    settings.KEYPORTAL_KEY_TEMPLATE = "{brand}_{kind}_{prefix}{secret}"
    settings.KEYPORTAL_KEY_BRAND, settings.KEYPORTAL_KEY_KINDS = "ss", ["secret", "pub", "org"]
    settings.KEYPORTAL_EARLIER_KEY_BRANDS = ["sig"]
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = [
        "kp_{kind}_{env}_{prefix}_{secret}  sk, pk, org",
        "tos_{prefix}_{secret}",
        "ss_{kind}_{prefix}{secret} secret,pub,org",
    ]
    kinds = ("secret", "pub", "org")
    assert [shape.heads() for shape in shapes.accepted()] == [
        ("ss_secret_", "ss_pub_", "ss_org_"),
        ("sig_secret_", "sig_pub_", "sig_org_"),
        tuple(f"kp_{kind}_{env}_" for kind in ("sk", "pk", "org") for env in ("live", "test")),
        ("tos_",),
    ]
    assert shapes.current() == Shape("{brand}_{kind}_{prefix}{secret}", "ss", kinds)
    assert [shapes.kind_label("secret", "org"), shapes.kind_label("secret", "team")] == ["org", "secret"]


def test_shape_that_is_current_and_earlier_counts_once(settings: Settings) -> None:
    settings.KEYPORTAL_EARLIER_KEY_BRANDS = ["kp", "acme"]
    assert [shape.brand for shape in shapes.accepted()] == ["kp", "acme"]


@pytest.mark.parametrize("template", ["ospr_{prefix}{secret}", "tos_{prefix}_{secret}", "{brand}_{prefix}_{secret}"])
def test_words_after_a_brand_are_no_key(settings: Settings, template: str) -> None:
    settings.KEYPORTAL_KEY_TEMPLATE = template
    head = shapes.current().heads()[0]
    assert not any(map(shapes.holds_key, (f"{head}frontend_ci", f"{head}production", f"{head}deployments-service")))
    key = keyformat.mint(shapes.current(), kind_label="sk", environment="live").reveal()
    assert shapes.holds_key(f"for {key}")
    assert shapes.holds_key(f"for {key[:-4]}")
