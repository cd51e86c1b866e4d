import copy
import re
import string
import zlib
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apikeys.keyformat import (
    ALPHABET,
    DEFAULT,
    MAX_BYTES,
    MAX_LABEL,
    Key,
    MalformedKey,
    Shape,
    find_keys,
    kind_label,
    mask,
    mint,
    parse,
    scanner_regex,
)

pytestmark = pytest.mark.pure

ONE_RUN = Shape(template="ospr_{prefix}{secret}")
ENVIRONMENT_RUN = Shape(template="onv_sk_{env}_{prefix}{secret}")
KINDS_RUN = Shape(template="{brand}_{kind}_{prefix}{secret}", brand="ss", kinds=("secret", "pub", "org"))
TWO_PARTS = Shape(template="tos_{prefix}_{secret}")
SHAPES = (DEFAULT, ONE_RUN, ENVIRONMENT_RUN, KINDS_RUN, TWO_PARTS)

# Made once and kept: what this module wrote yesterday must stay good.
GOOD = "kp_sk_live_a1B2c3D4_Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji3nszId"
LABEL = "kp_sk_live_a1B2c3D4"
SECRET = GOOD.removeprefix(f"{LABEL}_")


def mint_any(shape: Shape) -> Key:
    return mint(shape, kind_label=shape.kinds[0], environment=shape.environments[0])


def is_refused(text: str) -> bool:
    try:
        parse(text, SHAPES)
    except MalformedKey:
        return True
    return False


def test_parse_returns_the_parts_of_a_kept_key() -> None:
    key = parse(GOOD, [DEFAULT])
    assert key == Key(label=LABEL, prefix="a1B2c3D4", kind_label="sk", environment="live", secret=SECRET, separator="_")
    assert key.reveal() == GOOD


def test_checksum_is_the_base62_crc32_of_all_before_it() -> None:
    value = 0
    for digit in GOOD[-6:]:
        value = value * 62 + (string.digits + string.ascii_uppercase + string.ascii_lowercase).index(digit)
    assert value == zlib.crc32(GOOD[:-6].encode())


@pytest.mark.parametrize(
    ("shape", "pattern", "label"),
    [
        (DEFAULT, r"kp_sk_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}", r"kp_sk_live_[0-9A-Za-z]{8}"),
        (ONE_RUN, r"ospr_[0-9A-Za-z]{40}", r"ospr_[0-9A-Za-z]{8}"),
        (ENVIRONMENT_RUN, r"onv_sk_live_[0-9A-Za-z]{40}", r"onv_sk_live_[0-9A-Za-z]{8}"),
        (KINDS_RUN, r"ss_secret_[0-9A-Za-z]{40}", r"ss_secret_[0-9A-Za-z]{8}"),
        (TWO_PARTS, r"tos_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}", r"tos_[0-9A-Za-z]{8}"),
    ],
)
def test_every_shape_mints_what_it_parses(shape: Shape, pattern: str, label: str) -> None:
    key = mint_any(shape)
    assert re.fullmatch(pattern, key.reveal())
    assert re.fullmatch(label, key.label)
    assert key.label.endswith(key.prefix)
    assert parse(key.reveal(), SHAPES) == key


@given(kind=st.sampled_from(DEFAULT.kinds), environment=st.sampled_from(DEFAULT.environments))
def test_minted_keys_carry_kind_and_environment(kind: str, environment: str) -> None:
    key = mint(DEFAULT, kind_label=kind, environment=environment)
    assert key.label == f"kp_{kind}_{environment}_{key.prefix}"
    assert parse(key.reveal(), [DEFAULT]) == key
    assert (key.kind_label, key.environment) == (kind, environment)


def test_a_part_that_the_shape_does_not_write_is_empty() -> None:
    key = mint(ONE_RUN, kind_label="sk", environment="live")
    assert (key.kind_label, key.environment) == ("", "")


