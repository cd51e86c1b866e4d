"""The audit log as a page."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from audit.forms import FilterForm
from audit.paging import Page, read_page
from audit.visibility import visible_events
from keyportal.http import MemberRequest

PAGE_SIZE = 50


@require_GET
@vary_on_headers("HX-Request")
def event_list(request: MemberRequest) -> HttpResponse:
    visible = visible_events(request)
    form = FilterForm(request.GET)
    is_valid = form.is_valid()
    page = (
        read_page(visible.matching(**form.conditions), before=form.before, size=PAGE_SIZE)
        if is_valid
        else Page([], None)
    )
    filters = form.filters
    context = {
        "form": form,
        "events": page.events,
        "older_url": _url(request, filters | {"before": str(page.next_before)}) if page.next_before else "",
        "newest_url": _url(request, filters) if form.before else "",
        # One that makes no sense is a filter too: nothing found must not read as nothing there.
        "has_filters": bool(filters) or not is_valid,
    }
    template = "audit/_event_table.html" if request.htmx else "audit/event_list.html"
    return render(request, template, context, status=200 if is_valid else 422)


def _url(request: MemberRequest, query: dict[str, str]) -> str:
    return f"{request.path}?{urlencode(query)}" if query else request.path
