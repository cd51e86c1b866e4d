import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_place_invitations"),
    ]

    operations = [
        migrations.AlterField(
            model_name="invitation",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="accounts.organization"
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(role__in=["super_admin", "auditor"], team=None)
                | models.Q(role__in=["team_admin", "developer"], team__isnull=False),
                name="invitation_role_is_of_its_place",
            ),
        ),
    ]