def test_minted_keys_differ_and_use_the_whole_alphabet() -> None:
    keys = [mint_any(DEFAULT) for _ in range(300)]
    assert len({key.prefix for key in keys}) == len({key.secret for key in keys}) == 300
    assert {char for key in keys for char in key.prefix + key.secret[:-6]} == set(ALPHABET)


@pytest.mark.parametrize(("kind", "environment"), [("xx", "live"), ("sk", "prod"), ("", "live"), ("sk", "")])
def test_mint_refuses_what_the_shape_does_not_know(kind: str, environment: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        mint(DEFAULT, kind_label=kind, environment=environment)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_single_character_substitution_is_refused(shape: Shape) -> None:
    text = mint_any(shape).reveal()
    others = [chr(code) for code in range(256)] + ["１", "٣", "а", "ſ", "\u212a", "\ud800", "😀"]
    accepted = [
        (place, other)
        for place, char in enumerate(text)
        for other in others
        if other != char and not is_refused(text[:place] + other + text[place + 1 :])
    ]
    assert accepted == []


@given(data=st.data(), other=st.characters(codec=None))
def test_any_character_in_any_place_is_refused(data: st.DataObject, other: str) -> None:
    text = mint_any(DEFAULT).reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + other + text[place + 1 :]
    assert is_refused(changed) == (changed != text)


@given(data=st.data(), shape=st.sampled_from(SHAPES))
def test_a_shortened_lengthened_or_swapped_key_is_refused(data: st.DataObject, shape: Shape) -> None:
    text = mint_any(shape).reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    extra = data.draw(st.sampled_from([*ALPHABET, "\n", "\r\n", " ", "\0", "_"]))
    swapped = text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
    assert is_refused(text[:place] + text[place + 1 :])
    assert is_refused(text[:place] + extra + text[place:])
    assert is_refused(text + extra)
    assert is_refused(swapped) == (swapped != text)


@given(st.text())
@example("")
@example(" " + GOOD)
@example(GOOD + "\n")
@example(GOOD + GOOD)
@example(GOOD.upper())
@example(GOOD.replace("1", "１"))
@example("kp_" * 100)
@example("0" * 1_000_000)
def test_parse_refuses_any_other_text_without_repeating_it(text: str) -> None:
    with pytest.raises(MalformedKey) as refusal:
        parse(text, SHAPES)
    assert str(refusal.value) == "not a well-formed key"


def test_a_key_of_the_longest_length_is_read_and_a_longer_one_is_no_shape() -> None:
    longest = replace(DEFAULT, secret_length=MAX_BYTES - 21)
    key = mint(longest, kind_label="org", environment="live")
    assert len(key.reveal()) == MAX_BYTES
    assert parse(key.reveal(), [longest]) == key
    with pytest.raises(ValueError, match="at most 128 bytes"):
        replace(longest, secret_length=longest.secret_length + 1)


def test_a_label_has_room_in_a_row() -> None:
    longest = replace(DEFAULT, brand="b" * (MAX_LABEL - 18))
    assert len(mint(longest, kind_label="org", environment="live").label) == MAX_LABEL
    with pytest.raises(ValueError, match="at most 64 characters"):
        replace(DEFAULT, brand="b" * (MAX_LABEL - 17))


def test_a_key_of_an_earlier_shape_stays_good() -> None:
    later = replace(DEFAULT, brand="acme", kinds=("secret", "public", "company"))
    assert parse(GOOD, [later, DEFAULT]).label == LABEL
    with pytest.raises(MalformedKey):
        parse(GOOD, [later])


@pytest.mark.parametrize(
    "changes",
    [
        {"template": ""},
        {"template": "{prefix}_{secret}"},
        {"template": "{brand}{prefix}{secret}"},
        {"template": "{brand}_{kind}{env}_{prefix}_{secret}"},
        {"template": "{brand}_{brand}_{prefix}_{secret}"},
        {"template": "{brand}_{secret}_{prefix}"},
        {"template": "{brand}_{prefix}"},
        {"template": "{brand}_{prefix}__{secret}"},
        {"template": "{brand}_{prefix}_{secret}\n"},
        {"template": "{brand}_{owner}_{prefix}_{secret}"},
        {"template": "{brand.__class__}_{prefix}_{secret}"},
        {"template": "k.p_{prefix}_{secret}"},
        {"brand": ""},
        {"brand": "_kp"},
        {"brand": "kp\n"},
        {"brand": "k p"},
        {"brand": "kp|x"},
        {"brand": "ké"},
        {"kinds": ()},
        {"kinds": ("sk", "", "org")},
        {"kinds": ("s_k", "pk", "org")},
        {"kinds": ("sk", "pk")},
        {"kinds": ("sk", "sk", "org")},
        {"environments": ()},
        {"environments": ("live\n",)},
        {"prefix_length": 7},
        {"secret_length": 27},
    ],
)
def test_a_shape_that_cannot_make_good_keys_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"template|brand|words|prefix"):
        replace(DEFAULT, **changes)


