import django.db.models.deletion
import django.db.models.functions.text
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_profiles"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization", name="logo_initials", field=models.CharField(blank=True, max_length=2)
        ),
        migrations.AddField(
            model_name="organization", name="security_policy", field=models.JSONField(blank=True, default=dict)
        ),
        migrations.AddField(
            model_name="organization",
            name="default_team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounts.team",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="slug",
            field=models.SlugField(default="", db_index=False),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="OrganizationDomain",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=253)),
                ("created_at", models.DateTimeField()),
                ("verified_at", models.DateTimeField(blank=True, null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="domains", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "name"), name="organization_domain_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(verified_at__isnull=False),
                        fields=("name",),
                        name="organization_domain_has_one_owner",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(name=django.db.models.functions.text.Lower("name")),
                        name="organization_domain_is_lower_case",
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="GroupRole",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("provider", models.CharField(max_length=50)),
                ("group", models.CharField(max_length=200)),
                (
                    "role",
                    models.CharField(choices=[("team_admin", "Team admin"), ("developer", "Developer")], max_length=16),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="group_roles", to="accounts.team"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("team", "provider", "group"), name="group_role_unique"),
                    models.CheckConstraint(
                        condition=models.Q(role__in=["team_admin", "developer"]), name="group_role_role"
                    ),
                ]
            },
        ),
        migrations.AddField(
            model_name="teammembership", name="is_from_group", field=models.BooleanField(default=False)
        ),
    ]
