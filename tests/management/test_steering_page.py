"""The page on steering says what the commands say."""

from __future__ import annotations

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from django_smtpx.models import Delivery, Route
from django_smtpx.testing import real_queue
from tests.factories import statuses, stored

PAGE = Path(__file__).parents[2] / "docs" / "steering.md"
SESSIONS = re.findall(
    r"^```console\n\$ python manage\.py (.*)\n((?:.+\n)*)```$",
    PAGE.read_text("utf-8"),
    re.MULTILINE,
)


def put(recipient, mailer="default", **values):
    """Store a mail whose delivery is as the page tells."""
    message = stored(recipient, mailer=mailer)
    rows = Delivery.objects.filter(message=message)
    rows.update(lane=Delivery.Lane.IDLE, attempt_count=1, **values)


@pytest.mark.django_db
def test_the_sessions_of_the_page():
    """Run in order against the rows that it tells of, each command prints what is shown."""
    for recipient in ("a@example.com", "b@example.com", "c@example.org"):
        put(recipient, status="failed", category="reputation")
    put("d@example.net", "bulk", status="deferred", category="auth_failed")
    Route.objects.create(mailer="bulk", state="held", pause_reason="auth 535 5.7.8 Bad credentials")
    put("e@example.com", "shop", status="unknown", category="unknown_outcome")
    put("f@example.com", "shop", status="unknown", category="unknown_outcome")
    Delivery.objects.filter(recipient="e@example.com").update(id=41)
    for status in ("deferred", "deferred", "sent"):
        put("news@example.edu", status=status, category="greylisted")
    assert len(SESSIONS) == 10
    others = {name: {"host": "127.0.0.1"} for name in ("bulk", "shop")}
    with real_queue(host="127.0.0.1", port=1, mailers=others):
        for line, shown in SESSIONS:
            command, *arguments = shlex.split(line)
            out = StringIO()
            call_command(command, *arguments, stdout=out)
            assert out.getvalue() == shown, line
    assert sorted(set(statuses())) == ["cancelled", "deferred", "sent"]
