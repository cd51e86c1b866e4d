"""What allauth's pages answer to a form that was filled in wrongly, or too often: the status that ours do."""

from collections.abc import Callable
from http import HTTPStatus

from django.forms import BaseForm
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from keyportal.errors import too_many_requests

# How allauth calls it where it throttles from within a form.
_THROTTLED = {"too_many_login_attempts", "rate_limited"}
_SHOWN_AGAIN = {HTTPStatus.OK, HTTPStatus.UNPROCESSABLE_ENTITY}


class FormAnswerMiddleware:
    """Answer 422 to a form with mistakes, where allauth says 200, and 429 where coming too often is one of them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method != "POST" or response.status_code not in _SHOWN_AGAIN:
            return response
        codes = _mistakes(response)
        if codes & _THROTTLED:
            return too_many_requests(request)
        if codes:
            response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
        return response


def _mistakes(response: HttpResponseBase) -> set[str]:
    """Return the codes of what is wrong with the form of a page, if it has one that was sent."""
    context = response.context_data if isinstance(response, TemplateResponse) else None
    form = (context or {}).get("form")
    if not isinstance(form, BaseForm) or not form.is_bound:
        return set()
    return {str(error.code) for errors in form.errors.as_data().values() for error in errors}
