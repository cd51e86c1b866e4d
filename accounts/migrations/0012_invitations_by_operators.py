"""Let an invitation be the operator's, who has no account."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def withdraw_those_of_operators(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("accounts", "Invitation").objects.filter(invited_by=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_outgoing_mail"),
    ]

    operations = [
        migrations.AlterField(
            model_name="invitation",
            name="invited_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, withdraw_those_of_operators),
    ]
