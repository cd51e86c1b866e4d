"""What nobody may forget: that a change is seen by the audit log, and that the log's words are documented."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps

from audit import events
from audit.tracking import TRACKED

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "apikeys", "audit")

# These write, or can, without the signals that the audit log listens to.
SILENT = {
    "abulk_create",
    "abulk_update",
    "aupdate",
    "bulk_create",
    "bulk_update",
    "execute",
    "executemany",
    "raw",
    "update",
    "_raw_delete",
    "_update",
}
# Where they may be called, as `file:function`, and why nothing goes unseen there.
ALLOWED = {
    "accounts/actions/resets.py:reset_password": "That an address was proven is an event of its own.",
    "accounts/migrations/0005_slugs.py:name_organizations": "Names made of names, before anyone has chosen one.",
    "accounts/migrations/0007_auditors_and_archives.py:demote_auditors": "Going back to where there are none.",
    "accounts/migrations/0009_place_invitations.py:place_invitations": "It says of each what its team says already.",
    "apikeys/management/commands/prepare.py:handle": "It lets migrations take their time, and changes no row.",
    "apikeys/management/commands/prepare.py:_one_at_a_time": "It takes a lock, and changes no row.",
    "apikeys/models/queries.py:without_waiting": "It asks SQLite to wait less, and changes no row.",
    "apikeys/models/queries.py:mark_first_use": "It notes a use, of which there is a record.",
    "apikeys/models/queries.py:mark_used": "Its last use is no change to a key; uses have records of their own.",
    "apikeys/models/queries.py:upgrade_digest": "The key stays the same: only the cost of checking it rises.",
    "apikeys/old_tables.py:_columns": "It reads the tables of another system.",
    "apikeys/old_tables.py:_rows": "The same.",
    "apikeys/presented.py:_read_sqlite": "It reads.",
    "apikeys/shared_budgets.py:_exchange": "It speaks to Redis.",
    "apikeys/shared_limits.py:_send": "The same.",
    "accounts/activity.py:note": "When a session was last used is no change to an account.",
    "audit/tracking.py:change_many": "It writes the audit row of each row itself.",
    "apikeys/finding.py:_read": "It reads.",
    "apikeys/models/terms.py:keep_terms": "What a key is found by follows from the key, whose changes are recorded.",
    "audit/pruning.py:take_stock": "It counts rows for SQLite, and changes no row of ours.",
    "audit/uses.py:_is_first_time": "It numbers a batch of uses, which are records themselves.",
    "audit/uses.py:complete_now": "It puts the end of a call into its record.",
    "audit/uses.py:_write_rows": "Uses are records themselves.",
    "audit/uses.py:_upsert": "The same.",
    "apikeys/migrations/0007_finding.py:fill": "What a key is found by follows from the key, and no key changes.",
    "audit/migrations/0002_immutable_rows.py:_run": "It makes the triggers, and changes no row.",
}

# Models whose rows need no audit rows of their own, and why.
UNTRACKED = {
    "audit.AuditEvent": "It is the log.",
    "audit.KeyUse": "It is a record itself.",
    "apikeys.KeyTerm": "It follows from the key.",
    "audit.KeyAddress": "It is a sum of records.",
    "audit.KeyUseHour": "It is a sum of records.",
    "audit.UseWriter": "It keeps records from being written twice.",
    "accounts.Device": "Sign-ins are events; this is how the next one is told from them.",
    "accounts.EmailChange": "It is a wish; the address that comes of it is recorded with its owner.",
    "accounts.OutgoingMail": "What a mail is about is recorded; this is how it gets there.",
    "accounts.Installation": "Its one row is made together with the first organization, which is recorded.",
}

# Columns that are not watched, beside `id` and `created_at`, which the row of the creation has anyway.
UNWATCHED = {
    "accounts.User.last_login": "Sign-ins are events.",
    "accounts.Team.organization_id": "A team never moves, and the place of its row says where it is.",
    "accounts.User.has_short_password": "It says of the password what only whoever chose it should know.",
    "accounts.OrganizationDomain.organization_id": "The place of its row says it.",
    "accounts.Invitation.organization_id": "The place of its row says it.",
    "accounts.Invitation.mailed_token_digest": "As of the other token.",
    "accounts.Invitation.token_digest": "It is made once; only its link's holder knows what it stands for.",
    "accounts.Invitation.invited_by_id": "The actor of the creation.",
    "apikeys.ApiKey.prefix": "Part of the label.",
    "apikeys.ApiKey.imported_at": "The moment of the row of the import.",
    "apikeys.ApiKey.imported_fingerprint": "It is made once, of a digest.",
    "apikeys.ApiKey.digest": "It changes with the label; an upgrade leaves the key the same.",
    "apikeys.ApiKey.last_used_at": "Uses have records of their own.",
    "apikeys.ApiKey.last_used_ip": "Uses have records of their own.",
    "apikeys.ApiKey.issue_id": "It names the form or request that issued the key or replaced its secret.",
}


def silent_calls() -> Iterator[str]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for function, call in calls_in(tree, "module"):
                if is_silent(call):
                    yield f"{path.relative_to(ROOT)}:{function}"


def is_silent(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in SILENT


def calls_in(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        inner = child.name if is_function else function  # type: ignore[attr-defined] # a function has one
        if isinstance(child, ast.Call):
            yield function, child
        yield from calls_in(child, inner)


@pytest.mark.pure
def test_writes_that_send_no_signal_are_allowed_one_by_one() -> None:
    assert set(silent_calls()) == set(ALLOWED)


@pytest.mark.pure
def test_sweep_finds_a_write_wherever_it_hides() -> None:
    source = "class A:\n  def f(self):\n    return [lambda: Key.objects.all().update(a=1)]\nKey.objects.raw()"
    found = [function for function, call in calls_in(ast.parse(source), "module") if is_silent(call)]
    assert found == ["f", "module"]


def test_every_model_is_tracked_or_says_why_not() -> None:
    ours = {model._meta.label for app in APPS for model in apps.get_app_config(app).get_models()}
    assert ours - {model._meta.label for model in TRACKED} == set(UNTRACKED)


def test_tracked_model_has_no_other_class_that_writes_its_rows() -> None:
    """Signals name the class that was saved: a proxy, or a child of its own table, would go unheard."""
    for model in TRACKED:
        assert not [other for other in apps.get_models() if issubclass(other, model) and other is not model]


def test_every_column_is_watched_or_says_why_not() -> None:
    unwatched = {
        f"{model._meta.label}.{field.attname}"
        for model, tracked in TRACKED.items()
        for field in model._meta.concrete_fields
        if model._meta.app_label in APPS and field.attname not in {"id", "created_at", *tracked.fields}
    }
    assert unwatched == set(UNWATCHED)


def test_events_are_documented() -> None:
    document = (ROOT / "docs/audit-events.md").read_text(encoding="utf-8").splitlines()
    table = events.as_table().splitlines()
    # After a change: manage.py shell -c "from audit import events; print(events.as_table())"
    assert document[document.index(table[0]) :] == table
