from django.apps import AppConfig


class ApikeysConfig(AppConfig):
    name = "apikeys"

    def ready(self) -> None:
        from apikeys import recording  # noqa: PLC0415 - models exist only once the apps are ready

        recording.start()
