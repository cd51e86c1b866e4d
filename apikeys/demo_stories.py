"""Who and what the example organization is: data, and no code. See `demo`."""

from typing import NamedTuple

from accounts.models import Role

TEAMS = {
    "Payments": ("Checkout", "Ledger"),
    "Platform": ("Deployments", "Observability"),
    "Mobile": ("iOS app", "Android app"),
}
# Service accounts by name: their team, their role, and who is their steward.
ACCOUNTS = {"argo-cd": ("Platform", Role.TEAM_ADMIN, "priya"), "release-train": ("Mobile", Role.DEVELOPER, "jonas")}
# Name, role, and the team for those who have one; the first of each role is whose sign-in is printed.
PEOPLE: tuple[tuple[str, Role, str], ...] = (
    ("Alice Okafor", Role.SUPER_ADMIN, ""),
    ("Mateo Silva", Role.SUPER_ADMIN, ""),
    ("Bob Lindqvist", Role.TEAM_ADMIN, "Payments"),
    ("Priya Raman", Role.TEAM_ADMIN, "Platform"),
    ("Jonas Weber", Role.TEAM_ADMIN, "Mobile"),
    ("Dana Cohen", Role.DEVELOPER, "Payments"),
    ("Yuki Tanaka", Role.DEVELOPER, "Payments"),
    ("Omar Haddad", Role.DEVELOPER, "Platform"),
    ("Chloé Martin", Role.DEVELOPER, "Platform"),
    ("Kwame Mensah", Role.DEVELOPER, "Mobile"),
    ("Sofia Rossi", Role.DEVELOPER, "Mobile"),
    ("Liam Byrne", Role.MEMBER, ""),
)

# Passwords are made of them: four words are 4 × 6 bits, which is plenty for an example on loopback.
WORDS = (
    "amber",
    "anchor",
    "apple",
    "autumn",
    "bamboo",
    "beacon",
    "birch",
    "breeze",
    "canyon",
    "cedar",
    "cinder",
    "clover",
    "comet",
    "copper",
    "coral",
    "cotton",
    "delta",
    "desert",
    "ember",
    "falcon",
    "fern",
    "forest",
    "garden",
    "ginger",
    "glacier",
    "harbor",
    "hazel",
    "indigo",
    "island",
    "ivory",
    "jasmine",
    "juniper",
    "lagoon",
    "lantern",
    "lemon",
    "linen",
    "maple",
    "marble",
    "meadow",
    "mellow",
    "mint",
    "morning",
    "nectar",
    "nutmeg",
    "oasis",
    "olive",
    "orchid",
    "pebble",
    "pepper",
    "pine",
    "prairie",
    "quartz",
    "raven",
    "river",
    "saffron",
    "silver",
    "summit",
    "thistle",
    "timber",
    "tulip",
    "velvet",
    "walnut",
    "willow",
    "winter",
)


class Story(NamedTuple):
    """One key's life: days before today, negative ones lying ahead."""

    name: str
    place: str
    issuer: str
    permissions: tuple[str, ...]
    issued: int
    expires_in_days: int | None = None
    used: float | None = None
    ending: str = ""
    ended: int = 0
    environment: str = "live"
    account: str = ""


