"""Say that a mail domain is an organization's, once that was checked."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.actions import security
from accounts.lookup import one_organization
from accounts.models import Organization
from accounts.security import normal_domain


class Command(BaseCommand):
    help = (
        "Verify a mail domain that an organization's super admin has named: whoever has an address of it, and signs in "
        "through a provider that vouches for that, joins the organization's default team from now on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="slug, id or name")
        parser.add_argument("domain", help="such as example.com")

    def handle(self, *args: Any, organization: str, domain: str, **options: Any) -> None:
        place = Organization.objects.filter(slug=organization).first() or one_organization(organization)
        try:
            name = normal_domain(domain)
            security.verify_domain(organization=place, name=name, at=timezone.now())
        except ValueError as error:
            raise CommandError(str(error)) from error
        except security.DomainNotClaimed as error:
            raise CommandError(
                f"{place.name} has not named {name}. A super admin adds it under Settings → Security first."
            ) from error
        except security.DomainTaken as error:
            raise CommandError(f"{name} was verified for another organization, which has to give it up.") from error
        self.stderr.write(f"{name} is verified for {place.name}.")
