"""The filter by time, which reads keys and no times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx.admin.times import first_since, span
from django_smtpx.models import Message
from tests.admin import rows

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/django_smtpx/delivery/"
MESSAGES = "/admin/django_smtpx/message/"
HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def stored(*times, step=1):
    """Store a message at each of these times; keys leave gaps of ``step``."""
    last = Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    Message.objects.bulk_create(
        Message(pk=last + number * step, message_id=f"<{number}@x>", size=1, created_at=at)
        for number, at in enumerate(times, 1)
    )


def recipients(client, query):
    """Return the recipients that the list shows."""
    response = client.get(DELIVERIES + query)
    assert response.status_code == 200
    return [row.recipient for row in response.context["cl"].result_list]


@pytest.mark.parametrize("step", [1, 7, 100_003])
@pytest.mark.parametrize("shape", ["even", "late", "early", "same"])
def test_first_since(shape, step):
    """The first message from a time on is found, however mail came and whatever was deleted."""
    shapes = {
        "even": [NOON + n * HOUR for n in range(40)],
        "late": [NOON, *(NOON + 1000 * HOUR + n * HOUR for n in range(39))],
        "early": [*(NOON + n * HOUR for n in range(39)), NOON + 1000 * HOUR],
        "same": [NOON + (n // 10) * HOUR for n in range(40)],
    }
    times = shapes[shape]
    stored(*times, step=step)
    keys = dict(enumerate(Message.objects.order_by("pk").values_list("pk", flat=True)))
    for at in {*times, NOON - HOUR, NOON + HOUR / 2, times[-1] - HOUR / 3, times[-1] + HOUR}:
        wanted = next((keys[n] for n, time in enumerate(times) if time >= at), None)
        assert first_since(at) == wanted, at


def test_first_since_nothing():
    """Where there is no message, none is the first."""
    assert first_since(NOON) is None


def test_first_since_takes_few_steps():
    """A thousand keys apart or a million, evenly or not: some look-ups of one row each."""
    stored(*(NOON + n * HOUR for n in range(500)), step=100_000)
    stored(*(NOON + 5000 * HOUR + n * n * HOUR for n in range(500)), step=3)
    for at in (NOON + 77 * HOUR, NOON + 499.5 * HOUR, NOON + 9000 * HOUR):
        with CaptureQueriesContext(connection) as captured:
            first_since(at)
        assert len(captured) <= 60
        assert all("LIMIT 1" in one["sql"] for one in captured)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-03-03", ["bob"]),
        ("2026-03-04", ["dan", "cid"]),
        ("2026-03-04T13", ["dan"]),
        ("2026-03-05", []),
        ("2026-03-01", []),
        ("2026-13-01", []),
        ("9999-12-31", []),
        ("nonsense", []),
        ("", []),
    ],
)
def test_a_day_and_an_hour(viewer, value, found):
    """A day has what was stored on it, an hour its part of that; what is neither has nothing."""
    for name, at in (
        ("ann", NOON - 48 * HOUR),
        ("bob", NOON - 13 * HOUR),
        ("cid", NOON - 12 * HOUR),
        ("dan", NOON + 1.5 * HOUR),
        ("eve", NOON + 40 * HOUR),
    ):
        rows.delivery(rows.message(created_at=at), name)
    assert recipients(viewer, f"?when={value}") == found
    assert viewer.get(f"{MESSAGES}?when={value}").context["cl"].result_count == len(found)


@pytest.mark.parametrize(
    ("value", "found"),
    [("hour", 1), ("today", 1), ("yesterday", 1), ("week", 3), ("", 4)],
)
def test_lately(viewer, monkeypatch, value, found):
    """What is recent is found by words for it."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    for ago in (200 * HOUR, 50 * HOUR, 20 * HOUR, HOUR / 2):
        rows.delivery(rows.message(created_at=NOON - ago))
    assert len(recipients(viewer, f"?when={value}" if value else "")) == found


def test_days_around_a_day(viewer):
    """Beside a chosen day those before and after it can be chosen, and any other in a form."""
    rows.delivery()
    page = viewer.get(DELIVERIES, {"when": "2026-03-04", "mailer": "default"}).content.decode()
    for day in ("2026-03-03", "2026-03-05"):
        assert f"?mailer=default&amp;when={day}" in page
    assert '<input type="date" id="smtpx-when" name="when" value="2026-03-04"' in page
    assert '<input type="hidden" name="mailer" value="default">' in page
    assert "March 5, 2026" in page


def test_an_hour_is_named(viewer):
    """A chosen hour says which one it is."""
    page = viewer.get(DELIVERIES, {"when": "2026-03-04T13"}).content.decode()
    assert "March 4, 2026, one hour from 1 p.m." in page


def test_days_are_those_of_the_site(settings):
    """A day begins at midnight where the site is, and is as long as it is there."""
    settings.TIME_ZONE = "Europe/Berlin"
    with timezone.override("Europe/Berlin"):
        begin, end = span("2026-03-29", NOON)
    assert begin == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert end == datetime(2026, 3, 29, 22, tzinfo=UTC)


@pytest.mark.parametrize("value", ["0001-01-01", "9999-12-31", "0001-01-01T00", "9999-12-31T23"])
def test_a_day_without_neighbours(viewer, value):
    """Nothing was stored on the first day that there is, nor on the last."""
    rows.delivery()
    assert recipients(viewer, f"?when={value}") == []
