from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0005_policy_unused_from")]

    operations = [
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("kind", "publishable")), fields=["revoked_at"], name="api_key_by_kind"
            ),
        ),
    ]
