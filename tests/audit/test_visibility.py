import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from audit import visibility
from audit.models import AuditEvent, AuditEventQuerySet
from audit.visibility import register, visible_events


def everything(request: HttpRequest) -> AuditEventQuerySet:
    return AuditEvent.objects.all()


def nothing(request: HttpRequest) -> AuditEventQuerySet:
    return AuditEvent.objects.none()


@pytest.fixture(autouse=True)
def no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_rules", [])


def test_log_without_a_rule_shows_nothing_to_anyone() -> None:
    with pytest.raises(ImproperlyConfigured, match="Nothing says who may see the audit log"):
        visible_events(HttpRequest())


def test_rule_decides_what_is_seen(db: None) -> None:
    register(nothing)
    assert list(visible_events(HttpRequest())) == []


def test_rule_may_be_registered_again_but_not_replaced() -> None:
    register(nothing)
    register(nothing)
    with pytest.raises(ImproperlyConfigured, match="There is a rule already"):
        register(everything)
    assert visibility._rules == [nothing]
