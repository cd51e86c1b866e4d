from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import recording  # noqa: PLC0415 - models exist only once the apps are ready

        recording.start()
