from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from apikeys.models.terms import terms_of


def fill(apps: Any, _schema_editor: Any) -> None:
    """Have the keys found that are there already."""
    api_key, key_term = apps.get_model("apikeys", "ApiKey"), apps.get_model("apikeys", "KeyTerm")
    rows = api_key.objects.only("name", "prefix", "label", "permissions", "organization_id").order_by("pk")
    some = list(rows[:500])
    while some:
        key_term.objects.bulk_create(
            key_term(key_id=row.pk, organization_id=row.organization_id, term=term)
            for row in some
            for term in sorted(terms_of(row))
        )
        some = list(rows.filter(pk__gt=some[-1].pk)[:500])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_service_accounts"),
        ("apikeys", "0006_index_of_kinds"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyTerm",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "key", "term", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "key",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="terms",
                        to="apikeys.apikey",
                    ),
                ),
                ("term", models.BinaryField(max_length=200)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="keyterm",
            index=models.Index(fields=["organization", "term", "key"], name="key_term_found_by"),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(fields=["organization", "scope"], name="api_key_by_scope"),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(fields=["organization", "created_at"], name="api_key_by_creation"),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("retires_at", None), ("revoked_at", None)),
                fields=["organization", "expires_at"],
                name="api_key_running",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("retires_at__isnull", False), ("revoked_at", None)),
                fields=["organization", "retires_at"],
                name="api_key_retiring",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("revoked_at__isnull", False)),
                fields=["organization", "revoked_at"],
                name="api_key_revoked",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(
                    ("disabled_at__isnull", False),
                    ("exposed_at__isnull", False),
                    ("in_browser_at__isnull", False),
                    _connector="OR",
                ),
                fields=["organization"],
                name="api_key_marked",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("reappeared_at__isnull", False)),
                fields=["reappeared_at"],
                name="api_key_reappeared",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("last_used_at", None)),
                fields=["organization", "created_at"],
                name="api_key_never_used",
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("imported_at__isnull", False), ("last_used_at", None)),
                fields=["organization", "imported_at"],
                name="api_key_unused_import",
            ),
        ),
    ]
