"""The portal's addresses with those of an OpenID Connect provider, as KEYPORTAL_OIDC adds them."""

from allauth.socialaccount.providers.openid_connect.urls import urlpatterns as provider_patterns

from accounts.urls import tolerant
from keyportal import urls

urlpatterns = [*urls.urlpatterns, *tolerant(provider_patterns)]

handler400 = urls.handler400
handler403 = urls.handler403
handler404 = urls.handler404
handler500 = urls.handler500
