from typing import Any

from django.db import migrations, models


def demote_auditors(apps: Any, _schema_editor: Any) -> None:
    """Leave auditors what there was before them: the least there is."""
    apps.get_model("accounts", "OrganizationMembership").objects.filter(role="auditor").update(role="member")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_slugs_unique"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="organizationmembership", name="organization_membership_role"),
        migrations.AlterField(
            model_name="organizationmembership",
            name="role",
            field=models.CharField(
                choices=[("super_admin", "Super admin"), ("auditor", "Auditor"), ("member", "Member")], max_length=16
            ),
        ),
        migrations.AddConstraint(
            model_name="organizationmembership",
            constraint=models.CheckConstraint(
                condition=models.Q(role__in=["super_admin", "auditor", "member"]), name="organization_membership_role"
            ),
        ),
        migrations.AddField(
            model_name="project", name="archived_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(model_name="team", name="archived_at", field=models.DateTimeField(blank=True, null=True)),
        # The last, so that on the way back it comes before the constraint that knows no auditors.
        migrations.RunPython(migrations.RunPython.noop, demote_auditors),
    ]