READ = ("projects:read", "deployments:read", "operations:read")
SCAN = ("scan:trigger", "scan:read", "report:download")
STORIES: tuple[Story, ...] = (
    Story("github-action-checkout-service", "Checkout", "dana", SCAN, 61, 90, 0.01),
    Story("gitlab-ci-ledger", "Ledger", "yuki", (*SCAN, "projects:read"), 47, 90, 0.2),
    Story("checkout-nightly-scan", "Checkout", "dana", ("scan:trigger", "scan:read"), 80, 90, 0.6),
    Story("ledger-report-export", "Ledger", "bob", ("report:download",), 86, 90, 1.1),
    Story("payments-status-page", "Payments", "bob", READ, 75, 180, 0.02),
    Story("payments-key-inventory", "Payments", "bob", ("keys:read", "audit:read"), 40, 365, 2),
    Story("checkout-load-test", "Checkout", "yuki", SCAN, 30, 90, 5, environment="test"),
    Story(
        "checkout-staging",
        "Checkout",
        "dana",
        ("projects:read", "scan:read"),
        22,
        90,
        0.4,
        environment="test",
    ),
    Story("ledger-reconciliation-job", "Ledger", "bob", ("*",), 115, None, 0.05),
    Story("checkout-webhook-relay", "Checkout", "bob", ("webhook:receive",), 20, 365, 0.03),
    Story(
        "argo-cd-production",
        "Deployments",
        "priya",
        ("deployments:read", "deployments:write"),
        58,
        90,
        0.004,
        account="argo-cd",
    ),
    Story("argo-cd-staging", "Deployments", "omar", ("deployments:read",), 58, 90, 0.1, environment="test"),
    Story("terraform-cloud", "Platform", "priya", ("deployments:read", "deployments:write"), 33, 180, 0.3),
    Story("grafana-annotations", "Observability", "chloe", ("operations:read",), 118, None, 0.02),
    Story("pagerduty-sync", "Observability", "omar", ("operations:read",), 112, 365, 96),
    Story(
        "deploy-bot",
        "Platform",
        "priya",
        ("deployments:read", "deployments:write", "deployments:delete"),
        83,
        90,
        0.5,
    ),
    Story("renovate-runner", "Deployments", "chloe", READ, 14, 90, 0.07),
    Story("kubernetes-operator", "Deployments", "priya", READ, 9, 365, 0.01),
    Story("loki-exporter", "Observability", "chloe", ("operations:read",), 119, None, None),
    Story("fastlane-ios", "iOS app", "kwame", SCAN, 44, 90, 0.8),
    Story("bitrise-android", "Android app", "sofia", SCAN, 39, 90, 1.4),
    Story("crash-report-upload", "iOS app", "kwame", ("report:download",), 79, 90, 3),
    Story("app-store-release-notes", "iOS app", "jonas", ("projects:read",), 110, 180, 100),
    Story("mobile-release-dashboard", "Mobile", "jonas", (*READ, "report:download"), 26, 90, 0.15),
    Story("android-device-farm", "Android app", "sofia", ("scan:read",), 5, 90, None, environment="test"),
    Story("warehouse-import", "org", "alice", ("org:read", "projects:read"), 90, 365, 0.25),
    Story("siem-audit-export", "org", "alice", ("audit:read",), 66, 365, 0.01),
    Story("cost-report", "org", "mateo", ("projects:read", "operations:read"), 12, 30, 4),
    Story("backstage-catalog", "org", "mateo", ("projects:read", "org:read"), 3, 90, None),
    Story("jenkins-legacy", "Deployments", "omar", READ, 119, 90, 31),
    Story("travis-ci-import", "Checkout", "dana", SCAN, 100, 30, 74),
    Story("hackweek-prototype", "Android app", "sofia", ("projects:read",), 60, 30, 41, environment="test"),
    Story("contractor-audit", "Payments", "bob", ("keys:read",), 50, 30, 21),
    Story("old-deploy-script", "Deployments", "priya", ("deployments:write",), 105, 180, 18, "replaced", 17),
    Story("dana-laptop", "Checkout", "dana", ("projects:read", "scan:trigger"), 70, 90, 12, "laptop stolen", 11),
    Story("circleci-payments", "Ledger", "yuki", SCAN, 95, 180, 45, "moved to GitLab", 44),
    Story("leaked-in-wiki", "iOS app", "jonas", ("report:download",), 55, 90, 28, "pasted into a wiki page", 27),
    Story("zapier-bridge", "Observability", "omar", ("operations:read",), 64, 180, 8, "disabled", 6),
    Story("partner-sandbox", "Payments", "bob", ("analysis:create", "analysis:read"), 35, 90, 10, "disabled", 2),
    Story("metrics-scraper", "Observability", "chloe", ("operations:read",), 29, 90, 0.9, "exposed", 1),
)
