"""What all pages have in common: page or fragment, forms that answer 422, and safe ways back."""

from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from keyportal.http import PageRequest


def fragment(template: str, request: PageRequest) -> str:
    """Return the fragment that stands beside a page where htmx asks, else the page."""
    if not request.htmx:
        return template
    folder, _, name = template.rpartition("/")
    return f"{folder}/_{name}"


def form_page(request: PageRequest, template: str, form: BaseForm, **context: object) -> HttpResponse:
    """Render a form as page or dialog; one that was filled in wrongly answers 422 and keeps what was typed."""
    return render(request, fragment(template, request), {"form": form, **context}, status=form_status(form))


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form was sent with, also if that is nothing at all; None where it is only to be shown."""
    return request.POST if request.method == "POST" else None


def form_status(form: BaseForm) -> int:
    return 422 if form.errors else 200


def safe_next(request: HttpRequest, url: str | None, default: str) -> str:
    """Return an address of this portal that was asked for as the way back, or the default for any other."""
    is_ours = url_has_allowed_host_and_scheme(url, allowed_hosts=None, require_https=request.is_secure())
    return url if url and is_ours else default
