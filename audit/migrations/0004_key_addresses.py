from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_key_uses"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key_id", models.UUIDField()),
                ("organization_id", models.UUIDField()),
                ("place", models.BinaryField(max_length=16)),
                ("address", models.GenericIPAddressField()),
                ("first_seen", models.DateTimeField()),
                ("last_seen", models.DateTimeField()),
                ("uses", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "db_table": "audit_key_address",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["organization_id", "place", "key_id"], name="audit_key_address_by_place")
                ],
                "constraints": [models.UniqueConstraint(fields=("key_id", "place"), name="audit_key_address_once")],
            },
        ),
    ]
