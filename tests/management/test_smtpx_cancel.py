"""``smtpx_cancel``: what waits is withdrawn."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command

from django_smtpx import tasks
from django_smtpx.models import Delivery, Message
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.factories import statuses, stored


def run(*args, **options):
    """Run the command and return the lines that it printed, but for the counts."""
    out = StringIO()
    call_command("smtpx_cancel", *args, stdout=out, **options)
    return [one for one in out.getvalue().splitlines() if not one.startswith("Before and after")]


@pytest.fixture(autouse=True)
def _mailers():
    with real_queue(host="127.0.0.1", port=1):
        yield


@pytest.mark.django_db(transaction=True)
def test_cancelled_mail_is_not_sent():
    """What waits for its first or its next try is withdrawn, and can be sent again after all."""
    script = {"RCPT": {"grey@example.com": ["450 4.7.1 Greylisted for 5 minutes"]}}
    with ScriptedServer(script) as server, real_queue(server):
        EmailMessage("S", "B", "from@example.com", ["grey@example.com"]).send()
        deliver()
        EmailMessage("S", "B", "from@example.com", ["new@example.com"]).send()
        assert statuses() == ["deferred", "queued"]
        assert run("--domain", "example.com") == ["Cancelled: 2."]
        assert deliver() == 0
        assert statuses() == ["cancelled", "cancelled"]
        assert not Message.objects.filter(settled_at=None).exists()
        call_command("smtpx_retry", "--status", "cancelled", verbosity=0)
        assert deliver() == 2
        assert server.message_count == 2


@pytest.mark.django_db
def test_says_what_was_left_alone_and_why():
    """What is under way or over stays as it is; what is in doubt gets a hint."""
    for status in ("queued", "sending", "sent", "failed", "unknown"):
        message = stored()
        Delivery.objects.filter(message=message).update(status=status)
    assert run("--mailer", "default") == [
        "Cancelled: 1.",
        "Left alone: 1 sent already.",
        "Left alone: 1 being sent at this moment.",
        "Left alone: 1 of unknown outcome: the server may have taken it.",
        "Left alone: 1 ended already.",
        "Nothing more is sent of those of unknown outcome; smtpx_retry --arrived settles them.",
    ]


@pytest.mark.django_db
def test_dry_run(monkeypatch):
    """It only counts."""
    stored()
    assert run("--mailer", "default", "--dry-run")[1:] == [
        "default  example.com  none yet           1",
        "Would be cancelled: 1.",
    ]
    assert statuses() == ["queued"]


@pytest.mark.django_db
def test_a_call_without_a_filter_is_refused():
    """Everything is nobody's wish."""
    stored()
    with pytest.raises(CommandError, match="Say which deliveries are meant"):
        run()
    assert statuses() == ["queued"]


@pytest.mark.django_db(transaction=True)
def test_nobody_is_woken(monkeypatch):
    """There is nothing for a worker to do."""
    sent = []
    stored()
    with monkeypatch.context() as patches:
        patches.setattr(tasks, "wake", sent.append)
        assert run("--status", "queued") == ["Cancelled: 1."]
    assert sent == []


@pytest.mark.django_db
def test_nothing_matches():
    """That, too, is an answer, and no error."""
    assert run("--recipient", "nobody@example.com") == ["No delivery matches."]
