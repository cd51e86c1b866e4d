"""What people say about themselves."""

from django.db import transaction

from accounts.models import User


@transaction.atomic
def change_profile(*, user: User, name: str, company: str, job_title: str, time_zone: str) -> User:
    """Keep a person's own words about themselves, and the time zone of their pages.

    :param time_zone: a name of the IANA time zone database; empty for UTC.
    """
    current = User.objects.select_for_update().get(pk=user.pk)
    current.name, current.company, current.job_title = name.strip(), company.strip(), job_title.strip()
    current.time_zone = time_zone
    current.save(update_fields=["name", "company", "job_title", "time_zone"])
    return current
