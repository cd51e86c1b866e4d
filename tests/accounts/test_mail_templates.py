"""Every mail: both forms, one line of subject, no host but ours, nothing that a name could break."""

import email
import re
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from accounts.mailing import outbox, sending
from accounts.mailing.content import Content, sealed, unsealed
from accounts.models import OutgoingMail, User
from keyportal.encryption import Unreadable
from tests.accounts.letters import BAD_NAME, NOON, samples
from tests.services import ROOT

FOLDER = ROOT / "templates" / "mail"
FRAME = {"base", "_button"}
NAMES = sorted({path.stem for path in FOLDER.iterdir()} - FRAME)


def rendered(name: str, **told: Any) -> Content:
    return outbox.render(name, {"portal_url": settings.KEYPORTAL_URL, **samples()[name], **told})


def sent(content: Content, recipient: str = "dana@example.com") -> EmailMessage:
    """Return a mail as its reader's program reads it."""
    mail = OutgoingMail(pk=UUID(int=7), recipient=recipient)
    message = email.message_from_bytes(sending.message(mail, content).message().as_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    return message


class Page(HTMLParser):
    """What an HTML mail holds: its text, its elements, and where it leads or loads from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in {"href", "src", "action"}]
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_mail_has_both_forms_and_an_example() -> None:
    assert set(NAMES) == set(samples())
    for name in NAMES:
        assert (FOLDER / f"{name}.txt").is_file()
        assert (FOLDER / f"{name}.html").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_mail_is_plain_text_and_html_that_say_the_same(name: str) -> None:
    message = sent(rendered(name))
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    page = Page(html.get_content())
    assert message["Subject"] in page.text
    assert "<" not in re.sub(r"<thing>", "", text.get_content())
    # Whatever the one links to, the other names too.
    assert {address for address in page.addresses if address} <= set(re.findall(r"https?://\S+", text.get_content()))
    for word in ("{{", "{%", "None", "needs:"):
        assert word not in text.get_content() + page.text


@pytest.mark.parametrize("name", NAMES)
def test_mail_leads_nowhere_but_to_the_portal(name: str) -> None:
    content = rendered(name)
    named = re.findall(r"https?://[^\s\"'<>]+", content.text + content.html)
    assert named
    assert all(address.startswith(settings.KEYPORTAL_URL) for address in named)
    page = Page(content.html)
    assert all(address and address.startswith(settings.KEYPORTAL_URL) for address in page.addresses)
    assert not {"img", "script", "link", "iframe", "form"} & set(page.tags)
    assert "url(" not in content.html


@pytest.mark.parametrize("name", NAMES)
def test_name_changes_neither_headers_nor_elements(name: str) -> None:
    told = samples(BAD_NAME)[name]
    good, bad = rendered(name), outbox.render(name, {"portal_url": settings.KEYPORTAL_URL, **told})
    assert len(bad.subject.splitlines()) == 1
    message = sent(bad)
    assert message["Bcc"] is None
    assert message.keys() == sent(good).keys()
    # `text|linebreaks` of an announcement is the operator's own, and has no name in it.
    assert Page(bad.html).tags == Page(good.html).tags


@pytest.mark.parametrize("name", NAMES)
def test_mail_is_known_again_and_answered_by_no_machine(name: str) -> None:
    message = sent(rendered(name))
    assert message["Message-ID"] == f"<{UUID(int=7)}@127.0.0.1>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == settings.DEFAULT_FROM_EMAIL
    assert message["List-Unsubscribe"] is None


def test_subject_is_cut_where_nobody_reads_on() -> None:
    assert len(rendered("announcement", subject="x" * 500).subject) == outbox.SUBJECT_LENGTH


def test_times_are_told_where_the_reader_is() -> None:
    user = User(email="dana@example.com", time_zone="Asia/Tokyo")
    told = {"portal_url": settings.KEYPORTAL_URL, **samples()["password_changed"]}
    assert "2 March 2026, 21:00 JST" in outbox.render("password_changed", told, user=user).text
    assert "2 March 2026, 12:00 UTC" in outbox.render("password_changed", told).text


def test_reset_says_for_how_long_its_link_is_good() -> None:
    mail = rendered("password_reset")
    assert ["within 60 minutes" in said for said in (mail.text, mail.html)] == [True, True]


def test_put_keeps_what_it_says_for_whoever_knows_the_secret(db: None, settings: Any) -> None:
    mail = outbox.put("password_reset", to="dana@example.com", context=samples()["password_reset"], at=NOON)
    row = OutgoingMail.objects.get()
    assert "somewhere" not in row.content
    assert "/somewhere/" in unsealed(row.content).text
    assert "somewhere" not in repr(unsealed(row.content))
    assert (row.pk, row.recipient, row.user, row.due_at) == (mail.pk, "dana@example.com", None, NOON)
    settings.SECRET_KEY = "another"
    with pytest.raises(Unreadable):
        unsealed(row.content)


def test_content_survives_being_sealed() -> None:
    content = Content("Grüße", "a\nb\n", "<p>…</p>", {"List-Unsubscribe": "<x>"})
    assert unsealed(sealed(content)) == content
