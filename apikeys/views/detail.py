"""One key: what it is and who uses it."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from accounts.models import Role
from apikeys import shapes
from apikeys.forms.uses import UsesForm
from apikeys.listing import key_row
from apikeys.models import ApiKey
from apikeys.permissions import ALL
from apikeys.rotations import rotation_panel
from apikeys.rules import Rules, role_of, rules_of
from apikeys.snippets import Snippet, browser_snippets, examples
from apikeys.use_rows import UsePage, browser_use, read_page, totals, use_row, uses_of
from audit.visibility import visible_events
from keyportal.http import MemberRequest

EVENTS_SHOWN = 20
USES_SHOWN = 10
USES_A_PAGE = 50
OUTCOME_TABS = (("", "All"), ("accepted", "Accepted"), ("refused", "Refused"))


@dataclass(frozen=True, slots=True)
class PermissionLine:
    """A permission that a key was given, and whether its issuer's role still allows it."""

    name: str
    sentence: str
    is_effective: bool


@never_cache
@require_GET
def key_detail(request: MemberRequest, key_id: UUID) -> HttpResponse:
    visible = ApiKey.objects.visible_to(request.principal).with_places().with_roles().select_related("successor")
    api_key = get_object_or_404(visible, pk=key_id)
    at = timezone.now()
    role = role_of(api_key)
    rules = rules_of(api_key.organization_id)
    events = visible_events(request).filter(target_table="api_keys", target_id=str(api_key.pk))
    context = {
        "row": key_row(api_key, request.principal, policy=rules.policy, at=at),
        "panel": rotation_panel(api_key, request.principal, at=at),
        "is_ended": api_key.state_at(at) in {"revoked", "retired", "expired"},
        "permissions": _permission_lines(api_key, rules),
        "browser_use": browser_use(api_key),
        "role": Role(role.value).label.lower() if role else "nobody here any more",
        "totals": totals(api_key, at=at),
        "uses": [use_row(use) for use in uses_of(api_key)[:USES_SHOWN]],
        "events": events[:EVENTS_SHOWN],
        "snippets": [] if api_key.is_revoked else _examples(api_key),
    }
    return render(request, "apikeys/key_detail.html", context)


@never_cache
@require_GET
@vary_on_headers("HX-Request")
def key_uses(request: MemberRequest, key_id: UUID) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.visible_to(request.principal), pk=key_id)
    form = UsesForm(request.GET)
    is_valid = form.is_valid()
    chosen = form.cleaned_data.get("outcome", "")
    page = UsePage([], None)
    if is_valid:
        rows = uses_of(api_key).matching(is_refused=form.is_refused)
        page = read_page(rows, before=form.cleaned_data["before"], size=USES_A_PAGE)
    filters = {"outcome": chosen} if chosen else {}
    context = {
        "api_key": api_key,
        "uses": [use_row(use) for use in page.uses],
        "tabs": [
            (title, _url(request, {"outcome": value} if value else {}), value == chosen)
            for value, title in OUTCOME_TABS
        ],
        "chosen": chosen,
        "is_valid": is_valid,
        "older_url": _url(request, filters | {"before": str(page.next_before)}) if page.next_before else "",
        "newest_url": _url(request, filters) if request.GET.get("before") else "",
    }
    template = "apikeys/_use_pages.html" if request.htmx else "apikeys/key_uses.html"
    return render(request, template, context, status=200 if is_valid else 422)


def _url(request: MemberRequest, query: dict[str, str]) -> str:
    return f"{request.path}?{urlencode(query)}" if query else request.path


def _permission_lines(api_key: ApiKey, rules: Rules) -> list[PermissionLine]:
    """Return what the key was given, `*` written out, each with whether it is in force."""
    effective = rules.effective(api_key)
    names = effective if ALL in api_key.permissions else set(api_key.permissions)
    return [
        PermissionLine(entry.name, entry.sentence, entry.name in effective)
        for entry in rules.catalogue.entries
        if entry.name in names
    ]


def _examples(api_key: ApiKey) -> list[Snippet]:
    """Return how a key of its kind is used, with a placeholder: the key itself was shown once."""
    if api_key.kind == ApiKey.Kind.PUBLISHABLE:
        return browser_snippets(f"{api_key.label}…", url=settings.KEYPORTAL_URL, prefix=shapes.publishable_prefix())[:1]
    return examples(url=settings.KEYPORTAL_URL)
