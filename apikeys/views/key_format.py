"""How keys look here, and the rules by which scanners find leaked ones."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apikeys import scanner_rules, shapes
from apikeys.snippets import Snippet
from keyportal.http import MemberRequest


@require_GET
def key_format(request: MemberRequest) -> HttpResponse:
    accepted, url = shapes.accepted(), settings.KEYPORTAL_URL
    pattern = scanner_rules.github(accepted)
    context = {
        "shapes": [(scanner_rules.written(shape), shape.writes_kind) for shape in accepted],
        "finds_publishable": not all(shape.writes_kind for shape in accepted),
        "regex": Snippet("regex", "Regular expression", scanner_rules.regex(accepted)),
        "gitleaks": Snippet("gitleaks", "gitleaks rule", scanner_rules.gitleaks(accepted, url=url), "gitleaks.toml"),
        "git_secrets": Snippet("git-secrets", "git-secrets commands", scanner_rules.git_secrets(accepted)),
        "hooks": [
            Snippet("hook", "Hook", scanner_rules.hook(accepted, url=url), scanner_rules.HOOK_FILE),
            Snippet("pre-commit", ".pre-commit-config.yaml", scanner_rules.PRE_COMMIT_CONFIG),
        ],
        "github": [
            Snippet("github-name", "Pattern name", pattern.pattern_name),
            Snippet("github-secret", "Secret format", pattern.secret_format),
            Snippet("github-before", "Before secret", pattern.before_secret),
            Snippet("github-after", "After secret", pattern.after_secret),
            Snippet("github-test", "Test string", pattern.test_string),
        ],
        "hook_file": scanner_rules.HOOK_FILE,
    }
    return render(request, "apikeys/key_format.html", context)
