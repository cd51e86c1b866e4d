"""One example of each mail, with names as bad as names can be, and the sample of what each template is told."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.conf import settings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
# A name that would be a header, an element or a second line, where nobody looks after it.
BAD_NAME = 'Ev\u2028il\r\nBcc: everyone@example.com <b>"&\x0b'


def samples(name: str = "Checkout & Co") -> dict[str, dict[str, Any]]:
    """Return what each mail is told, with a name wherever people choose one."""
    link = f"{settings.KEYPORTAL_URL}/somewhere/"
    label, other = "kp_sk_live_a1B2c3D4…", "kp_sk_live_d4C3b2A1…"
    api_key = SimpleNamespace(name=name, label=label, environment="live", expires_at=None, retires_at=NOON)
    key = {
        "api_key": api_key,
        "place": name,
        "account": SimpleNamespace(name=name),
        "by": "alice@example.com",
        "at": NOON,
        "link": link,
    }
    many = {"count": 12, "names": [name] * 10, "more": 2, "by": "alice@example.com", "at": NOON, "link": link}
    change = {"old_email": "old@example.com", "new_email": "new@example.com", "expires_at": NOON + timedelta(hours=1)}
    team = SimpleNamespace(name=name)
    invitation = SimpleNamespace(team=team, role="developer", get_role_display="developer", expires_at=NOON)
    return {
        "account_deleted": {"at": NOON},
        "announcement": {
            "subject": name,
            "text": "One thing.\n\nAnd another <thing>.",
            "topic": "Tips",
            "unsubscribe_link": link,
            "link": link,
        },
        "email_change_approve": change | {"link": link},
        "email_change_confirm": change | {"link": link},
        "email_change_taken": change,
        "email_changed": change | {"at": NOON},
        "factor_changed": {"what": f"The passkey “{name}” was added", "link": link},
        "invitation": {"organization": SimpleNamespace(name=name), "invitation": invitation, "link": link},
        "key_issued": key,
        "key_revoked": key | {"reason": name},
        "key_rotated": key | {"successor": SimpleNamespace(label=other), "is_leak": False, "is_new": True},
        "keys_handed_over": many | {"accounts": [name]},
        "keys_revoked": many | {"reason": name},
        "new_sign_in": {
            "device": "Firefox on Linux",
            "address": "192.0.2.7",
            "at": NOON,
            "link": link,
            "password_link": link,
        },
        "password_changed": {"at": NOON},
        "password_reset": {"password_reset_url": link, "minutes": 60},
        "role_changed": {"place": name, "role": "developer", "by": "alice@example.com", "at": NOON, "link": link},
    }
