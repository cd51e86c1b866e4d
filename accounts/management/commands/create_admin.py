"""Make a super admin without a browser."""

import getpass
import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts import actions
from accounts.lookup import one_organization
from accounts.models import Organization, Role, User
from audit.context import happening_in
from keyportal.names import broken_rule


class Command(BaseCommand):
    help = (
        "Create a super admin, or with --existing make an account one. The password is asked for, or read from stdin."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--organization", help="name or id; made if there is none yet; needed if there are several")
        parser.add_argument("--name", default="", help="the person's name")
        parser.add_argument("--existing", action="store_true", help="promote the account that has this address")

    def handle(
        self, *args: Any, email: str, organization: str | None, name: str, existing: bool, **options: Any
    ) -> None:
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"{email} is no email address.") from error
        for text in filter(None, (organization, name)):
            if broken := broken_rule(text):
                raise CommandError(broken)
        user = User.objects.filter(email=email.strip().lower()).first()
        if user and not existing:
            # Whoever was invited may have let someone else choose the password: this must be meant.
            raise CommandError(
                f"{user.email} has had an account since {user.created_at:%Y-%m-%d}. If it is theirs, add --existing."
            )
        password = None if user else self._password(email)
        at = timezone.now()
        with transaction.atomic():
            place = self._organization(organization, at=at)
            with happening_in(place.pk):
                user = user or actions.create_user(email=email, password=password, name=name, at=at)
            actions.add_to_organization(organization=place, user=user, role=Role.SUPER_ADMIN, at=at)
        self.stderr.write(f"{user.email} is a super admin of {place.name}.")

    def _organization(self, named: str | None, *, at: datetime) -> Organization:
        if named and not Organization.objects.exists():
            return actions.create_organization(name=named, at=at)
        return one_organization(named)

    def _password(self, email: str) -> str:
        """Ask twice at a terminal; read one line where something else is at the other end of stdin."""
        if sys.stdin.isatty():
            password = getpass.getpass("Password: ")
            if getpass.getpass("The same again: ") != password:
                raise CommandError("The two passwords differ. Nothing was made; run the command again.")
        else:
            password = sys.stdin.readline().rstrip("\n")
        try:
            validate_password(password, user=User(email=email))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        return password
