"""``smtpx_webhooks``: look, enable, disable, tell once more."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_smtpx import tasks
from django_smtpx.models import WebhookEndpoint, WebhookEvent
from tests.admin import rows
from tests.webhooks.receiver import SECRET

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def hinted(monkeypatch, settings):
    """Configure a webhook, and catch the hints."""
    url = "https://crm.example.com/hidden"
    settings.SMTPX_WEBHOOKS = {"crm": {"url": url, "secret": SECRET}}
    sent = []
    monkeypatch.setattr(tasks, "wake_webhook", sent.append)
    return sent


def run(*args):
    """Run it, and return what it prints."""
    out = StringIO()
    call_command("smtpx_webhooks", *args, stdout=out, stderr=out)
    return out.getvalue()


def test_it_lists_them(settings):
    """Without a step as well; never with a path or a secret."""
    assert run() == run("list")
    assert "crm      https://crm.example.com  ok           0" in run()
    rows.event()
    WebhookEndpoint.objects.update(failures=2, failing_since=rows.NOW, error="HTTP 500")
    (row,) = json.loads(run("list", "--format", "json"))
    assert row == {
        "name": "crm",
        "where": "https://crm.example.com",
        "state": "failing",
        "since": rows.NOW.isoformat(),
        "waiting": 1,
        "error": "HTTP 500",
    }
    settings.SMTPX_WEBHOOKS = {"crm": {"url": "x", "secret": SECRET}}
    assert "No webhook is configured." in run()
    assert "SMTPX_WEBHOOKS['crm']['url'] must begin with https://" in run()
    assert SECRET not in run()


def test_disable_and_enable(hinted):
    """With a reason for whoever wonders; enabling wakes a worker."""
    assert "is disabled" in run("disable", "crm", "--reason", "moving house")
    row = WebhookEndpoint.objects.get()
    assert (row.disabled_at is not None, row.error) == (True, "moving house")
    assert "disabled" in run("list")
    assert hinted == []
    rows.event()
    assert "Events that wait: 1." in run("enable", "crm")
    assert WebhookEndpoint.objects.get().disabled_at is None
    assert hinted == ["crm"]


def test_replay(hinted):
    """What happened lately, or what was given up; one has to say which."""
    ended = {"next_attempt_at": None, "created_at": timezone.now()}
    rows.event(state="done", done_at=rows.NOW, **ended)
    rows.event(state="given_up", **ended)
    with pytest.raises(CommandError, match="Say which"):
        run("replay", "crm")
    with pytest.raises(CommandError, match="no duration"):
        run("replay", "crm", "--last", "soon")
    assert "1 events" in run("replay", "crm", "--given-up")
    assert "1 events" in run("replay", "crm", "--last", "2h")
    assert WebhookEvent.objects.filter(state="waiting").count() == 2
    assert hinted == ["crm", "crm"]


def test_there_is_no_such_webhook():
    """It names those that there are."""
    with pytest.raises(CommandError, match=r"no webhook 'cmr'\. Configured: 'crm'"):
        run("enable", "cmr")
