"""Write to everyone who asked for mail about a topic."""

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import topics
from accounts.mailing import outbox
from accounts.models import User
from accounts.topics import Topic
from keyportal.names import broken_rule

# Written in one transaction, so that nothing else waits long for the database.
AT_ONCE = 100
# So far apart, so that what is urgent is sent between them.
APART = timedelta(milliseconds=200)
LONGEST_TEXT = 100_000


class Command(BaseCommand):
    help = (
        "Write to everyone who asked for mail about a topic. Each mail says how to stop it, with one click. "
        "The serving processes send them, five a second."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--topic", required=True, choices=list(topics.BY_SLUG), help="what it is about")
        parser.add_argument("--subject", required=True, help="one line")
        parser.add_argument(
            "--text-file", required=True, type=Path, help="plain text in UTF-8, an empty line between paragraphs"
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many would get it, and write nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, topic: str, subject: str, text_file: Path, **options: Any) -> None:
        chosen, text = topics.BY_SLUG[topic], _read(text_file)
        if broken := broken_rule(subject, "The subject has 1 to 100 characters, and none that cannot be seen."):
            raise CommandError(broken)
        wanting = User.objects.filter(**{chosen.field: True}, is_active=True, deleted_at=None)
        ids = list(wanting.order_by("pk").values_list("pk", flat=True))
        counted = "1 person asks" if len(ids) == 1 else f"{len(ids)} people ask"
        self.stdout.write(f"{counted} for mail about “{chosen.title}”.")
        if options["dry_run"] or not ids:
            self.stdout.write("Nothing was written.")
            return
        if not options["yes"] and input("Write to all of them? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was written.")
        self.stdout.write(f"Written to {_write(ids, chosen, subject.strip(), text)}.")


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as text: {error}") from error
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise CommandError(f"The text has 1 to {LONGEST_TEXT:,} characters.")
    return text


def _write(ids: list[Any], topic: Topic, subject: str, text: str) -> int:
    """Write to those who still want it; return how many that are."""
    begun_at, written = timezone.now(), 0
    for start in range(0, len(ids), AT_ONCE):
        with transaction.atomic():
            some = User.objects.filter(pk__in=ids[start : start + AT_ONCE], **{topic.field: True})
            for user in some.order_by("pk"):
                stop = topics.unsubscribe_link(user, topic)
                told = {"subject": subject, "text": text, "topic": topic.title, "unsubscribe_link": stop}
                outbox.put(
                    "announcement",
                    to=user,
                    context=told | {"link": outbox.link("account-preferences")},
                    at=begun_at + written * APART,
                    # RFC 8058 §3.1
                    headers={"List-Unsubscribe": f"<{stop}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
                )
                written += 1
    return written
