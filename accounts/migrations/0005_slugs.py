from typing import Any

from django.db import migrations
from django.utils.text import slugify


def name_organizations(apps: Any, _schema_editor: Any) -> None:
    """Give each organization what addresses may call it, made from its name."""
    Organization = apps.get_model("accounts", "Organization")
    taken = set()
    for organization in Organization.objects.order_by("created_at", "id"):
        base = slugify(organization.name)[:40].strip("-") or "organization"
        slug, number = base, 1
        while slug in taken:
            number += 1
            slug = f"{base}-{number}"
        taken.add(slug)
        Organization.objects.filter(pk=organization.pk).update(slug=slug)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_organization_settings"),
    ]

    operations = [
        migrations.RunPython(name_organizations, migrations.RunPython.noop),
    ]
