"""Who may see which events is decided above `audit`, which knows nobody; here is where it asks."""

from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from audit.models import AuditEventQuerySet

Rule = Callable[[HttpRequest], AuditEventQuerySet]
_rules: list[Rule] = []


def register(rule: Rule) -> None:
    """Let `rule` say which events the caller of a request may see, on the page and in the API.

    It is called once, from `AppConfig.ready()`; it may refuse by raising.
    """
    if _rules and _rules != [rule]:
        raise ImproperlyConfigured("There is a rule already for who may see the audit log.")
    _rules[:] = [rule]


def visible_events(request: HttpRequest) -> AuditEventQuerySet:
    """Return what the caller may see.

    :raises ImproperlyConfigured: if there is no rule, since an empty log would say that nothing had happened.
    """
    if not _rules:
        raise ImproperlyConfigured("Nothing says who may see the audit log: call audit.visibility.register().")
    return _rules[0](request)
