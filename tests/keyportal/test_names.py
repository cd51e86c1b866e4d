import pytest
from django.core.exceptions import ValidationError

from keyportal import names

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "text", ["a", "x" * 100, "  ci  ", "100%_off", "Zoë's 東京 🔑", "a\u00a0b", "<b>", "x" * 100 + " "]
)
def test_plain_name_is_one(text: str) -> None:
    assert names.is_plain(text)
    names.validate_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "x" * 101,
        "a\0b",
        "a\nb",
        "a\x1b[31m",
        "a\x7fb",
        "a\x9bb",
        "a\u202eb",
        "a\u200bb",
        "a\ufeffb",
        "a\u00adb",
        "a\ud800b",
        "a\u2028b",
        "a\u2066b",
        "a\U000e0041b",
    ],
    ids=ascii,
)
def test_name_that_cannot_be_seen_whole_is_none(text: str) -> None:
    assert not names.is_plain(text)
    with pytest.raises(ValidationError, match="A name has 1 to 100 characters"):
        names.validate_plain(text)


def test_name_holds_nothing_that_is_told_to_be_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which is put back afterwards: the rule is the whole process's.
    monkeypatch.setattr(names, "_holds_key", names._holds_key)
    names.refuse_keys(lambda text: text == "a key")
    assert not names.is_plain(" a key ")
    assert names.broken_rule("a key") == names.KEY_PASTED
    assert names.broken_rule("", "Write a sentence.") == "Write a sentence."
    assert names.is_plain("another")


def test_white_space_is_folded() -> None:
    assert names.folded("  a \t b\n c ") == "a b c"
