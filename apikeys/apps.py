from django.apps import AppConfig


class ApikeysConfig(AppConfig):
    name = "apikeys"

    def ready(self) -> None:
        from django.db.models.signals import post_save

        from apikeys import recording, shapes
        from apikeys.models import ApiKey
        from apikeys.models.terms import keep_terms
        from keyportal import names

        recording.start()
        names.refuse_keys(shapes.holds_key)
        post_save.connect(keep_terms, sender=ApiKey, dispatch_uid="apikeys.keep_terms")
