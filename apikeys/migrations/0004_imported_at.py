from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0003_life_of_keys")]

    operations = [
        migrations.AddField(model_name="apikey", name="imported_at", field=models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            model_name="apikey",
            name="imported_fingerprint",
            field=models.CharField(blank=True, default="", max_length=64),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("imported_at__isnull", False)),
                fields=["imported_from", "prefix"],
                name="api_key_imported",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("imported_at", None), ("imported_from", "")),
                    models.Q(models.Q(("imported_from", ""), _negated=True), ("imported_at__isnull", False)),
                    _connector="OR",
                ),
                name="api_key_imported_from_somewhere",
            ),
        ),
    ]
