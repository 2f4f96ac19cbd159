"""Why a delivery is tried again when it is: what is said is what was decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx.mailer import STANDARD_RETRY, RetryPolicy
from django_smtpx.models import Attempt, Delivery
from django_smtpx.retry import Asked, History, Why, decide, explain
from django_smtpx.smtp import Result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE = Asked(mode="queue", policy=STANDARD_RETRY, on_unknown="retry")
NOW_MODE = replace(QUEUE, mode="now")
IDLE, READY = Delivery.Lane.IDLE, Delivery.Lane.READY
MINUTE = timedelta(minutes=1)


def attempt(**values):
    """Return an attempt, by default one that was put off."""
    defaults = {"category": "server_busy", "action": "retry", "phase": "rcpt", "code": 450}
    return Attempt(**{"number": 1, "started_at": NOW, "reply": "", **defaults, **values})


def delivery(**values):
    """Return a delivery, by default one that waits for its second attempt."""
    defaults = {"status": "deferred", "lane": IDLE, "step": 1, "age_from": NOW}
    return Delivery(**{**defaults, "next_attempt_at": NOW + MINUTE, **values})


def said(row, latest=None, asked=QUEUE, now=NOW):
    """Explain a row."""
    return explain(row, latest, asked, now)


waits = st.builds(
    dict,
    category=st.sampled_from(["other_temporary", "greylisted", "server_busy", "disconnected"]),
    action=st.sampled_from(["retry", "reconnect", "next_host", "slow", "pause"]),
    reply=st.sampled_from(["", "busy", "come back in 20 minutes", "retry after 5"]),
    code=st.sampled_from([None, 421, 450, 451]),
)
CAUSES = {Why.STEP, Why.HINT, Why.GREYLISTED, Why.RECONNECT, Why.LAST_TRY, Why.DUE}


@settings(max_examples=150, deadline=None)
@given(
    answer=waits,
    step=st.integers(0, 12),
    rand=st.floats(0, 1, exclude_max=True),
    schedule=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=5).map(tuple),
    expires=st.none() | st.floats(31, 1e5),
)
def test_whatever_was_decided_has_its_reason(answer, step, rand, schedule, expires):
    """Each time that a temporary failure leads to is explained, and by what it was taken from."""
    policy = RetryPolicy(schedule=schedule, max_age=5e5)
    end = None if expires is None else NOW + timedelta(seconds=expires)
    result = Result(recipient="", outcome="deferred", phase="rcpt", command="RCPT", **answer)
    history = History(step=step, unknowns=0, age_from=NOW, expires_at=end)
    made = decide(result, history, policy, on_unknown="retry", now=NOW, rand=rand)
    row = delivery(
        step=made.step,
        next_attempt_at=made.next_attempt_at,
        expires_at=end,
        lane=READY if made.next_attempt_at == NOW else IDLE,
    )
    found = said(row, attempt(**answer), replace(QUEUE, policy=policy))
    assert found.why in CAUSES
    if found.why is Why.STEP:
        own = schedule[min(step, len(schedule) - 1)]
        assert (found.step, found.seconds) == (step + 1, own)


@pytest.mark.parametrize(
    ("row", "latest", "why", "seconds"),
    [
        ({}, {}, Why.STEP, 60.0),
        ({"step": 3, "next_attempt_at": NOW + 5.9 * MINUTE}, {}, Why.STEP, 300.0),
        (
            {"next_attempt_at": NOW + 5 * MINUTE},
            {"category": "greylisted", "reply": "Greylisted for 5 minutes"},
            Why.HINT,
            300.0,
        ),
        (
            {"step": 9, "next_attempt_at": NOW + 41 * MINUTE},
            {"category": "greylisted"},
            Why.GREYLISTED,
            2400.0,
        ),
        ({"next_attempt_at": NOW}, {"action": "reconnect"}, Why.RECONNECT, 0.0),
        ({"next_attempt_at": NOW + 7 * MINUTE}, {}, Why.OTHERWISE, 0.0),
        ({"step": 0}, {}, Why.OTHERWISE, 0.0),
        ({"lane": READY}, {}, Why.DUE, 0.0),
        ({"next_attempt_at": None}, {"action": "hold"}, Why.HELD, 0.0),
        ({"parked_at": NOW, "next_attempt_at": NOW + MINUTE}, {}, Why.RESTS, 0.0),
        ({"parked_at": NOW, "next_attempt_at": None}, {}, Why.RESTS, 0.0),
        ({"status": "sending"}, {}, Why.SENDING, 0.0),
        ({"status": "sent"}, {}, Why.NOTHING, 0.0),
        ({"status": "cancelled"}, {}, Why.NOTHING, 0.0),
        ({"status": "failed"}, {"action": "fail"}, Why.REFUSED, 0.0),
        ({"status": "failed"}, {"action": "suppress"}, Why.REFUSED, 0.0),
        ({"status": "failed"}, {}, Why.NOTHING, 0.0),
        (
            {"status": "failed", "category": "expired", "settled_at": NOW + 60 * MINUTE},
            {},
            Why.TOO_OLD,
            3600.0,
        ),
        (
            {
                "status": "failed",
                "category": "expired",
                "settled_at": NOW + MINUTE,
                "expires_at": NOW,
            },
            {},
            Why.EXPIRED,
            0.0,
        ),
        ({"status": "unknown", "unknowns": 3}, {}, Why.UNKNOWN_THRICE, 0.0),
        ({"status": "unknown", "unknowns": 1}, {}, Why.UNKNOWN, 0.0),
    ],
)
def test_reasons(row, latest, why, seconds):
    """Each state has its reason, with the time that it is taken from."""
    found = said(delivery(**row), attempt(**latest))
    assert (found.why, found.seconds) == (why, seconds)


@pytest.mark.parametrize(
    ("row", "asked", "why"),
    [
        ({"status": "queued", "step": 0}, replace(QUEUE, send_at=NOW + MINUTE), Why.SEND_AT),
        ({"status": "queued", "step": 0, "next_attempt_at": NOW}, QUEUE, Why.DUE),
        ({"status": "queued", "step": 0}, QUEUE, Why.OTHERWISE),
        ({"status": "failed"}, QUEUE, Why.NOTHING),
    ],
)
def test_what_was_not_tried(row, asked, why):
    """Without an attempt there is the sender's wish, or nothing to wait for."""
    assert said(delivery(**row), None, asked).why is why


