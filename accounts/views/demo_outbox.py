"""The mails of a demo, which leave the portal for nobody: a page shows them."""

from typing import NamedTuple

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.mailing.content import Content, unsealed
from accounts.middleware import organization_not_required
from accounts.models import OutgoingMail
from keyportal.encryption import Unreadable
from keyportal.http import MemberRequest

PAGE_SIZE = 20
# What is shown of a mail that another SECRET_KEY sealed, or that was emptied before this was a demo.
GONE = Content(subject="A mail that cannot be read any more", text="", html="")


class Shown(NamedTuple):
    """A mail, and what it says."""

    mail: OutgoingMail
    content: Content


@organization_not_required
@never_cache
@require_GET
def demo_outbox(request: MemberRequest) -> HttpResponse:
    if not settings.KEYPORTAL_DEMO:
        raise Http404
    mails = OutgoingMail.objects.order_by("-created_at", "-pk")
    page = Paginator(mails, PAGE_SIZE).get_page(request.GET.get("page"))
    shown = [Shown(mail, _content(mail)) for mail in page]
    return render(request, "accounts/demo_outbox.html", {"page": page, "mails": shown})


def _content(mail: OutgoingMail) -> Content:
    try:
        return unsealed(mail.content)
    except Unreadable:
        return GONE
