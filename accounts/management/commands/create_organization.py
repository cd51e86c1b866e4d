"""Make another organization, with its first super admin."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.utils import timezone

from accounts.actions.organizations import found_organization
from accounts.mailing import outbox
from keyportal.names import broken_rule


class Command(BaseCommand):
    help = (
        "Create another organization. Whoever has an account with the address of --admin becomes its super admin; "
        "anyone else is invited, by mail and by the link that this prints."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--admin", required=True, metavar="EMAIL", help="address of its first super admin")

    def handle(self, *args: Any, name: str, admin: str, **options: Any) -> None:
        try:
            validate_email(admin)
        except ValidationError as error:
            raise CommandError(f"{admin} is no email address.") from error
        if broken := broken_rule(name):
            raise CommandError(broken)
        organization, token = found_organization(name=name, email=admin, at=timezone.now())
        email = admin.strip().lower()
        if not token:
            self.stderr.write(f"{email} is the super admin of {organization.name} ({organization.slug}).")
            return
        self.stderr.write(f"{organization.name} ({organization.slug}) is there. {email} is invited, by this link too:")
        self.stdout.write(outbox.link("invitation-open", token))
