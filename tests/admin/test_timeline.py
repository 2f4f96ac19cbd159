"""What happened to a delivery, attempt by attempt, and why it goes on when it does."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_smtpx.admin import words
from django_smtpx.models import Attempt, Delivery, RateWindow
from django_smtpx.pace import Rate
from django_smtpx.pacing import Limit
from django_smtpx.pacing.meter import take
from tests.admin import rows
from tests.admin.conftest import BACKEND

pytestmark = pytest.mark.django_db
IDLE = Delivery.Lane.IDLE


def page_of(client, row, query=""):
    """Return the page of a delivery or a message."""
    name = f"admin:django_smtpx_{row._meta.model_name}_change"
    response = client.get(reverse(name, args=[row.pk]) + query)
    assert response.status_code == 200
    return response.content.decode()


def put_off(of=None, **values):
    """Store a delivery that was put off at its first attempt and waits."""
    defaults = {"status": "deferred", "category": "server_busy", "lane": IDLE, "attempt_count": 1}
    waits = rows.delivery(
        of, **{**defaults, "step": 1, "next_attempt_at": rows.NOW + rows.SOON / 5, **values}
    )
    rows.attempt(
        waits, outcome="deferred", category="server_busy", action="retry", code=450, reply="Busy"
    )
    return waits


def tried(row, count):
    """Store so many attempts of a delivery, and count them."""
    Attempt.objects.bulk_create(
        Attempt(
            delivery=row,
            number=number,
            started_at=rows.NOW + number * rows.SOON,
            outcome="deferred",
            category="server_busy",
            action="retry",
            reply=f"Reply {number}.",
        )
        for number in range(1, count + 1)
    )
    Delivery.objects.filter(pk=row.pk).update(attempt_count=count)


@pytest.mark.parametrize("whose", ["delivery", "message"])
def test_it_says_why(viewer, whose):
    """The page says what the next attempt's time is taken from."""
    waits = put_off()
    page = page_of(viewer, waits if whose == "delivery" else waits.message)
    assert "Step 1 of the schedule: 60 seconds, ±20 %." in page


@pytest.mark.parametrize("mode", ["queue", "now"])
def test_it_says_that_it_has_ended(viewer, mode):
    """A refusal for good says that it is not tried again, whoever sent it."""
    failed = rows.refused(rows.message(mode=mode))
    assert "The verdict is final, and it is not tried again." in page_of(viewer, failed)


def test_it_says_that_it_expires_before(viewer):
    """What would come too late says so."""
    rests = put_off(parked_at=rows.NOW, expires_at=rows.NOW)
    assert "It expires before that, March 4, 2026, noon." in page_of(viewer, rests)


def test_codes_lead_to_their_definitions(viewer):
    """A code, an enhanced code and a rule each lead to where they are documented, and say so."""
    failed = rows.refused()
    rows.attempt(failed, 2, rule="ses-rate")
    page = page_of(viewer, failed)
    for url, text in (
        ("https://www.rfc-editor.org/rfc/rfc5321.html#section-4.2.3", "550"),
        ("https://www.rfc-editor.org/rfc/rfc3463.html#section-3.2", "5.1.1"),
        (
            "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html",
            "ses-rate",
        ),
    ):
        assert f'<a href="{url}" rel="noreferrer noopener" class="smtpx-reference">{text}<' in page
    assert "(RFC 3463 section 3.2, another site)" in page
    for link in re.findall(r'<a href="http[^>]*>', page):
        assert 'rel="noreferrer noopener"' in link


def test_it_says_how_long_it_waited(viewer):
    """Between two attempts stands how long that was."""
    waits = rows.delivery()
    tried(waits, 2)
    assert page_of(viewer, waits).count("tried again after 5\xa0minutes") == 1


def test_many_attempts_are_pages(viewer):
    """The latest attempts are shown, and the earlier ones are links away."""
    waits = rows.delivery()
    tried(waits, 120)
    page = page_of(viewer, waits)
    assert "Reply 71." in page
    assert "Reply 70." not in page
    assert "70 earlier attempts are not shown." in page
    page = page_of(viewer, waits, "?up_to=70")
    assert "Reply 70." in page
    assert "Reply 71." not in page
    assert "The latest attempts" in page
    assert "20 earlier attempts are not shown." in page
    assert "Reply 120." in page_of(viewer, waits, "?up_to=²")


