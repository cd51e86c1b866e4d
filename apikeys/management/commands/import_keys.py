"""Bring keys along from another system, and tell which of them nobody uses any more."""

import csv
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from django.utils import timezone

from accounts.lookup import one_organization, one_project, one_team, one_user
from accounts.models import Organization, OrganizationMembership, Project, Role, Team
from accounts.principals import Principal, principal_of
from apikeys import actions, digests, incoming, old_tables
from apikeys.foreign import LOOK_EVERY_SECONDS, SOURCES
from apikeys.incoming import OldKey, Reading
from apikeys.models import ApiKey
from keyportal import names

COLUMNS = ("label", "name", "imported_from", "imported_at", "created_at", "expires_at", "state", "issuer", "place")


class Command(BaseCommand):
    help = (
        "Take over keys from djangorestframework-api-key, django-rest-knox, the authtoken of Django REST framework, or "
        "a CSV file. They go on working as they are. With --report, list those that nobody has used since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", nargs="?", choices=SOURCES, help="what the keys are from")
        parser.add_argument("file", nargs="?", metavar="FILE", help="the CSV file; - is stdin")
        parser.add_argument("--database-url", help="the old database, like sqlite:///old.sqlite3 or postgresql://…")
        parser.add_argument("--database-url-file", metavar="FILE", help="a file that holds that address")
        parser.add_argument("--table", default="", help="the table, if it is not the package's usual one")
        parser.add_argument("--user-table", default=old_tables.USER_TABLE, help="the table of the tokens' users")
        parser.add_argument(
            "--algorithm", choices=digests.HEX_LENGTHS, default="sha512", help="knox's SECURE_HASH_ALGORITHM"
        )
        parser.add_argument("--organization", help="name or id; may be left out while there is only one")
        parser.add_argument("--scope", choices=ApiKey.Scope.values, help="of keys whose row names none")
        parser.add_argument("--team", help="name or id, with --scope team")
        parser.add_argument("--project", help="name or id, with --scope project")
        parser.add_argument("--environment", choices=ApiKey.Environment.values, default=ApiKey.Environment.LIVE.value)
        parser.add_argument("--permissions", default="", help="names joined by commas; * is whatever the role allows")
        parser.add_argument("--issuer", help="who stands behind the keys; by default the first super admin")
        parser.add_argument(
            "--match-owners", action="store_true", help="let the member with a token's user's address stand behind it"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")
        parser.add_argument("--report", action="store_true", help="list imported keys that were never used since")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = one_organization(options["organization"])
        if options["report"]:
            self._report(organization, timezone.now())
        else:
            self._import(organization, options, timezone.now())

    def _import(self, organization: Organization, options: dict[str, Any], at: datetime) -> None:
        reading = _read(options)
        setting = _Setting(organization, options, at)
        keys: list[actions.Incoming] = []
        reasons = dict(reading.reasons)
        for key in reading.keys:
            try:
                keys.append(setting.incoming(key))
            except CommandError as error:
                reasons[key.where] = str(error)
        try:
            imported = actions.import_keys(
                organization=organization, keys=keys, at=at, is_trial=bool(reasons) or options["dry_run"]
            )
        except actions.NotImportable as error:
            reasons |= error.reasons
        except IntegrityError as error:
            raise CommandError("Someone else wrote one of these keys meanwhile. Nothing was imported.") from error
        if reasons:
            self._refuse(reasons, len(reading.keys) + len(reading.reasons))
        verb = "would be" if options["dry_run"] else "were"
        self.stderr.write(
            f"{len(imported.new)} keys {verb} imported into {organization} from {options['source']}; "
            f"{imported.known} were there already."
        )
        if imported.new and not options["dry_run"]:
            self.stderr.write(f"They work in every running process within {LOOK_EVERY_SECONDS:.0f} seconds.")

    def _refuse(self, reasons: Mapping[str, str], rows: int) -> None:
        for where, reason in reasons.items():
            self.stderr.write(f"{where}: {reason}")
        raise CommandError(f"Nothing was imported: {len(reasons)} of {rows} rows cannot be.")

    def _report(self, organization: Organization, at: datetime) -> None:
        imported = ApiKey.objects.imported().filter(organization=organization)
        unseen = imported.filter(last_used_at=None).with_places().order_by("imported_at", "label")
        rows = csv.writer(self.stdout, lineterminator="\n")
        rows.writerow(COLUMNS)
        count = 0
        for count, api_key in enumerate(unseen.iterator(), start=1):  # noqa: B007 - it is told below
            rows.writerow([_cell(value) for value in _facts(api_key, at)])
        self.stderr.write(f"{count} of {imported.count()} imported keys were not used since they were imported.")


class _Setting:
    """What the options say of keys whose rows do not, looked up once for each value that comes."""

    def __init__(self, organization: Organization, options: Mapping[str, Any], at: datetime) -> None:
        self.organization, self.options, self.at = organization, options, at
        self.principal = cache(self._principal)
        self.place = cache(self._place)

    def incoming(self, key: OldKey) -> actions.Incoming:
        """:raises CommandError: if something that the row names is not there."""
        owner = key.owner if key.source == "csv" or self.options["match_owners"] else ""
        place = (key.scope, key.team, key.project) if key.scope else self.usual_place
        return actions.Incoming(
            where=key.where,
            source=key.source,
            prefix=key.prefix,
            digest=key.digest,
            name=_name(key.name or f"{key.source} {key.prefix}"),
            principal=self.principal(owner or self.options["issuer"] or ""),
            place=self.place(*place),
            environment=_environment(key.environment or self.options["environment"]),
            permissions=key.permissions or self.usual_permissions,
            created_at=key.created_at or self.at,
            expires_at=key.expires_at,
            is_revoked=key.is_revoked,
            is_disabled=key.is_disabled,
        )

    @property
    def usual_permissions(self) -> tuple[str, ...]:
        given = tuple(name.strip() for name in self.options["permissions"].split(",") if name.strip())
        if not given:
            raise CommandError("it names no permissions; say with --permissions what such keys may do")
        return given

    @property
    def usual_place(self) -> tuple[str, str, str]:
        if not self.options["scope"]:
            raise CommandError("it names no scope; say with --scope what such keys are for")
        return self.options["scope"], self.options["team"] or "", self.options["project"] or ""

    def _principal(self, email: str) -> Principal:
        members = OrganizationMembership.objects.filter(organization=self.organization).select_related("user")
        if email:
            member = members.filter(user=one_user(email)).first()
        else:
            member = members.filter(role=Role.SUPER_ADMIN).order_by("created_at", "id").first()
        if member is None:
            missing = f"{email} is not in" if email else "there is no super admin in"
            raise CommandError(f"{missing} {self.organization}; name another issuer")
        return principal_of(member)

    def _place(self, scope: str, team: str, project: str) -> Organization | Team | Project:
        if scope not in ApiKey.Scope.values or (bool(team), bool(project)) != (scope == "team", scope == "project"):
            raise CommandError("a key is for the org alone, for one team, or for one project")
        if scope == "team":
            return one_team(self.organization, team)
        return one_project(self.organization, project) if scope == "project" else self.organization


def _read(options: Mapping[str, Any]) -> Reading:
    source = options["source"]
    if source is None:
        raise CommandError(f"Say what the keys are from: {', '.join(SOURCES)}; or --report.")
    url = _database_url(options)
    if (source == "csv") != bool(options["file"]) or (source == "csv") == bool(url):
        raise CommandError("csv needs a file; the others need --database-url or --database-url-file.")
    try:
        if source == "csv":
            return _read_file(options["file"])
        return old_tables.read_tables(
            source,
            url,
            table=options["table"],
            user_table=options["user_table"],
            algorithm=options["algorithm"],
        )
    except (incoming.UnreadableFile, old_tables.UnreadableDatabase) as error:
        raise CommandError(str(error)) from error


def _database_url(options: Mapping[str, Any]) -> str:
    if options["database_url"] and options["database_url_file"]:
        raise CommandError("Give the old database's address once.")
    path = options["database_url_file"]
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else options["database_url"] or ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read.") from error


def _read_file(path: str) -> Reading:
    if path == "-":
        return incoming.read_csv(sys.stdin)
    try:
        # What a spreadsheet wrote may begin with a byte order mark.
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            return incoming.read_csv(lines)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error


def _name(text: str) -> str:
    if broken := names.broken_rule(text):
        raise CommandError(broken)
    return text.strip()


def _environment(text: str) -> str:
    if text not in ApiKey.Environment.values:
        raise CommandError(f"the environment is one of {', '.join(ApiKey.Environment.values)}")
    return text


def _facts(api_key: ApiKey, at: datetime) -> tuple[object, ...]:
    return (
        api_key.label,
        api_key.name,
        api_key.imported_from,
        api_key.imported_at,
        api_key.created_at,
        api_key.expires_at,
        api_key.state_at(at),
        api_key.issuer.email,
        api_key.place,
    )


def _cell(value: object) -> str:
    """Return what a spreadsheet shall show as it is, and never take for a formula (OWASP, CSV injection)."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
