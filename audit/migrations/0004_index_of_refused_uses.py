from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_key_uses"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="keyuse",
            index=models.Index(
                condition=models.Q(("is_refused", True)), fields=["prefix", "id"], name="audit_key_use_refused"
            ),
        ),
    ]