@pytest.mark.parametrize("brand", ["kp", "Acme2", "my_app", "my-app"])
def test_a_brand_may_be_joined_words(brand: str) -> None:
    shape = replace(DEFAULT, brand=brand)
    assert parse(mint_any(shape).reveal(), [shape]).label.startswith(f"{brand}_sk_live_")


def test_a_key_shows_its_label_and_never_its_secret() -> None:
    key = parse(GOOD, [DEFAULT])
    shown = [repr(key), str(key), f"{key}", f"{[key]}", repr(copy.copy(key))]
    for text in shown:
        assert LABEL in text
        assert SECRET not in text
        assert SECRET[:16] not in text
        assert SECRET[16:] not in text
    assert asdict(key)["secret"] == SECRET  # there was something to show


@pytest.mark.parametrize(
    ("kind", "scope", "label"),
    [
        ("secret", "project", "secret"),
        ("secret", "team", "secret"),
        ("secret", "org", "org"),
        ("publishable", "project", "pub"),
    ],
)
def test_kind_and_scope_choose_the_label(kind: str, scope: str, label: str) -> None:
    assert kind_label(KINDS_RUN, kind=kind, scope=scope) == label


def test_heads_are_all_that_a_key_begins_with() -> None:
    assert KINDS_RUN.heads() == ("ss_secret_", "ss_pub_", "ss_org_")
    assert KINDS_RUN.heads(KINDS_RUN.secret_kinds) == ("ss_secret_", "ss_org_")
    assert (ENVIRONMENT_RUN.heads(), ONE_RUN.heads()) == (("onv_sk_live_", "onv_sk_test_"), ("ospr_",))
    assert [shape.writes_kind for shape in SHAPES] == [True, False, False, True, False]


def test_scanner_regex_of_the_default_shape() -> None:
    assert scanner_regex(DEFAULT) == "kp_(?:sk|pk|org)_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}"
    assert scanner_regex(DEFAULT, ("sk",)) == "kp_(?:sk)_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}"


@pytest.mark.parametrize("shape", SHAPES)
def test_scanner_regex_is_a_whole_key(shape: Shape) -> None:
    scanner = re.compile(scanner_regex(shape))
    text = mint_any(shape).reveal()
    assert scanner.groups == 0
    assert scanner.fullmatch(text)
    assert not any(map(scanner.fullmatch, (text[:-1], text + "a", text.replace("_", "-"), text.swapcase())))


@given(st.lists(st.sampled_from(SHAPES), max_size=4), st.text(alphabet=" \n\"'{}=:,;.é…/&?"))
def test_find_keys_finds_all_keys_in_any_text(shapes: list[Shape], noise: str) -> None:
    keys = [mint_any(shape) for shape in shapes]
    text = noise + "".join(key.reveal() + " " + noise for key in keys)
    assert sorted(find_keys(text, SHAPES), key=repr) == sorted(keys, key=repr)


