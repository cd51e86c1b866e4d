import pytest
from django import forms
from django.test import RequestFactory
from django_htmx.middleware import HtmxDetails

from keyportal.pages import form_status, fragment, safe_next

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, "accounts/team_form.html"), ({"HX-Request": "true"}, "accounts/_team_form.html")],
)
def test_fragment_stands_beside_its_page(rf: RequestFactory, headers: dict[str, str], expected: str) -> None:
    request = rf.get("/", headers=headers)
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined] # as the middleware does
    assert fragment("accounts/team_form.html", request) == expected  # type: ignore[arg-type] # it is a page's by now


def test_form_status_is_422_only_for_what_was_filled_in_wrongly() -> None:
    class Name(forms.Form):
        name = forms.CharField()

    assert [form_status(Name()), form_status(Name({"name": "x"})), form_status(Name({"name": ""}))] == [200, 200, 422]


@pytest.mark.parametrize("url", ["/", "/teams/", "/teams/?a=b#c", "teams/", "?a=b"])
@pytest.mark.parametrize("secure", [True, False])
def test_safe_next_keeps_our_own(rf: RequestFactory, url: str, secure: bool) -> None:
    assert safe_next(rf.get("/", secure=secure), url, "/default/") == url


@pytest.mark.parametrize("url", [None, "", "https://testserver/", "//testserver/", "javascript:x", "/\\evil.example"])
def test_safe_next_leads_nowhere_else(rf: RequestFactory, url: str | None) -> None:
    assert safe_next(rf.get("/"), url, "/default/") == "/default/"