def test_a_message_has_the_latest_of_each(viewer):
    """On a message's page each delivery has its latest attempts."""
    message = rows.message()
    for name in ("ann", "bob"):
        tried(rows.delivery(message, f"{name}@example.com"), 12)
    page = page_of(viewer, message)
    assert page.count("Reply 3.") == 2
    assert "Reply 2." not in page
    assert page.count("2 earlier attempts are not shown.") == 2


def test_a_huge_reply_is_folded(viewer):
    """A reply of many lines is a line or two, and the rest is a touch away."""
    failed = rows.refused()
    Attempt.objects.update(reply="word " * 2000)
    page = page_of(viewer, failed)
    assert page.count("The rest of the reply") == 1


@pytest.mark.parametrize("whose", ["delivery", "message"])
def test_what_it_rests_with(viewer, whose):
    """What is closed in front of it is named, with the reason, and leads to its page."""
    waits = put_off(parked_at=rows.NOW)
    mailer = rows.route()
    domain = rows.route(domain="example.com", state="paused", pause_reason="450 Busy")
    rows.route(domain="example.org", pause_reason="not this one")
    rows.route(mailer="other", pause_reason="not this one")
    rows.route(sender="From somebody@else.example", pause_reason="not this one")
    rows.route(sender="MAIL FROM <bounces@site.example>", pause_reason="that sender")
    page = page_of(viewer, waits if whose == "delivery" else waits.message)
    for route in (mailer, domain):
        assert reverse("admin:django_smtpx_route_change", args=[route.pk]) in page
    for text in ("auth 535 5.7.8 Bad credentials", "450 Busy", "that sender"):
        assert text in page
    assert "not this one" not in page


def test_what_it_rests_with_is_not_for_everybody(staff):
    """Who may not view routes learns that one is closed, and not why."""
    waits = put_off(parked_at=rows.NOW)
    rows.route()
    page = page_of(staff("view_delivery"), waits)
    assert "<bdi>default</bdi>: held" in page
    assert "Bad credentials" not in page


@pytest.mark.parametrize("whose", ["delivery", "message"])
def test_statements_do_not_grow(viewer, whose):
    """A page takes as many statements for many attempts and closed routes as for one."""
    waits = put_off(parked_at=rows.NOW)
    rows.route(domain="example.com", state="paused")
    counts = []
    for number in (2, 60):
        with CaptureQueriesContext(connection) as captured:
            page_of(viewer, waits if whose == "delivery" else waits.message)
        counts.append(len(captured))
        Attempt.objects.all().delete()
        tried(waits, number)
        rows.route(sender=f"From shop@site.example{number}", state="paused")
    assert counts[0] == counts[1] <= 12


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119.4, "119 seconds"),
        (300, "5\xa0minutes"),
        (5400, "1\xa0hour, 30\xa0minutes"),
        (172_800, "2\xa0days"),
    ],
)
def test_durations(seconds, said):
    """A length of time is said in units that one can picture."""
    assert words.duration(seconds) == said


def test_a_used_up_rate_is_said(viewer, settings):
    """What is due and may not leave yet says so, in the list and on its page; nothing is written."""
    mailer = {"host": "127.0.0.1", "rate": "2/h"}
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": BACKEND, "OPTIONS": mailer}}
    else:
        settings.SMTPX_MAILERS = {"default": mailer}
    due = rows.delivery()
    said = "its mailer’s rate is used up until"
    url = reverse("admin:django_smtpx_delivery_changelist")
    assert said not in page_of(viewer, due)
    assert not RateWindow.objects.exists()
    limit = Limit("default", "", Rate(2, 3600.0))
    take(limit, timezone.now().timestamp(), 2)
    for page in (
        page_of(viewer, due),
        page_of(viewer, due.message),
        viewer.get(url).content.decode(),
    ):
        assert said in page
