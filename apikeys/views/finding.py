"""Keys in other ways than by the table: as a file, and by what someone has found of one."""

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apikeys import actions, exporting, foreign, whose
from apikeys.forms.filters import KeyFilterForm
from apikeys.listing import key_row
from apikeys.models import ApiKey
from apikeys.rules import rules_of
from keyportal.http import MemberRequest

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
LINES = {"csv": exporting.csv_lines, "json": exporting.json_lines}


@never_cache
@require_POST
def key_export(request: MemberRequest, format: str) -> HttpResponseBase:  # noqa: A002 - as the address calls it
    """Hand out the keys that the address filters for. A POST, since it leaves an audit event."""
    form = KeyFilterForm(request.GET)
    if not form.is_valid():
        return HttpResponse("This filter cannot be used.\n", status=422, content_type="text/plain; charset=utf-8")
    at = timezone.now()
    unused_after = rules_of(request.principal.organization_id).policy.warn_unused_after
    visible = ApiKey.objects.visible_to(request.principal)
    keys = visible.filtered(form.filter, at=at, unused_after=unused_after)
    actions.note_export(principal=request.principal, keys=keys, asked=form.filter, format=format)
    response = StreamingHttpResponse(LINES[format](keys, at=at), content_type=CONTENT_TYPES[format])
    response["Content-Disposition"] = f'attachment; filename="api-keys-{at:%Y-%m-%d}.{format}"'
    return response


@never_cache
@require_http_methods(["GET", "POST"])
def key_whose(request: MemberRequest) -> HttpResponse:
    """Say whose a key is. What is asked comes in a POST: it may be a whole key, which belongs in no address."""
    at = timezone.now()
    asked = " ".join(request.POST.getlist("label"))[:2000]
    own, imported = whose.labels_in(asked), whose.imported_labels_in(asked)
    policy = rules_of(request.principal.organization_id).policy
    keys = whose.keys_of(request.principal, [*own, *imported])
    known = {api_key.label for api_key in keys}
    context = {
        "label_regex": whose.label_regex(),
        "prefix_lengths": " ".join(map(str, foreign.prefix_lengths())),
        "example_label": whose.example_label(),
        "is_asked": bool(asked.strip()),
        # What is not known to be a label may be a secret: it does not come back.
        "labels": " ".join([*own, *(label for label in imported if label in known)]),
        "rows": [(key_row(api_key, request.principal, policy=policy, at=at), api_key.state_at(at)) for api_key in keys],
        "unknown": [label for label in own if label not in known],
    }
    return render(request, "apikeys/key_whose.html", context)
