"""djangorestframework-api-key; with BENCH_IDENTIFY=1 the view also says which key it was, as documented there."""

import os

from bench.rivals.base import configure, prepare

configure(
    __name__,
    "rest_framework_api_key",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework_api_key.permissions.HasAPIKey"],
    },
)

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402 - what follows needs the settings above
from django.urls import path  # noqa: E402 - as above
from rest_framework.decorators import api_view  # noqa: E402 - as above
from rest_framework.request import Request  # noqa: E402 - as above
from rest_framework.response import Response  # noqa: E402 - as above
from rest_framework_api_key.models import APIKey  # noqa: E402 - as above


@api_view(["GET"])
def whoami(_request: Request) -> Response:
    return Response({"kind": "api_key"})


@api_view(["GET"])
def identified(request: Request) -> Response:
    key = request.META["HTTP_AUTHORIZATION"].split()[1]
    api_key = APIKey.objects.get_from_key(key)
    return Response({"kind": "api_key", "prefix": api_key.prefix, "name": api_key.name})


urlpatterns = [path("v1/whoami", identified if os.environ.get("BENCH_IDENTIFY") else whoami)]
application = WSGIHandler()

if __name__ == "__main__":
    prepare()
    print("Api-Key", APIKey.objects.create_key(name="service")[1])
