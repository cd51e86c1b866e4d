"""Disabling or revoking all keys that pass a filter: a preview, and then exactly what it showed."""

from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.recent import recent_sign_in_required
from apikeys import actions
from apikeys.forms.bulk import BulkForm
from apikeys.forms.filters import KeyFilterBar, KeyFilterForm
from apikeys.rules import rules_of
from apikeys.selecting import examples
from apikeys.views.access import may_end_any
from keyportal.http import MemberRequest
from keyportal.pages import form_status, posted

FILTER_FIELDS = tuple(KeyFilterForm.base_fields)
_DONE = {"disable": "disabled", "revoke": "revoked"}


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=FILTER_FIELDS)
def key_bulk(request: MemberRequest) -> HttpResponse:
    """Show which keys pass the filter, and end them if that is confirmed and still true."""
    if not may_end_any(request):
        raise PermissionDenied("You see these keys and end none of them.")
    at = timezone.now()
    catalogue = rules_of(request.principal.organization_id).catalogue
    asked_in = request.POST if request.method == "POST" else request.GET
    bar = KeyFilterBar(asked_in, principal=request.principal, catalogue=catalogue)
    if not bar.is_valid():
        return _page(request, bar, status=422)
    try:
        selection = actions.preview_bulk(principal=request.principal, asked=bar.filter, at=at)
        form = BulkForm(posted(request), selection=selection)
        if form.is_valid():
            return _end(request, bar, form, at)
    except actions.NotSelectable as refused:
        return _page(request, bar, refused=str(refused), status=200 if request.method == "GET" else 422)
    except actions.SelectionChanged as refused:
        # Since the preview of this very request.
        messages.warning(request, str(refused))
        return redirect(f"{reverse('key-bulk')}?{urlencode(_asked(bar))}")
    shown = examples(request.principal, bar.filter, at=at)
    return _page(request, bar, form=form, selection=selection, shown=shown, status=form_status(form))


def _end(request: MemberRequest, bar: KeyFilterBar, form: BulkForm, at: datetime) -> HttpResponse:
    action = actions.BulkAction(form.cleaned_data["action"])
    count = actions.end_keys(
        principal=request.principal,
        asked=bar.filter,
        action=action,
        expected=form.selection.digest,
        reason=form.cleaned_data["reason"],
        at=at,
    )
    keys = "1 key" if count == 1 else f"{count:,} keys"
    messages.success(request, f"{keys} {_DONE[action]} at {at:%H:%M} UTC. Refused since.")
    return redirect("key-list")


def _page(request: MemberRequest, bar: KeyFilterBar, *, status: int, **context: object) -> HttpResponse:
    asked = _asked(bar)
    tab = {"tab": asked["state"]} if asked.get("state") else {}
    parameters = {name: value for name, value in asked.items() if name != "state"}
    context |= {
        "bar": bar,
        "hidden": asked,
        "list_url": f"{reverse('key-list')}?{urlencode(tab | parameters)}",
        "state": bar.cleaned_data.get("state", ""),
    }
    return render(request, "apikeys/key_bulk.html", context, status=status)


def _asked(bar: KeyFilterBar) -> dict[str, str]:
    """Return the filter as the address has it, its state included."""
    return {name: value for name in FILTER_FIELDS if (value := str(bar.data.get(name, "")))}
