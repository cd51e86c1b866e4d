import django.db.models.deletion
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_service_accounts"),
    ]

    operations = [
        migrations.AddField(model_name="user", name="company", field=models.CharField(blank=True, max_length=100)),
        migrations.AddField(
            model_name="user", name="job_title", field=models.CharField(blank=True, max_length=100, verbose_name="role")
        ),
        migrations.AddField(model_name="user", name="time_zone", field=models.CharField(blank=True, max_length=64)),
        migrations.AddField(model_name="user", name="deleted_at", field=models.DateTimeField(blank=True, null=True)),
        migrations.AddField(model_name="user", name="has_short_password", field=models.BooleanField(default=False)),
        migrations.AddField(model_name="user", name="wants_product_updates", field=models.BooleanField(default=False)),
        migrations.AddField(
            model_name="user", name="wants_security_advisories", field=models.BooleanField(default=True)
        ),
        migrations.AddField(model_name="user", name="wants_tips", field=models.BooleanField(default=False)),
        migrations.CreateModel(
            name="Device",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("token_digest", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="devices", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("user", "token_digest"), name="device_unique")]},
        ),
        migrations.CreateModel(
            name="EmailChange",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("new_email", models.EmailField(max_length=254)),
                ("old_token_digest", models.CharField(max_length=64, unique=True)),
                ("new_token_digest", models.CharField(max_length=64, unique=True)),
                ("old_confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("new_confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="email_change",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(expires_at__gt=models.F("created_at")), name="email_change_expires_later"
                    )
                ]
            },
        ),
    ]
