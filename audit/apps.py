from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        from audit.recording import write  # models cannot be imported before the registry is ready
        from audit.signals import happened

        happened.connect(write, dispatch_uid="audit.write")
