import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_auditors_and_archives"),
    ]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="organization",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="invitations",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="invitation",
            name="mailed_token_digest",
            field=models.CharField(blank=True, max_length=64, null=True, unique=True),
        ),
        migrations.AlterField(
            model_name="invitation",
            name="role",
            field=models.CharField(
                choices=[
                    ("super_admin", "Super admin"),
                    ("auditor", "Auditor"),
                    ("team_admin", "Team admin"),
                    ("developer", "Developer"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="invitation",
            name="team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="invitations",
                to="accounts.team",
            ),
        ),
        migrations.RemoveConstraint(model_name="invitation", name="invitation_role"),
    ]
