from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("organization_id", models.UUIDField(null=True)),
                ("team_id", models.UUIDField(null=True)),
                ("project_id", models.UUIDField(null=True)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("user", "User"),
                            ("api_key", "API key"),
                            ("service_account", "Service account"),
                            ("system", "System"),
                            ("anonymous", "Anonymous"),
                        ],
                        max_length=20,
                    ),
                ),
                ("actor_id", models.UUIDField(null=True)),
                ("actor_label", models.TextField(blank=True)),
                ("issuer_id", models.UUIDField(null=True)),
                ("issuer_label", models.TextField(blank=True)),
                ("target_table", models.CharField(max_length=63)),
                ("target_id", models.CharField(blank=True, max_length=64)),
                ("target_label", models.TextField(blank=True)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("create", "Create"),
                            ("update", "Update"),
                            ("delete", "Delete"),
                            ("event", "Event"),
                        ],
                        max_length=10,
                    ),
                ),
                ("event", models.CharField(max_length=100)),
                ("changes", models.JSONField(blank=True, default=dict)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("address", models.GenericIPAddressField(null=True)),
            ],
            options={
                "db_table": "audit_event",
                "ordering": ["-id"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["organization_id", "-id"], name="audit_event_newest"),
                    models.Index(
                        fields=["organization_id", "target_table", "action", "-id"],
                        name="audit_event_by_table",
                    ),
                    models.Index(fields=["organization_id", "actor_id", "-id"], name="audit_event_by_actor"),
                    models.Index(fields=["organization_id", "at"], name="audit_event_by_time"),
                    models.Index(fields=["team_id", "-id"], name="audit_event_by_team"),
                    models.Index(fields=["project_id", "-id"], name="audit_event_by_project"),
                    models.Index(fields=["target_table", "target_id", "-id"], name="audit_event_by_target"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("action__in", ["create", "update", "delete", "event"])),
                        name="audit_event_action_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("actor_kind__in", ["user", "api_key", "service_account", "system", "anonymous"])
                        ),
                        name="audit_event_actor_kind_known",
                    ),
                ],
            },
        ),
    ]
