"""The way from an empty portal to a key in use."""

from dataclasses import dataclass

from django.urls import reverse

from accounts.models import Project, Team
from accounts.principals import Principal
from accounts.rights import Right, holds, only_reads, reach
from apikeys.models import ApiKey

AUDITOR = "Auditors issue no keys."


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first things to do in a new portal."""

    done: bool
    title: str
    text: str
    url: str
    action: str


def why_no_key(principal: Principal) -> str:
    """Return why someone can issue no key for any project, and what to do about it."""
    if reach(principal, Right.PROJECTS_MANAGE):
        return "There is no project yet. Create one first."
    if only_reads(principal):
        return AUDITOR
    if _is_in_team(principal):
        return "Your team has no project yet. Ask its admin to create one."
    return "You are in no team that has a project. Ask a team admin to add you."


def _is_in_team(principal: Principal) -> bool:
    return bool(reach(principal, Right.PROJECT_KEYS_ISSUE))


def first_steps(principal: Principal, *, is_issuer: bool) -> list[Step]:
    """Return the way from an empty portal to a key in use, for those who can walk it."""
    if not is_issuer and only_reads(principal):
        return []  # an auditor has nothing to do here
    if not is_issuer and _is_in_team(principal):
        return [Step(False, "Wait for a project", why_no_key(principal), "", "")]
    if not is_issuer:
        text = "Ask a team admin to add you to one; then you can issue keys for its projects."
        return [Step(False, "Join a team that has a project", text, "", "")]
    teams = Team.objects.visible_to(principal)
    keys = ApiKey.objects.visible_to(principal)
    steps = [
        Step(
            Project.objects.visible_to(principal).exists(),
            "Create a project",
            "A project is one application or service; keys are issued for it.",
            reverse("project-create"),
            "New project",
        ),
        Step(
            keys.exists(),
            "Issue a key",
            "You see it once. Copy it into a secret store.",
            reverse("key-issue"),
            "New API key",
        ),
        Step(
            keys.exclude(last_used_at=None).exists(),
            "Use it",
            "Send it as a bearer token; the first use shows up here.",
            "",
            "",
        ),
    ]
    if not holds(principal, Right.TEAMS_CREATE):
        return steps if reach(principal, Right.PROJECTS_MANAGE) else steps[1:]
    team = Step(
        teams.exists(),
        "Create a team",
        "A team owns projects; its people issue their keys.",
        reverse("team-create"),
        "New team",
    )
    return [team, *steps]
