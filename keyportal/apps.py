from django.apps import AppConfig


class KeyportalConfig(AppConfig):
    name = "keyportal"

    def ready(self) -> None:
        from keyportal import checks

        checks.start()
