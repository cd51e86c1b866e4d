"""Settings → Policies: what an organization demands of its keys, shown before it is turned on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.models import Role
from accounts.recent import recent_sign_in_required
from accounts.rights import Right, holds
from apikeys import actions, policing
from apikeys.forms.settings import POLICY_FIELDS, PolicyForm
from apikeys.policing import Effect, Preview, Rule, Terms
from apikeys.rules import rules_of
from keyportal.http import MemberRequest
from keyportal.pages import form_status, posted

KEPT = (*POLICY_FIELDS, "existing", "existing_on")
_TITLES = {
    Rule.LIFETIME: "live longer than allowed",
    Rule.EXPIRY: "have no expiry",
    Rule.SCOPE: "were issued by someone whose role no longer issues them",
    Rule.TOGETHER: "hold permissions that never go together",
    Rule.NETWORKS: "were last used from another network, and would be refused there",
    Rule.UNUSED: "have gone unused for that long already, and would be disabled",
}
_LABELS = {
    "max_lifetime": "Longest lifetime",
    "is_expiry_required": "Every key must expire",
    "team_issuers": "Team keys are issued by",
    "project_issuers": "Project keys are issued by",
    "never_together": "Never together",
    "networks": "Networks",
    "warn_unused_after": "Warn when unused",
    "disable_unused_after": "Disable when unused",
    "rotate_after": "Recommend rotation",
}


@dataclass(frozen=True, slots=True)
class EffectLine:
    """What a rule touches, in words."""

    effect: Effect
    title: str

    @property
    def more(self) -> int:
        return self.effect.keys - len(self.effect.examples)


@dataclass(frozen=True, slots=True)
class ChangeLine:
    label: str
    before: str
    after: str


def require_settings(request: MemberRequest, right: Right) -> None:
    """Let only who may change a setting of the organization see its page."""
    if not holds(request.principal, right):
        raise PermissionDenied("Only a super admin changes what holds for all keys. Ask one for it.")


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=KEPT)
def policy_change(request: MemberRequest) -> HttpResponse:
    """Show the policy; on its POST, what it would touch as it was filled in. Nothing is changed or stored here."""
    require_settings(request, Right.POLICIES_CHANGE)
    at = timezone.now()
    form = _form(request, at)
    if not form.is_valid():
        return _page(request, form)
    return _page(request, form, _preview(request, form, at))


@never_cache
@require_http_methods(["GET", "POST"])
@recent_sign_in_required(keep=KEPT)
def policy_apply(request: MemberRequest) -> HttpResponse:
    """Turn on what was previewed; all of it is sent again, and reckoned again."""
    require_settings(request, Right.POLICIES_CHANGE)
    if request.method == "GET":
        # From the confirmation of a sign-in: what was filled in is looked at once more.
        return redirect(f"{reverse('policy-change')}?{request.GET.urlencode()}")
    at = timezone.now()
    form = _form(request, at)
    if not form.is_valid():
        return _page(request, form)
    try:
        done = actions.change_policy(
            principal=request.principal,
            changes=form.changes(),
            existing_from=form.existing_from(),
            at=at,
            expected=request.POST.get("digest", ""),
        )
    except actions.PolicyHasChanged as refused:
        # The form has all of the policy, also what is not to change: it would undo what someone else did.
        form.add_error(None, str(refused))
        return _page(request, form, _preview(request, form, at))
    messages.success(request, f"Policy changed at {at:%H:%M} UTC. {_outcome(done.ended, form.existing_from())}")
    return redirect("policy-change")


def _form(request: MemberRequest, at: datetime) -> PolicyForm:
    rules = rules_of(request.principal.organization_id)
    kept = {name: request.GET[name] for name in KEPT if name in request.GET}
    return PolicyForm(posted(request), terms=Terms.of(rules), catalogue=rules.catalogue, at=at, initial=kept)


def _preview(request: MemberRequest, form: PolicyForm, at: datetime) -> Preview:
    return actions.preview_policy(
        principal=request.principal, changes=form.changes(), existing_from=form.existing_from(), at=at
    )


def _page(request: MemberRequest, form: PolicyForm, preview: Preview | None = None) -> HttpResponse:
    context = {
        "form": form,
        "preview": preview,
        "changes": list(_changes(preview)) if preview else [],
        "effects": [EffectLine(effect, _TITLES[effect.rule]) for effect in preview.effects] if preview else [],
        "is_at_once": bool(preview and form.cleaned_data["existing"] == "now"),
        "is_loosened": bool(preview and policing.stricter(preview.after, preview.before) != Terms()),
        "digest": preview.before.digest if preview else "",
        "hidden": [(name, value) for name in KEPT for value in request.POST.getlist(name)],
    }
    return render(request, "apikeys/policy_change.html", context, status=form_status(form))


def _changes(preview: Preview) -> Iterator[ChangeLine]:
    for name in POLICY_FIELDS:
        before, after = getattr(preview.before, name), getattr(preview.after, name)
        if before != after:
            yield ChangeLine(_LABELS[name], _said(name, before), _said(name, after))


def _said(name: str, value: object) -> str:
    """Say a value of the policy in words."""
    if name in {"team_issuers", "project_issuers"}:
        return Role(str(value)).label.lower()
    if name == "never_together" and isinstance(value, tuple):
        return "; ".join(" + ".join(names) for names in value) or "none"
    if name == "networks" and isinstance(value, tuple):
        return ", ".join(value) or "everywhere"
    if name == "is_expiry_required":
        return "yes" if value else "no"
    if value is None:
        return "no limit" if name == "max_lifetime" else "never"
    return "1 day" if value == 1 else f"{value} days"


def _outcome(ended: int, existing_from: datetime) -> str:
    if not ended:
        return "New keys are held to it from now on."
    keys = "1 key that does not meet it works" if ended == 1 else f"{ended} keys that do not meet it work"
    return f"New keys are held to it from now on; {keys} until {existing_from:%Y-%m-%d %H:%M} UTC."
