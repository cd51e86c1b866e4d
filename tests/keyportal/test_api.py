"""What every operation has in common; the operations' own tests are with their apps."""

import json

import pytest
from django.http import Http404
from django.test import RequestFactory

from keyportal.api import PrincipalAuth, on_not_found
from keyportal.http import Problem

pytestmark = pytest.mark.pure


def test_call_that_no_middleware_knows_is_refused(rf: RequestFactory) -> None:
    with pytest.raises(Problem) as caught:
        PrincipalAuth()(rf.get("/v1/projects"))
    assert caught.value.code == "missing_credentials"


def test_object_that_is_none_is_a_problem(rf: RequestFactory) -> None:
    response = on_not_found(rf.get("/v1/projects"), Http404("of team Payments"))  # type: ignore[arg-type] # nothing of it is asked
    assert (response.status_code, json.loads(response.content)["code"]) == (404, "not_found")
    assert b"Payments" not in response.content
