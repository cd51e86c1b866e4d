"""`manage.py remove_factors`: let someone in again who has lost every second factor and all recovery codes."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.actions.factors import remove_all_factors
from accounts.models import User


class Command(BaseCommand):
    help = "Remove a person's second factors and recovery codes. Make sure that it is they who ask."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, email: str, **options: Any) -> None:
        user = User.objects.filter(email=email.strip().lower()).first()
        if user is None:
            raise CommandError(f"Nobody has the address {email}.")
        if not remove_all_factors(user=user, at=timezone.now()):
            raise CommandError(f"{user.email} has no second factor.")
        self.stderr.write(f"{user.email} signs in without a second factor now. They have been told by mail.")
        if user.has_short_password:
            self.stderr.write("Their password has fewer than 15 characters: have them choose a longer one.")
