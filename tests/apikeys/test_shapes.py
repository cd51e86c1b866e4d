from collections.abc import Callable
from urllib.parse import quote

import pytest

from apikeys import shapes

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
