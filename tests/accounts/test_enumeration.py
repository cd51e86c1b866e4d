"""Nothing reveals whether an address has an account: no text, no status, no header, and no work that takes time."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import actions
from accounts.mailing import outbox
from accounts.models import Invitation, OutgoingMail, Role, Team, User
from tests.accounts.scenes import event_names, invited, last_event, without_password
from tests.cast import NOON, PASSWORD, Person

WRONG = "not the password of anybody"
# As long as alice's, and nobody's.
NOBODY = "molly@example.com"
JOIN = "/invitations/"
# The id of the request, and the second in which it was answered.
VARYING = {"X-Request-Id", "Expires"}
Typed = Callable[[Client, str], Any]


def sign_in(client: Client, email: str) -> Any:
    return client.post("/account/sign-in/", {"login": email, "password": WRONG})


def ask_for_reset(client: Client, email: str) -> Any:
    return client.post("/account/password/reset/", {"email": email})


def ask_for_token(client: Client, email: str) -> Any:
    return client.post("/v1/auth/token", {"email": email, "password": WRONG}, "application/json")


@contextmanager
def counted_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note each run of the hash, whichever way round it is used."""
    runs: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: Any, password: str, *args: Any) -> str:
        runs.append("hash")
        return encode(self, password, *args)

    with monkeypatch.context() as patch:
        patch.setattr(MD5PasswordHasher, "encode", counted)
        yield runs


def plain(response: Any, email: str) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body without what differs from one request to the next anyway."""
    headers = {name: value for name, value in response.headers.items() if name not in VARYING}
    body = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", response.content.decode()).replace(email, "<email>")
    body = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", body)
    return response.status_code, headers, body


def work_of(act: Typed, email: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Return how often a request hashed, and the statements that it sent, but for those of savepoints."""
    cache.clear()
    with counted_hashes(monkeypatch) as runs, CaptureQueriesContext(connection) as captured:
        act(Client(), email)
    statements = [re.sub(r"'[^']*'|\b[0-9a-f]{32}\b|\d+", "?", query["sql"]) for query in captured]
    verbs = [text.split(" ")[:3] for text in statements if "SAVEPOINT" not in text]
    return len(runs), sorted(" ".join(verb) for verb in verbs)


def closed(person: Person) -> None:
    User.objects.filter(pk=person.user.pk).update(is_active=False)


def verified(person: Person) -> None:
    EmailAddress.objects.filter(user=person.user).update(verified=True)


def as_it_is(_person: Person) -> None:
    pass


STATES = [as_it_is, verified, closed, without_password]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", [sign_in, ask_for_reset, ask_for_token])
def test_answer_is_the_same_to_the_byte(alice: Person, act: Typed, state: Callable[[Person], None]) -> None:
    state(alice)
    known, unknown = act(Client(), alice.email), act(Client(), NOBODY)
    assert plain(known, alice.email) == plain(unknown, NOBODY)
    assert {*known.cookies} == {*unknown.cookies}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", [sign_in, ask_for_reset, ask_for_token])
