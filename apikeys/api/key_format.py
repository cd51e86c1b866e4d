"""The format of keys, for whoever sets up a scanner; it holds no key and asks for none."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema

from apikeys import scanner_rules, shapes
from keyportal.schemas import ProblemBody

router = Router(tags=["keys"])


class KeyShape(Schema):
    """One way in which good keys are written here."""

    written: str = Field(description="As people read it: choices in parentheses, lengths in angle brackets.")
    regex: str = Field(description="Of secret and organization keys alone; all keys where the kind is not written.")
    is_current: bool = Field(description="Whether new keys get it; the others are of earlier keys.")
    writes_kind: bool = Field(description="Whether a key tells by itself that it is publishable.")
    writes_environment: bool


class GitHubPattern(Schema):
    """A custom pattern of GitHub's secret scanning, by the names of its form."""

    pattern_name: str
    secret_format: str
    before_secret: str
    after_secret: str
    test_string: str


class KeyFormat(Schema):
    """How keys look in this installation, and rules that find leaked ones."""

    shapes: list[KeyShape]
    regex: str = Field(description="Finds every key that must not be seen, as its one group. Python, PCRE and RE2.")
    finds_publishable: bool = Field(description="Whether publishable keys, which may be seen, are found too.")
    gitleaks: str = Field(description="A configuration in TOML.")
    git_secrets: str = Field(description="Commands to run in a repository.")
    pre_commit_hook: str = Field(description="A Python script for git or pre-commit, which checks the checksum too.")
    pre_commit_config: str = Field(description="What runs it in pre-commit, in YAML.")
    github: GitHubPattern


@router.get(
    "/key-format",
    auth=None,
    response={200: KeyFormat, 400: ProblemBody, 503: ProblemBody},
    operation_id="get_key_format",
    summary="Get the format of keys",
)
def get_key_format(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001 - ninja hands it over by this name
    """Return how keys look here, and rules for secret scanners. It needs no key, and holds nothing secret."""
    accepted, url = shapes.accepted(), settings.KEYPORTAL_URL
    return {
        "shapes": [
            {
                "written": scanner_rules.written(shape),
                "regex": scanner_rules.key_regex([shape]),
                "is_current": shape == accepted[0],
                "writes_kind": shape.writes_kind,
                "writes_environment": "{env}" in shape.template,
            }
            for shape in accepted
        ],
        "regex": scanner_rules.regex(accepted),
        "finds_publishable": not all(shape.writes_kind for shape in accepted),
        "gitleaks": scanner_rules.gitleaks(accepted, url=url),
        "git_secrets": scanner_rules.git_secrets(accepted),
        "pre_commit_hook": scanner_rules.hook(accepted, url=url),
        "pre_commit_config": scanner_rules.PRE_COMMIT_CONFIG,
        "github": asdict(scanner_rules.github(accepted)),
    }
