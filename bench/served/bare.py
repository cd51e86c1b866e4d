"""*Bare*: a Django view with no query and no middleware. What Django and gunicorn cost before anything is done."""

import secrets

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY=secrets.token_urlsafe(50), ALLOWED_HOSTS=["127.0.0.1"])
django.setup(set_prefix=False)


def whoami(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(b'{"kind": "nobody"}', content_type="application/json")


urlpatterns = [path("v1/whoami", whoami)]
application = WSGIHandler()
