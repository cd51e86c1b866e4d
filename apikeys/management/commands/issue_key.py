"""Issue a key without a browser."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.lookup import one_organization, one_project, one_team, one_user
from accounts.models import Organization, OrganizationMembership, Project, Role, Team
from accounts.principals import Principal, principal_of
from apikeys import actions
from apikeys.models import ApiKey
from apikeys.rules import rules_of
from keyportal import names


class Command(BaseCommand):
    help = "Issue a key. The key alone goes to stdout, once; everything else goes to stderr."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="what uses the key")
        parser.add_argument("--scope", required=True, choices=ApiKey.Scope.values)
        parser.add_argument(
            "--permissions", required=True, help="names joined by commas; * is whatever the role allows"
        )
        parser.add_argument("--organization", help="name or id; may be left out while there is only one")
        parser.add_argument("--team", help="name or id, with --scope team")
        parser.add_argument("--project", help="name or id, with --scope project")
        parser.add_argument("--environment", choices=ApiKey.Environment.values, default=ApiKey.Environment.LIVE)
        parser.add_argument("--expires-in-days", type=int, help="1 to 1825; without it the key never expires")
        parser.add_argument("--issuer", help="whose role the key carries; by default the first super admin")

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        organization = one_organization(options["organization"])
        principal = _issuer(organization, options["issuer"])
        try:
            api_key, key = actions.issue_key(
                principal=principal,
                name=_name(options["name"]),
                place=_place(organization, options),
                environment=options["environment"],
                permissions=_permissions(organization, options["permissions"]),
                expires_at=_expires_at(options["expires_in_days"], at),
                at=at,
            )
        except actions.ScopeNotAllowed as error:
            raise CommandError(f"{principal.user_label} may not issue keys of this scope there.") from error
        except actions.PermissionNotGrantable as error:
            raise CommandError(f"{principal.user_label} may not grant: {', '.join(error.names)}.") from error
        ends = f"It ends on {api_key.expires_at:%Y-%m-%d}" if api_key.expires_at else "It never expires"
        self.stderr.write(f"Issued {api_key.label} for {api_key.place}. {ends}. It is shown this once, on stdout:")
        self.stdout.write(key.reveal())


def _name(text: str) -> str:
    if broken := names.broken_rule(text):
        raise CommandError(broken)
    return text


def _issuer(organization: Organization, email: str | None) -> Principal:
    memberships = OrganizationMembership.objects.filter(organization=organization).select_related("user")
    if email:
        membership = memberships.filter(user=one_user(email)).first()
    else:
        membership = memberships.filter(role=Role.SUPER_ADMIN).order_by("created_at", "id").first()
    if membership is None:
        missing = f"{email} is not in" if email else "There is no super admin in"
        raise CommandError(f"{missing} {organization}. Name another issuer with --issuer.")
    return principal_of(membership)


def _place(organization: Organization, options: dict[str, Any]) -> Organization | Team | Project:
    scope = options["scope"]
    for option in ("team", "project"):
        if (options[option] is not None) != (scope == option):
            verb = "needs" if scope == option else "does not take"
            raise CommandError(f"--scope {scope} {verb} --{option}.")
    if scope == "team":
        return one_team(organization, options["team"])
    return one_project(organization, options["project"]) if scope == "project" else organization


def _permissions(organization: Organization, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    catalogue = rules_of(organization.pk).catalogue
    if unknown := catalogue.unknown(names):
        known = ", ".join(catalogue.by_name)
        raise CommandError(f"There is no permission {', '.join(unknown)}. There are: {known}, and *.")
    if not names:
        raise CommandError("A key needs at least one permission.")
    return names


def _expires_at(days: int | None, at: datetime) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= actions.MAX_EXPIRES_IN_DAYS:
        raise CommandError(f"--expires-in-days goes from 1 to {actions.MAX_EXPIRES_IN_DAYS}.")
    return at + timedelta(days=days)
