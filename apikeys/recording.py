"""What the audit log is told about keys."""

from collections.abc import Mapping

from apikeys.models import ApiKey
from audit.tracking import Change, Place, track


def start() -> None:
    """Watch the keys. Uses (`last_used_*`) and digests upgraded on use are no changes to a key."""
    track(
        ApiKey,
        table="api_keys",
        noun="api_key",
        label=lambda api_key: api_key.label,
        place=_place,
        fields=[
            "name",
            "kind",
            "scope",
            "environment",
            "permissions",
            "organization",
            "team",
            "project",
            "issuer",
            "expires_at",
            "revoked_at",
            "revoked_by",
            "revoke_reason",
            "disabled_at",
            "exposed_at",
        ],
        event=_event,
        sentences={
            "api_key.revoked": "A key was ended for good; it has been refused since.",
            "api_key.disabled": "A key was disabled; it is refused while it is.",
            "api_key.exposed": "A key was seen where keys must not be, such as in a URL.",
        },
    )


def _place(api_key: ApiKey) -> Place:
    return Place(api_key.organization_id, api_key.place_team_id, api_key.project_id)


def _event(changes: Mapping[str, Change]) -> str | None:
    named = {
        "revoked_at": "api_key.revoked",
        "disabled_at": "api_key.disabled",
        "exposed_at": "api_key.exposed",
    }
    return next((event for field, event in named.items() if field in changes), None)
