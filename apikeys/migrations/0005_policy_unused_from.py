from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0004_imported_at")]

    operations = [
        migrations.AddField(
            model_name="policy", name="disable_unused_from", field=models.DateTimeField(blank=True, null=True)
        ),
    ]
