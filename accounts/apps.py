from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import factors, groups, known_devices, password_changes, recording

        recording.start()
        factors.start()
        password_changes.start()
        groups.start()
        known_devices.start()
