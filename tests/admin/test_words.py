"""Rows in plain words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import translation

from django_smtpx.admin import words
from django_smtpx.models import Attempt, Delivery, Route
from tests.admin.rows import NOW, SOON

IDLE, READY, ALONE = Delivery.Lane.IDLE, Delivery.Lane.READY, Delivery.Lane.ALONE


@pytest.mark.parametrize(
    ("status", "lane", "due", "parked", "said"),
    [
        ("queued", READY, NOW, None, "due now"),
        ("deferred", ALONE, NOW, None, "due now"),
        ("queued", READY, None, None, "due now"),
        ("queued", IDLE, NOW, None, "due now"),
        ("queued", IDLE, NOW + SOON, None, "in 5\xa0minutes (March 4, 2026, 12:05 p.m.)"),
        ("deferred", IDLE, NOW + SOON, None, "in 5\xa0minutes (March 4, 2026, 12:05 p.m.)"),
        (
            "deferred",
            IDLE,
            NOW + timedelta(seconds=59),
            None,
            "in less than a minute (March 4, 2026, noon)",
        ),
        ("deferred", IDLE, None, None, "waits for a person"),
        ("deferred", IDLE, None, NOW, "rests until its mailer, domain or sender is resumed"),
        (
            "queued",
            IDLE,
            NOW + SOON,
            NOW,
            "rests with its mailer, domain or sender until March 4, 2026, 12:05 p.m.",
        ),
        ("deferred", IDLE, NOW, NOW - SOON, "due now"),
        ("sending", IDLE, NOW, None, "being sent now"),
        ("unknown", IDLE, None, None, "waits for a person"),
        ("sent", IDLE, None, None, ""),
        ("failed", IDLE, None, None, ""),
        ("suppressed", IDLE, None, None, ""),
        ("cancelled", IDLE, None, None, ""),
    ],
)
def test_next_attempt(status, lane, due, parked, said):
    """A delivery says when, or on whose word, it is tried again."""
    row = Delivery(
        mailer="default", status=status, lane=lane, next_attempt_at=due, parked_at=parked
    )
    assert words.next_attempt(row, NOW) == said


@pytest.mark.parametrize("name", ["gone", ""])
def test_next_attempt_without_a_mailer(name):
    """What is due for a mailer that nobody has configured is not said to be due."""
    row = Delivery(mailer=name, status="queued", lane=READY, next_attempt_at=NOW)
    assert words.next_attempt(row, NOW) == "waits for its mailer to be configured"


@pytest.mark.parametrize(
    ("state", "until", "said"),
    [
        ("open", None, ""),
        ("held", None, "when it is resumed"),
        ("paused", NOW, "due now"),
        ("paused", NOW + SOON, "in 5\xa0minutes (March 4, 2026, 12:05 p.m.)"),
    ],
)
def test_next_probe(state, until, said):
    """A route says when it is tried again."""
    assert words.next_probe(Route(state=state, paused_until=until), NOW) == said


@pytest.mark.parametrize(
    ("status", "category", "said"),
    [
        ("queued", "", "Not tried yet."),
        ("sending", "", "Not tried yet."),
        ("suppressed", "suppressed", "Never tried: the address is on the suppression list."),
        ("cancelled", "", "Never tried: it was cancelled."),
        ("failed", "expired", "Never tried: it had expired."),
    ],
)
def test_untried(status, category, said):
    """What has no attempt says whether there will be one."""
    assert words.untried(Delivery(status=status, category=category)) == said


@pytest.mark.parametrize(
    ("per_second", "said"),
    [
        (None, ""),
        (14.0, "14.0 messages a second"),
        (1.0, "1.0 messages a second"),
        (0.25, "15.0 messages a minute"),
        (0.01, "36.0 messages an hour"),
        (0.0001, "0.4 messages an hour"),
    ],
)
def test_pace(per_second, said):
    """A slow pace is said in a unit that one can picture."""
    assert words.pace(per_second) == said


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (None, "never"),
        (NOW, "expired (March 4, 2026, noon)"),
        (NOW + SOON, "in 5\xa0minutes (March 4, 2026, 12:05 p.m.)"),
    ],
)
def test_expiry(at, said):
    """An entry says until when it counts."""
    assert words.expiry(at, NOW) == said


def test_mailer(settings):
    """A mailer that cannot be used any more says so."""
    assert words.mailer("default") == "default"
    assert words.mailer("gone") == "gone (not configured)"
    assert words.mailer("") == "(without a name)"


def test_mailer_with_a_mistake(monkeypatch):
    """A mailer whose options are wrong is told from one that is not there."""
    monkeypatch.setattr(words, "mailer_errors", lambda: {"broken": ValueError()})
    assert words.mailer("broken") == "broken (configuration error)"


def test_subject():
    """A subject fits into a list, and an empty one is not nothing."""
    assert words.subject("Hello") == "Hello"
    assert words.subject(" ") == "(no subject)"
    assert len(words.subject("x" * 1000)) == 80
    assert len(words.subject("x" * 1000, whole=True)) == 1000


@pytest.mark.parametrize(
    ("code", "enhanced", "said"),
    [(550, "5.1.1", "550 5.1.1"), (421, "", "421"), (None, "", "")],
)
def test_codes(code, enhanced, said):
    """A code that was not given is not shown as one."""
    assert words.codes(code, enhanced) == said


def test_counts():
    """Counts come in the order of the statuses, and none is shown that is nought."""
    assert words.counts({"failed": 1, "sent": 3, "queued": 0}) == "3 sent, 1 failed"
    assert words.counts({}) == ""


@pytest.mark.parametrize(
    ("ip", "port", "said"),
    [
        ("192.0.2.1", 2525, "192.0.2.1:2525"),
        ("2001:db8::1", 25, "[2001:db8::1]:25"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("", None, ""),
    ],
)
def test_address(ip, port, said):
    """An IPv6 address is told from its port."""
    assert words.address(Attempt(ip=ip, port=port)) == said


def test_encryption():
    """TLS is shown with what vouched for the server's name."""
    assert words.encryption(Attempt(tls="TLSv1.3 X", tls_verified_by="pkix")) == (
        "TLSv1.3 X, verified by PKIX"
    )
    assert words.encryption(Attempt(tls="TLSv1.3 X")) == "TLSv1.3 X"
    assert words.encryption(Attempt()) == ""


def test_words_are_said_in_the_readers_language():
    """Times are written as the reader's language has them."""
    with translation.override("de"):
        assert words.moment(NOW) == "4. März 2026 12:00"
