"""The last month of the example organization's keys: who used them, and who tried to. See `demo`."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from uuid_utils.compat import uuid7

from apikeys.demo_stories import Story
from apikeys.models import ApiKey
from audit.uses import Use

# What a client calls itself, by a word in the name of its key; the last are those of anyone else.
CLIENTS = {
    "github": "keyportal-action/2.1 (GitHub Actions)",
    "gitlab": "GitLab-Runner/18.5.0",
    "argo": "argocd-application-controller/3.1.8",
    "terraform": "HashiCorp Terraform/1.13.4",
    "grafana": "Grafana/12.2.1",
    "kubernetes": "keyportal-operator/0.9 Go-http-client/2.0",
    "fastlane": "fastlane/2.228.0 ruby/3.4",
    "renovate": "RenovateBot/41.168",
    "report": "curl/8.14.1",
    "import": "Go-http-client/2.0",
    "": "python-requests/2.32.5",
}
# What there is to ask for, by the permission that it takes.
ROUTES = {"projects:read": "v1/projects", "keys:read": "v1/api-keys", "audit:read": "v1/audit-events"}
# How many uses a key has in its last day, if that was just now, and how many before.
LAST_DAY, BEFORE = 40, 60
# The key whose label someone found in a log, and what they did with it.
GUESSED, GUESSES = "metrics-scraper", 42


def uses(api_key: ApiKey, story: Story, now: datetime, chance: random.Random) -> Iterator[Use]:
    """Yield the uses of a key, oldest first: the last one when its story says, and refusals once it had ended."""
    if story.used is None:
        return
    last = now - timedelta(days=story.used)
    first = max(api_key.created_at, last - timedelta(days=30))
    addresses = [f"198.51.100.{chance.randrange(2, 250)}" for _ in range(2)]
    client = next(client for word, client in CLIENTS.items() if word in story.name)
    routes = [route for permission, route in ROUTES.items() if permission in story.permissions] or ["v1/whoami"]
    ended = api_key.revoked_at or api_key.disabled_at or api_key.expires_at
    day = timedelta(days=1)
    for at in _moments(first, last, now - last < day, chance):
        address, route = chance.choice(addresses), chance.choice([*routes, "v1/whoami"])
        yield _use(api_key, at, address=address, route=route, user_agent=client)
    if ended and ended < now:
        code = "key_revoked" if api_key.revoked_at else "key_disabled" if api_key.disabled_at else "key_expired"
        for at in sorted(ended + (now - ended) * chance.random() ** 3 for _ in range(6)):
            known = {"address": addresses[0], "route": routes[0], "user_agent": client}
            yield _use(api_key, at, outcome=code, is_refused=True, status=401, **known)
    if story.name == GUESSED:
        for number in range(GUESSES):
            yield _guess(api_key, (now - timedelta(hours=20)).replace(second=0, microsecond=number))


def _moments(first: datetime, last: datetime, is_busy: bool, chance: random.Random) -> list[datetime]:
    day = timedelta(days=1)
    found = [first + (last - first) * chance.random() for _ in range(BEFORE if is_busy else BEFORE // 2)]
    if is_busy:
        found += [max(first, last - day * chance.random()) for _ in range(LAST_DAY)]
    return [*sorted(found), last]


def _guess(api_key: ApiKey, at: datetime) -> Use:
    """Return a refusal of the key's prefix with another secret."""
    known = {"address": "203.0.113.77", "route": "v1/whoami", "user_agent": "zgrab/0.x"}
    guess = _use(api_key, at, outcome="invalid_key", is_refused=True, status=401, **known)
    return guess._replace(key_id=None, label="", organization_id=None)


def _use(api_key: ApiKey, at: datetime, **said: str | int) -> Use:
    known = {"outcome": "accepted", "is_refused": False, "status": 200, "method": "GET"} | said
    return Use(
        id=uuid7(nanoseconds=int(at.timestamp() * 1e9)),
        at=at,
        prefix=api_key.prefix,
        key_id=api_key.pk,
        label=api_key.label,
        organization_id=api_key.organization_id,
        **known,  # type: ignore[arg-type] # the fields of `Use`, by their names
    )
