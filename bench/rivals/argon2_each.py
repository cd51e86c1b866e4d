"""Argon2 on every request: a client's name and secret, looked up and verified each time, at keyportal's own cost."""

import base64
import secrets

from bench.rivals.base import configure, prepare

configure(
    __name__,
    PASSWORD_HASHERS=["bench.rivals.hasher.Hasher"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    },
)

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402 - what follows needs the settings above
from django.urls import path  # noqa: E402 - as above
from rest_framework.decorators import api_view  # noqa: E402 - as above
from rest_framework.request import Request  # noqa: E402 - as above
from rest_framework.response import Response  # noqa: E402 - as above


@api_view(["GET"])
def whoami(request: Request) -> Response:
    return Response({"id": request.user.pk, "username": request.user.username, "email": request.user.email})


urlpatterns = [path("v1/whoami", whoami)]
application = WSGIHandler()

if __name__ == "__main__":
    user, secret = prepare(), secrets.token_urlsafe(32)
    user.set_password(secret)
    user.save()
    print("Basic", base64.b64encode(f"{user.username}:{secret}".encode()).decode())
