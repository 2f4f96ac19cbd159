"""The page on the queue shows what the command prints."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from django_smtpx import ledger
from django_smtpx.models import Delivery, Route
from django_smtpx.testing import real_queue
from tests.factories import stored

PAGE = Path(__file__).parents[2] / "docs" / "queue.md"
SESSIONS = re.findall(
    r"^```console\n\$ python manage\.py (.*)\n((?:.+\n)*)```$",
    PAGE.read_text("utf-8"),
    re.MULTILINE,
)
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def put(count, domain, minutes, **values):
    """Store so many mails that have waited for so long."""
    at = ledger.now() - timedelta(minutes=minutes, seconds=30)
    for number in range(count):
        message = stored(f"{number}@{domain}")
        Delivery.objects.filter(message=message).update(
            lane=Delivery.Lane.IDLE, age_from=at, **values
        )


def told(text):
    """Return what was printed with one time for every other, and with plain blanks."""
    return TIME.sub("2026-03-02 00:00:00", text).replace("\xa0", " ")


@pytest.mark.django_db
def test_the_sessions_of_the_page():
    """Whatever the time, each command prints what is shown."""
    now = ledger.now()
    later = now + timedelta(minutes=30)
    resting = {"parked_at": now, "next_attempt_at": later}
    put(12, "example.com", 75, status="queued", **resting)
    again = {"category": "greylisted", "next_attempt_at": now + timedelta(minutes=3)}
    put(2, "example.net", 9, status="deferred", **again)
    put(1, "example.org", 150, status="unknown", category="unknown_outcome", next_attempt_at=None)
    Route.objects.create(
        mailer="default", state="paused", paused_until=later, pause_reason="connect: timed out"
    )
    assert len(SESSIONS) == 2
    with real_queue(host="127.0.0.1", port=1):
        for line, shown in SESSIONS:
            command, *arguments = shlex.split(line)
            out = StringIO()
            call_command(command, *arguments, stdout=out)
            assert told(out.getvalue()) == told(shown), line