@pytest.mark.parametrize(
    ("status", "asked", "why"),
    [
        ("failed", NOW_MODE, Why.NOW_MODE),
        ("unknown", NOW_MODE, Why.UNKNOWN_NOW),
        ("unknown", replace(QUEUE, on_unknown="hold"), Why.UNKNOWN_HELD),
    ],
)
def test_what_its_mailer_and_mode_say(status, asked, why):
    """What a process sends itself, and what is left to a person, is not tried again."""
    assert said(delivery(status=status), attempt(), asked).why is why


def test_without_its_mailer_nobody_knows_the_schedule():
    """A mailer that is not configured any more has none to compare with."""
    assert said(delivery(), attempt(), replace(QUEUE, policy=None)).why is Why.OTHERWISE


@pytest.mark.parametrize("parked", [None, NOW])
def test_it_may_expire_before(parked):
    """What expires before its next attempt says so, and what rests without an end, too."""
    row = delivery(parked_at=parked, next_attempt_at=NOW + MINUTE, expires_at=NOW + MINUTE / 2)
    assert said(row, attempt()).expires_first == row.expires_at
    row = delivery(parked_at=NOW, next_attempt_at=None, expires_at=NOW + MINUTE)
    assert said(row, attempt()).expires_first == row.expires_at
    assert said(delivery(expires_at=NOW + 2 * MINUTE), attempt()).expires_first is None
    assert said(delivery(lane=READY, expires_at=NOW), attempt()).expires_first is None


@pytest.mark.parametrize("ago", [0, 30])
def test_the_last_try(ago):
    """A try at the end of its time, or half a minute before, is the last."""
    end = NOW + timedelta(minutes=2)
    row = delivery(step=9, expires_at=end, next_attempt_at=end - timedelta(seconds=ago))
    assert said(row, attempt()).why is Why.LAST_TRY
