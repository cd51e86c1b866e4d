"""The one response that shows a key."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from apikeys import shapes
from apikeys.keyformat import Key
from apikeys.models import ApiKey
from apikeys.snippets import browser_snippets, snippets
from keyportal.http import MemberRequest
from keyportal.pages import fragment


def reveal(request: MemberRequest, api_key: ApiKey, key: Key) -> HttpResponse:
    """Show a key. It is not redirected to, not stored, and not rendered again; the view is marked `never_cache`."""
    revealed = key.reveal()
    url = settings.KEYPORTAL_URL
    if api_key.kind == ApiKey.Kind.PUBLISHABLE:
        ready = browser_snippets(revealed, url=url, prefix=shapes.publishable_prefix())
    else:
        ready = snippets(revealed, url=url)
    context = {
        "api_key": api_key,
        "key": revealed,
        "snippets": ready,
        "done_url": f"{list_url(api_key)}{urlencode({'issued': str(api_key.pk)})}",
    }
    return render(request, fragment("apikeys/key_revealed.html", request), context)


def list_url(api_key: ApiKey) -> str:
    """Return the page that lists keys of its kind, ready for more to be said after it."""
    if api_key.scope == ApiKey.Scope.ORG:
        return f"{reverse('organization-keys')}?"
    if api_key.kind == ApiKey.Kind.PUBLISHABLE:
        return f"{reverse('project-sdk-keys', args=[api_key.project_id])}?"
    return f"{reverse('key-list')}?"
