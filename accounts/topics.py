"""What people may want mail about, beside the notices about their account and keys, which nobody can switch off."""

from enum import Enum

from django.core import signing
from django.core.exceptions import ValidationError

from accounts.mailing.outbox import link
from accounts.models import User

_SALT = "accounts.unsubscribe"


class Topic(Enum):
    """A topic: its name, its title, and what comes under it."""

    PRODUCT_UPDATES = ("product_updates", "Product updates", "What is new in keyportal, now and then.")
    SECURITY_ADVISORIES = (
        "security_advisories",
        "Security advisories",
        "Weaknesses that were found in keyportal or in what it is built on, and what to do about them.",
    )
    TIPS = ("tips", "Tips", "How others keep and rotate their keys, a few times a year.")

    def __init__(self, slug: str, title: str, sentence: str) -> None:
        self.slug, self.title, self.sentence = slug, title, sentence

    @property
    def field(self) -> str:
        """The field of a person that says whether they want it."""
        return f"wants_{self.slug}"


BY_SLUG = {topic.slug: topic for topic in Topic}


class NoSuchSubscription(LookupError):
    """The link is none of ours, or its person is gone."""


def unsubscribe_link(user: User, topic: Topic) -> str:
    """Return the address that switches a topic off without a sign-in, for as long as SECRET_KEY stays the same."""
    return link("unsubscribe", signing.Signer(salt=_SALT).sign_object([str(user.pk), topic.slug]))


def subscription(token: str) -> tuple[User, Topic]:
    """Return whose link this is, and about which topic.

    :raises NoSuchSubscription: if it is nobody's.
    """
    try:
        user_id, slug = signing.Signer(salt=_SALT).unsign_object(token)
        return User.objects.get(pk=user_id, deleted_at=None), BY_SLUG[slug]
    except (signing.BadSignature, ValueError, ValidationError, KeyError, User.DoesNotExist) as error:
        raise NoSuchSubscription from error
