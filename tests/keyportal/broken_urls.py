"""The portal's addresses, and two that break as they are told to."""

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from accounts.middleware import organization_not_required
from keyportal import urls

ERRORS: dict[str, type[Exception]] = {
    "400": SuspiciousOperation,
    "403": PermissionDenied,
    "404": Http404,
    "500": ValueError,
    "away": OperationalError,
    "dropped": InterfaceError,
}


@login_not_required
@organization_not_required
def broken(request: HttpRequest, kind: str) -> HttpResponse:
    raise ERRORS[kind](request.headers.get("X-Said", "the reason"))


urlpatterns = [path("broken/<str:kind>/", broken), path("v1/broken/<str:kind>", broken), *urls.urlpatterns]

handler400 = urls.handler400
handler403 = urls.handler403
handler404 = urls.handler404
handler500 = urls.handler500
