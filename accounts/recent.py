"""Recent sign-in: what may lead to a key asks who is at the keyboard, if the last answer is old."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.models import User
from keyportal.http import ApiRequest, MemberRequest

P = ParamSpec("P")
View = Callable[Concatenate[MemberRequest, P], HttpResponse]


def is_sign_in_recent(request: MemberRequest | ApiRequest) -> bool:
    """Say whether this session's person proved who they are in the last 15 minutes, in whatever way."""
    records = get_authentication_records(request, request.user)
    newest = max((record["at"] for record in records), default=0.0)
    return bool(time.time() - newest < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT)


def ask_again(user: User, *, back_to: str) -> HttpResponse:
    """Send someone to where they prove who they are, and from there to a page."""
    ways = get_adapter().get_reauthentication_methods(user)
    page = ways[0]["url"] if ways else reverse("sign-in-again")
    return redirect(f"{page}?{urlencode({'next': back_to})}")


def recent_sign_in_required(*, keep: Sequence[str] = ()) -> Callable[[View[P]], View[P]]:
    """Ask anew for what the person has: password, passkey, code or provider; and then come back.

    :param keep: the fields of the view's form that its address can prefill, so that nothing is typed twice. Nothing
        of the request is stored meanwhile: the rest of it may hold a password, or somebody's key.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: MemberRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if is_sign_in_recent(request):
                return view(request, *args, **kwargs)
            kept = [(name, value) for name in keep for value in request.POST.getlist(name)]
            posted = f"{request.path}?{urlencode(kept)}" if kept else request.path
            return ask_again(request.user, back_to=posted if request.method == "POST" else request.get_full_path())

        return cast(View[P], guarded)

    return decorate