@pytest.mark.parametrize("around", ["\\n{}", "%3D{}", "my_{}", "{}abc", "é{}é", "kp_sk_live_{}"])
def test_find_keys_asks_for_no_boundary(around: str) -> None:
    assert [key.reveal() for key in find_keys(around.format(GOOD), [DEFAULT])] == [GOOD]


def test_find_keys_passes_over_a_wrong_checksum_and_goes_on() -> None:
    wrong = GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1")
    assert list(find_keys(wrong, [DEFAULT])) == []
    assert [key.label for key in find_keys(f"{wrong} {GOOD}", [DEFAULT])] == [LABEL]


def test_find_keys_finds_a_key_whose_beginning_looks_like_the_end_of_another() -> None:
    key = mint_any(ONE_RUN)
    assert list(find_keys(f"ospr_{'A' * 36}{key.reveal()}", [ONE_RUN])) == [key]


def test_find_keys_names_a_key_once_though_two_shapes_know_it() -> None:
    assert len(list(find_keys(GOOD, [DEFAULT, replace(DEFAULT, kinds=("sk", "publishable", "o"))]))) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_mask_leaves_the_label_and_what_is_around_a_key(shape: Shape) -> None:
    key = mint_any(shape)
    assert mask(f"GET /?k={key.reveal()}&a=1 by dana", SHAPES) == f"GET /?k={key.label}…&a=1 by dana"
    assert mask(f"{key.reveal()}\n{key.reveal()}", SHAPES) == f"{key.label}…\n{key.label}…"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key kp_sk_live_a1B2c3D4 was revoked",
        "kp_sk_live_a1B2c3D4… is shown",
        "ospr_a1B2c3D4 is shown",
        "request 0b3c5d2e8f7a4b1c9d0e1f2a3b4c5d6e took 3 ms",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
    ],
)
def test_mask_leaves_other_text_alone(text: str) -> None:
    assert mask(text, SHAPES) == text


def test_mask_knows_the_length_of_a_secret_without_any_shape() -> None:
    assert mask(f"<{SECRET}>", []) == "<…>"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"), f"{LABEL}…"),
        (GOOD[:-5], f"{LABEL}…"),
        (GOOD + "abc", f"{LABEL}…"),
        (f'{{"key":"{GOOD[:-9]}","path":"/v1"}}', f'{{"key":"{LABEL}…","path":"/v1"}}'),
        (GOOD.replace("kp_", "kq_"), "kq_sk_live_a1B2c3D4_…"),
        (GOOD.replace("live", "1ive"), "kp_sk_1ive_a1B2c3D4_…"),
        (f"secret alone: {SECRET}.", "secret alone: …."),
    ],
)
def test_mask_hides_damaged_keys(text: str, masked: str) -> None:
    assert mask(text, SHAPES) == masked


@given(data=st.data(), shape=st.sampled_from(SHAPES), other=st.characters(codec=None))
def test_mask_hides_a_key_with_any_one_character_changed_added_or_lost(
    data: st.DataObject, shape: Shape, other: str
) -> None:
    key = mint_any(shape)
    text = key.reveal()
    place = data.draw(st.integers(0, len(text)))
    for damaged in (
        text[:place] + other + text[place + 1 :],
        text[:place] + other + text[place:],
        text[:place] + text[place + 1 :],
    ):
        masked = mask(f"before {damaged} after", SHAPES)
        parts = [key.secret[start : start + 8] for start in range(0, 32, 8)]
        assert [part for part in parts if part in masked] == []
        assert masked.startswith("before ")


@given(st.text(alphabet=st.sampled_from([*GOOD, " ", "…", '"', "\n"]), max_size=200))
@example(f"{GOOD[:-3]} {GOOD}")
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = mask(text, SHAPES)
    assert mask(once, SHAPES) == once
