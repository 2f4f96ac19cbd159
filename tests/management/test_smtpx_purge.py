"""``smtpx_purge``: the retention, now."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from django_smtpx import delivery
from django_smtpx.models import Content, Delivery, Message
from tests.factories import stored

pytestmark = pytest.mark.django_db


def run(**options):
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("smtpx_purge", stdout=out, **options)
    return out.getvalue()


def settle(message, days):
    """Let a message have been settled so many days ago."""
    at = timezone.now() - timedelta(days=days)
    Delivery.objects.filter(message=message).update(status="sent", settled_at=at)
    Message.objects.filter(pk=message.pk).update(settled_at=at)


def test_purges_by_the_retention():
    """Old contents go, older messages go wholly, and what is not settled stays."""
    waiting, fresh, old, oldest = stored(), stored(), stored(), stored()
    settle(fresh, 1)
    settle(old, 8)
    settle(oldest, 91)
    assert run() == "2 contents deleted.\n1 message deleted from the log.\n"
    assert set(Message.objects.all()) == {waiting, fresh, old}
    assert set(Content.objects.values_list("pk", flat=True)) == {waiting.pk, fresh.pk}
    assert run() == "0 contents deleted.\n0 messages deleted from the log.\n"


def test_obeys_the_settings(settings):
    """The site says how long content is kept."""
    settings.SMTPX_CONTENT_RETENTION = timedelta(0)
    settle(stored(), 0.01)
    assert run() == "1 content deleted.\n0 messages deleted from the log.\n"


def test_hands_over_to_delivery(monkeypatch):
    """The command decides nothing, and is silent when asked to be."""
    monkeypatch.setattr(delivery, "purge", lambda: (1234, 1))
    assert run() == "1234 contents deleted.\n1 message deleted from the log.\n"
    assert run(verbosity=0) == ""
