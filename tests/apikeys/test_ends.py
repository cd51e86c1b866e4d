"""When a key ends: by whose clock, and how its client is told beforehand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Project
from apikeys import presented
from apikeys.models import ApiKey
from apikeys.verification import Outcome, verify
from tests.cast import NOON, Issued, Person, later

Issue = Callable[..., Issued]
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def call(issued: Issued) -> Any:
    return Client().get("/v1/whoami", headers=issued.headers)


# The clock


@pytest.mark.postgresql
@pytest.mark.server_time
@pytest.mark.parametrize("wrong_by", [-HOUR, HOUR, timedelta(days=4000)])
def test_expiry_goes_by_the_clock_of_the_databases_host(
    issue: Issue, dana: Person, project: Project, wrong_by: timedelta
) -> None:
    now = datetime.now(UTC)
    ended = issue(dana, project, expires_at=now - SECOND, at=now - HOUR)
    running = issue(dana, project, expires_at=now + HOUR / 2, at=now - HOUR)
    at = now + wrong_by
    assert verify(ended.text, at=at).outcome is Outcome.KEY_EXPIRED
    assert verify(running.text, at=at).outcome is Outcome.ACCEPTED


@pytest.mark.postgresql
@pytest.mark.server_time
def test_database_tells_its_time_with_each_read(issued: Issued) -> None:
    before = datetime.now(UTC)
    read = presented.read(issued.row.prefix, at=NOON)
    assert read is not None
    assert before - SECOND <= read[1] <= datetime.now(UTC) + SECOND


@pytest.mark.sqlite
@pytest.mark.server_time
def test_time_of_sqlites_host_is_that_of_the_process(issued: Issued) -> None:
    read = presented.read(issued.row.prefix, at=NOON)
    assert read is not None
    assert read[1] == NOON


@pytest.mark.parametrize(
    ("moment", "status"), [(later(days=30) - SECOND, 200), (later(days=30), 401), (later(days=31), 401)]
)
def test_key_is_refused_from_its_second_on(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project, moment: datetime, status: int
) -> None:
    issued = issue(dana, project, expires_at=later(days=30))
    noon.move_to(moment)
    response = call(issued)
    assert response.status_code == status
    assert status == 200 or response.json()["code"] == "key_expired"


# Its announcement


def test_answer_says_when_the_key_ends(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project
) -> None:
    response = call(issue(dana, project, expires_at=later(days=15)))
    assert response["Key-Expires"] == "Tue, 17 Mar 2026 12:00:00 GMT"
    assert "Sunset" not in response


@pytest.mark.parametrize("days", [14, 1])
def test_answer_warns_in_the_last_14_days(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project, days: int
) -> None:
    response = call(issue(dana, project, expires_at=later(days=days)))
    assert response["Sunset"] == response["Key-Expires"]


def test_answer_with_a_refusal_of_a_good_key_says_so_too(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, expires_at=later(days=3))
    response = Client().get("/v1/audit-events", headers=issued.headers)
    assert response.status_code == 403
    assert response["Sunset"] == response["Key-Expires"] == "Thu, 05 Mar 2026 12:00:00 GMT"


def test_rotated_key_ends_when_it_retires(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, expires_at=later(days=90))
    ApiKey.objects.filter(pk=issued.row.pk).update(rotated_at=NOON, settle_seconds=60, retires_at=later(days=7))
    response = call(issued)
    assert response["Sunset"] == response["Key-Expires"] == "Mon, 09 Mar 2026 12:00:00 GMT"


def test_key_without_end_announces_none(noon: time_machine.Traveller, issued: Issued) -> None:
    response = call(issued)
    assert response.status_code == 200
    assert not {"Key-Expires", "Sunset"} & {*response.headers}


def test_refused_key_announces_nothing(
    noon: time_machine.Traveller, issue: Issue, dana: Person, project: Project
) -> None:
    issued = issue(dana, project, expires_at=later(days=1))
    noon.move_to(later(days=2))
    assert not {"Key-Expires", "Sunset"} & {*call(issued).headers}
