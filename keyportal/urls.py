"""Every address of the portal."""

from django.urls import include, path

from apikeys.api.whoami import whoami
from keyportal.api import api, plain
from keyportal.docs import api_docs
from keyportal.probes import exposition, healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", exposition, name="metrics"),
    path("v1/docs", api_docs, name="api-docs"),
    # The call that services make all day; ninja documents it.
    path("v1/whoami", plain(whoami)),
    path("v1/", api.urls),
    path("audit/", include("audit.urls")),
    path("", include("apikeys.urls")),
    path("", include("accounts.urls")),
]

handler400 = "keyportal.errors.bad_request"
handler403 = "keyportal.errors.permission_denied"
handler404 = "keyportal.errors.not_found"
handler429 = "keyportal.errors.too_many_requests"
handler500 = "keyportal.errors.server_error"
