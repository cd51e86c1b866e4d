from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_slugs"),
    ]

    operations = [
        migrations.AlterField(model_name="organization", name="slug", field=models.SlugField(unique=True)),
    ]
