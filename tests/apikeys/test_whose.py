"""Whose key is this: the answer to what someone has found, and to nobody else's keys."""

import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Project, Team
from apikeys import actions, digests, foreign, keyformat, shapes, whose
from apikeys.keyformat import Shape
from tests.cast import NOON, Issued, Person

Issue = Callable[..., Issued]
PAGE = "/keys/whose/"


def test_label_says_whose_key_it_is_and_how_to_end_it(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.post(PAGE, {"label": f"{issued.row.label}…"})
    assert [row.api_key.pk for row, _ in page.context["rows"]] == [issued.row.pk]
    for part in ("github-action-checkout-service", "dana@example.com", "Active", "Never used", "Checkout"):
        assert part in page.text
    for name in ("revoke", "disable", ""):
        assert f"/keys/{issued.row.pk}/{name}" in page.text
    assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_who_may_not_end_it_is_told_who_can(issue: Issue, bob: Person, project: Project, dana_client: Client) -> None:
    issued = issue(bob, project)
    page: Any = dana_client.post(PAGE, {"label": issued.row.label})
    assert f"/keys/{issued.row.pk}/revoke/" not in page.text
    assert "An admin of its team, or Bob, can end it." in page.text


@pytest.mark.parametrize("label", ["", "{theirs}", "kp_sk_live_a1B2c3D4", "galaxy", "\0", "x" * 5000, "<script>"])
def test_others_unknown_and_malformed_labels_are_answered_alike(
    issue: Issue, alice: Person, charlie: Person, charlie_client: Client, project: Project, label: str
) -> None:
    asked = label.format(theirs=issue(alice, project).row.label)
    page: Any = charlie_client.post(PAGE, {"label": asked})
    assert (page.status_code, page.context["rows"]) == (200, [])
    assert ("No key of yours" in page.text) is bool(asked)


def test_several_labels_are_each_answered(issue: Issue, dana: Person, project: Project, dana_client: Client) -> None:
    labels = [issue(dana, project).row.label for _ in range(2)]
    page: Any = dana_client.post(PAGE, {"label": " ".join([*labels, "kp_sk_live_a1B2c3D4"])})
    assert {row.api_key.label for row, _ in page.context["rows"]} == set(labels)
    assert page.context["unknown"] == ["kp_sk_live_a1B2c3D4"]
    # It takes as many statements for one as for twenty.
    assert len(whose.labels_in(" ".join(f"kp_sk_live_{n:08}" for n in range(30)))) == whose.MOST_LABELS


def test_whole_key_in_the_address_is_cut_to_its_label(issued: Issued, dana_client: Client) -> None:
    response: Any = dana_client.get(PAGE, {"label": issued.text})
    assert (response.status_code, response["Location"]) == (302, f"{PAGE}?label={issued.row.label}")


def test_question_in_an_address_is_not_answered(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.get(PAGE, {"label": issued.row.label})
    assert (page.status_code, page.context["rows"], page.context["is_asked"]) == (200, [], False)


def test_whole_key_in_the_field_is_answered_by_its_label_alone(issued: Issued, dana_client: Client) -> None:
    page: Any = dana_client.post(PAGE, {"label": f"Bearer {issued.text}"})
    assert [row.api_key.pk for row, _ in page.context["rows"]] == [issued.row.pk]
    assert (page.context["labels"], issued.text[-20:] in page.text) == (issued.row.label, False)


@pytest.mark.parametrize("asked", ["{text}", "Api-Key {text}", 'auth="{text}"', "{text:.8}…"])
def test_imported_key_is_found_and_no_more_than_its_label_comes_back(
    bob: Person, bob_client: Client, team: Team, asked: str
) -> None:
    text = f"{secrets.token_hex(4)}.{secrets.token_hex(20)}"
    _import(bob, team, text, length=8)
    _import(bob, team, secrets.token_hex(20), length=15)
    foreign.forget_all()
    page: Any = bob_client.post(PAGE, {"label": asked.format(text=text)})
    assert [row.api_key.label for row, _ in page.context["rows"]] == [text[:8]]
    assert (page.context["labels"], page.context["unknown"]) == (text[:8], [])
    assert page.context["prefix_lengths"] == "15 8"
    assert text[8:16] not in page.text


@pytest.mark.parametrize("is_some_imported", [True, False])
def test_unknown_word_does_not_come_back(bob: Person, bob_client: Client, team: Team, is_some_imported: bool) -> None:
    if is_some_imported:
        _import(bob, team, secrets.token_hex(20), length=8)
    foreign.forget_all()
    unknown = f"{secrets.token_hex(4)}.{secrets.token_hex(20)}"
    page: Any = bob_client.post(PAGE, {"label": unknown})
    assert (page.status_code, page.context["rows"]) == (200, [])
    assert "No key of yours" in page.text
    assert unknown[:8] not in page.text


def _import(bob: Person, team: Team, text: str, *, length: int) -> None:
    incoming = actions.Incoming(
        where="line 2",
        source="csv",
        prefix=text[:length],
        digest=digests.of_text(text),
        name="nightly-export",
        principal=bob.principal,
        place=team,
        environment="live",
        permissions=("scan:read",),
        created_at=NOON,
        expires_at=None,
    )
    actions.import_keys(organization=team.organization, keys=[incoming], at=NOON)


SHAPES = ("ospr_{prefix}{secret}", "tos_{prefix}_{secret}", "onv_{kind}_{env}_{prefix}{secret} sk,pk,org")


@pytest.mark.parametrize("shape", [Shape(), Shape("ospr_{prefix}{secret}"), Shape("tos_{prefix}_{secret}")])
def test_label_is_found_in_a_log_line_and_its_secret_is_not(settings: Settings, shape: Shape) -> None:
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = list(SHAPES)
    key = keyformat.mint(shape, kind_label="sk", environment="live")
    line = f'{{"auth": "Bearer {key.reveal()}", "path": "/v1?x=1"}}'
    assert re.findall(whose.label_regex(), line) == [key.label]
    assert re.findall(whose.label_regex(), f"prefix={key.label}…") == [key.label]


def test_expression_is_of_every_accepted_shape(settings: Settings) -> None:
    settings.KEYPORTAL_EARLIER_KEY_SHAPES = list(SHAPES)
    heads = [head for shape in shapes.accepted() for head in shape.heads()]
    assert all(head in whose.label_regex() for head in heads)
    assert re.fullmatch(whose.label_regex(), whose.example_label())