def test_work_is_the_same(
    alice: Person, act: Typed, state: Callable[[Person], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    state(alice)
    hashes, known = work_of(act, alice.email, monkeypatch)
    assert (hashes, known) == work_of(act, NOBODY, monkeypatch)
    assert hashes == (0 if act is ask_for_reset else 1)


@pytest.mark.parametrize("act", [sign_in, ask_for_reset, ask_for_token])
def test_throttle_closes_alike_and_says_the_same(alice: Person, act: Typed) -> None:
    answers = {}
    for email in (alice.email, NOBODY):
        cache.clear()
        answers[email] = [plain(act(Client(), email), email) for _ in range(7)]
    assert answers[alice.email] == answers[NOBODY]
    assert [status for status, _, _ in answers[NOBODY]][-1] == 429
    assert answers[NOBODY][-1][1]["Retry-After"] == "300"


def test_reset_of_nobody_mails_nothing_and_is_on_record(alice: Person) -> None:
    ask_for_reset(Client(), NOBODY)
    assert not OutgoingMail.objects.exists()
    event = last_event()
    assert (event["event"], event["target_id"], event["target_label"]) == ("user.password_reset_requested", "", "")
    ask_for_reset(Client(), alice.email)
    assert [*OutgoingMail.objects.values_list("recipient", flat=True)] == [alice.email]
    event = last_event()
    assert (event["target_label"], event["organization_id"]) == (alice.email, alice.membership.organization_id)


def test_reset_renders_a_mail_for_nobody_too(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []
    put = outbox.put

    def watched(name: str, **told: Any) -> OutgoingMail:
        rendered.append(name)
        return put(name, **told)

    monkeypatch.setattr(outbox, "put", watched)
    for email in (alice.email, NOBODY):
        ask_for_reset(Client(), email)
    assert rendered == ["password_reset"] * 2


# Invitations whose link was handed over


@pytest.fixture
def invitation_of(bob: Person, team: Team) -> Callable[[str], str]:
    """Return the link to hand over of an invitation for an address."""

    def link(email: str) -> str:
        return f"/invitations/{invited(bob, team, email)[1]}/"

    return link


@pytest.fixture
def erin(db: None) -> User:
    return actions.create_user(email="erin@example.com", password=PASSWORD, name="Erin", at=NOON)


def register(link: str) -> Any:
    client = Client()
    client.get(link)
    client.followed = client.post(JOIN, {"name": "Mallory", "password": WRONG})  # type: ignore[attr-defined] # the test keeps it there
    return client


@pytest.mark.parametrize("email", ["erin@example.com", "eric@example.com"])
def test_registering_with_a_handed_over_link_answers_one_thing(
    erin: User, invitation_of: Callable[[str], str], email: str
) -> None:
    client = register(invitation_of(email))
    answer = client.followed
    assert (answer.status_code, answer["Location"]) == (302, "/account/sign-in/?next=/invitations/")
    assert "_auth_user_id" not in client.session
    page = client.get(answer["Location"]).content.decode()
    assert "If this address was new, its account is ready. Sign in to go on." in page
    assert User.objects.filter(email=email).count() == 1
    assert Invitation.objects.get(email=email).accepted_at is None


def test_sign_in_after_registering_knows_the_address_of_the_invitation(invitation_of: Callable[[str], str]) -> None:
    client = register(invitation_of("eric@example.com"))
    assert 'value="eric@example.com"' in client.get(client.followed["Location"]).content.decode()
    # Whoever comes to the same browser from elsewhere may be somebody else.
    assert "eric@example.com" not in client.get("/account/sign-in/").content.decode()


def test_registering_with_a_handed_over_link_is_the_same_to_the_byte(
    erin: User, invitation_of: Callable[[str], str]
) -> None:
    pages = []
    for email in ("erin@example.com", "eric@example.com"):
        client = register(invitation_of(email))
        shown = client.get(client.followed["Location"])
        again = client.get(JOIN)
        pages.append([plain(page, email) for page in (client.followed, shown, again)])
    assert pages[0] == pages[1]


def test_registering_with_a_handed_over_link_takes_the_same_work(
    erin: User, invitation_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    links = {email: invitation_of(email) for email in ("erin@example.com", "eric@example.com")}

    def act(_client: Client, email: str) -> Any:
        return register(links[email])

    known, unknown = (work_of(act, email, monkeypatch) for email in links)
    assert known == unknown
    assert known[0] == 1


def test_registering_with_a_handed_over_link_changes_nothing_of_an_account(
    erin: User, invitation_of: Callable[[str], str]
) -> None:
    link = invitation_of(erin.email)
    before, events = User.objects.values().get(pk=erin.pk), event_names()
    register(link)
    assert User.objects.values().get(pk=erin.pk) == before
    assert event_names() == events
    assert User.objects.filter(email__endswith="@invalid").count() == 0


def test_account_of_a_handed_over_link_signs_in_and_then_takes_its_place(
    invitation_of: Callable[[str], str], team: Team
) -> None:
    client = register(invitation_of("eric@example.com"))
    user = User.objects.get(email="eric@example.com")
    assert not EmailAddress.objects.get(user=user).verified
    assert not user.memberships.exists()
    signed_in = client.post(
        "/account/sign-in/", {"login": user.email, "password": WRONG, "next": "/invitations/"}, follow=True
    )
    assert "Join team" in signed_in.content.decode()
    assert client.post(JOIN)["Location"] == "/"
    assert user.memberships.get().team_roles == {team.pk: Role.DEVELOPER}


def test_registering_is_throttled_by_address(invitation_of: Callable[[str], str]) -> None:
    client = Client()
    client.get(invitation_of("eric@example.com"))
    statuses = [client.post(JOIN, {"name": "Eric", "password": "short"}).status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]


# How long it takes, measured


@pytest.mark.parametrize("act", [sign_in, ask_for_reset])
def test_time_is_of_the_same_size(alice: Person, act: Typed) -> None:
    """A wide bound, which a missing hash or mail would break, and a busy machine does not."""
    taken: dict[str, list[float]] = {alice.email: [], NOBODY: []}
    for _ in range(15):
        for email, times in taken.items():
            cache.clear()
            started = perf_counter()
            act(Client(), email)
            times.append(perf_counter() - started)
    known, unknown = median(taken[alice.email]), median(taken[NOBODY])
    assert max(known, unknown) < 1.6 * min(known, unknown)
