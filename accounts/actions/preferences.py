"""What mail people want."""

from collections.abc import Collection

from django.db import transaction

from accounts.models import User
from accounts.topics import Topic


@transaction.atomic
def change_preferences(*, user: User, wanted: Collection[Topic]) -> User:
    """Send a person mail about these topics from now on, and about no other."""
    current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    for topic in Topic:
        setattr(current, topic.field, topic in wanted)
    current.save(update_fields=[topic.field for topic in Topic])
    return current


@transaction.atomic
def unsubscribe(*, user: User, topic: Topic) -> User:
    """Send a person no more mail about a topic; once is as good as twice."""
    current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if getattr(current, topic.field):
        setattr(current, topic.field, False)
        current.save(update_fields=[topic.field])
    return current
