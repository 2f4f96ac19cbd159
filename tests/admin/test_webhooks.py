"""The lists of webhooks and of their events, and enabling one."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from django_smtpx import tasks
from django_smtpx.models import WebhookEndpoint, WebhookEvent
from tests.admin import rows
from tests.admin.pressing import confirm, said, text_of

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_webhookendpoint_changelist"
PAGE = "admin:django_smtpx_webhookendpoint_change"
ENABLE = "admin:django_smtpx_webhookendpoint_enable"
EVENTS = "admin:django_smtpx_webhookevent_changelist"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def hinted(monkeypatch, settings):
    """Configure a webhook with a secret in its path, and catch the hints."""
    settings.SMTPX_WEBHOOKS = {
        "crm": {"url": "https://crm.example.com/sesame?key=sesame", "secret": SECRET}
    }
    sent = []
    monkeypatch.setattr(tasks, "wake_webhook", sent.append)
    return sent


def test_how_they_do(staff, hinted):
    """Where each is, and why it is disabled; neither its path nor its secret."""
    viewer = staff("view_webhookendpoint")
    row = rows.webhook()
    rows.webhook("old")
    rows.event()
    for url in (reverse(LIST), reverse(PAGE, args=[row.pk])):
        text = viewer.get(url).content.decode()
        assert "https://crm.example.com" in text
        assert "HTTP 503 Service Unavailable" in text
        assert "sesame" not in text
        assert SECRET not in text
    assert "not configured" in viewer.get(reverse(LIST)).content.decode()
    page = viewer.get(reverse(PAGE, args=[row.pk]))
    assert "Waiting events: 1" in text_of(page)
    assert reverse(ENABLE) not in page.content.decode()


def test_to_enable_one(staff, hinted):
    """It asks first; then what waits is due, a worker is hinted, and the history says who did it."""
    client = staff("view_webhookendpoint", "enable_webhook")
    row = rows.webhook()
    later = timezone.now() + rows.SOON
    event = rows.event(next_attempt_at=later, attempts=3)
    assert reverse(ENABLE) in client.get(reverse(PAGE, args=[row.pk])).content.decode()
    asked = client.post(
        reverse(LIST), {"action": "enable_selected", "_selected_action": [str(row.pk)]}
    )
    assert "crm : 1 events wait" in text_of(asked)
    row.refresh_from_db()
    assert (row.disabled_at, hinted) == (rows.NOW, [])
    done = confirm(client, asked)
    assert said(done) == ["1 webhook is enabled."]
    row.refresh_from_db()
    event.refresh_from_db()
    assert (row.disabled_at, row.failures, row.error) == (None, 0, "")
    assert event.next_attempt_at < later
    assert (event.attempts, hinted) == (0, ["crm"])
    assert LogEntry.objects.get().get_change_message() == "Enable"


def test_there_may_be_nothing_to_enable(staff, hinted):
    """What is enabled already is left alone."""
    client = staff("view_webhookendpoint", "enable_webhook")
    row = rows.webhook(disabled_at=None, failing_since=None, failures=0, error="")
    page = client.post(reverse(ENABLE), {"keys": str(row.pk)})
    assert "There is nothing to do" in text_of(page)


def test_what_they_are_told(staff, hinted):
    """By webhook and by state, with the way to the delivery."""
    client = staff("view_webhookevent")
    WebhookEndpoint.objects.create(name="crm")
    rows.event()
    rows.event("other", state="done", next_attempt_at=None, done_at=rows.NOW)
    for query, endpoints in (
        ({}, ["other", "crm"]),
        ({"endpoint": "crm"}, ["crm"]),
        ({"state": "done"}, ["other"]),
        ({"endpoint": "crm", "state": "done"}, []),
    ):
        shown = client.get(reverse(EVENTS), query)
        assert [one.endpoint for one in shown.context["cl"].result_list] == endpoints
    assert "/delivery/1/change/" in client.get(reverse(EVENTS)).content.decode()
    assert WebhookEvent.objects.count() == 2


def test_the_overview_tells_of_what_cannot_be_used(staff, settings):
    """Where to look, and nothing of the setting."""
    settings.SMTPX_WEBHOOKS = {"crm": {"url": "sesame"}}
    text = text_of(staff("view_route").get(reverse("admin:app_list", args=["django_smtpx"])))
    assert "Webhook 'crm' cannot be used as it is configured: manage.py check says why." in text
    assert "sesame" not in text


def test_the_overview_names_what_is_disabled(staff, hinted):
    """Whoever sees routes is told of it, in words; mail flows all the same."""
    rows.webhook()
    text = text_of(staff("view_route").get(reverse("admin:app_list", args=["django_smtpx"])))
    assert "Webhook 'crm' is disabled for" in text
    assert "HTTP 503 Service Unavailable" in text
