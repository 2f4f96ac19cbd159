"""When, if ever, to try again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.mailer import STANDARD_RETRY, RetryPolicy
from django_smtpx.retry import (
    History,
    decide,
    decide_now,
    delay,
    greylisting_hint,
    parked,
)
from django_smtpx.smtp import Result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
YOUNG = History(step=0, unknowns=0, age_from=NOW)


def result(outcome="deferred", category="other_temporary", action="retry", reply=""):
    """Return a result as the wire would give it."""
    return Result(
        recipient="a@example.com",
        outcome=outcome,
        category=category,
        action=action,
        phase="rcpt",
        command="RCPT",
        reply=reply,
    )


def decided(given_result, history=YOUNG, policy=STANDARD_RETRY, *, on_unknown="retry", rand=0.5):
    """Decide at NOW."""
    return decide(given_result, history, policy, on_unknown=on_unknown, now=NOW, rand=rand)


def test_sent_is_final():
    """A sent delivery is settled, and nothing follows."""
    decision = decided(result("sent", "ok", "none"))
    assert (decision.status, decision.outcome, decision.settled) == ("sent", "sent", True)
    assert decision.next_attempt_at is None


def test_permanent_by_verdict_is_final_at_once():
    """A failed recipient is failed at the first attempt."""
    decision = decided(result("failed", "mailbox_unknown", "suppress"))
    assert (decision.status, decision.category) == ("failed", "mailbox_unknown")
    assert decision.settled


@pytest.mark.parametrize(
    ("step", "minutes"),
    [(0, 1), (1, 2), (2, 5), (3, 10), (5, 40), (6, 60), (9, 240), (10, 360), (99, 360)],
)
def test_standard_schedule(step, minutes):
    """The standard schedule is the documented one, and its last step repeats."""
    decision = decided(result(), replace(YOUNG, step=step))
    assert decision.next_attempt_at == NOW + timedelta(minutes=minutes)
    assert decision.step == step + 1


@pytest.mark.parametrize(("rand", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
@pytest.mark.parametrize("step", [0, 50])
def test_jitter_is_twenty_per_cent_and_does_not_vanish(step, rand, factor):
    """The jitter is ±20 % of the step, at the last one as well."""
    base = STANDARD_RETRY.schedule[min(step, 10)]
    assert delay(STANDARD_RETRY, step, rand) == timedelta(seconds=base * factor)


def test_temporary_ends_as_expired():
    """At max_age a temporary failure becomes failed/expired."""
    history = replace(YOUNG, age_from=NOW - timedelta(hours=48))
    decision = decided(result(), history)
    assert (decision.status, decision.category, decision.outcome) == ("failed", "expired", "failed")


def test_last_attempt_is_at_the_deadline():
    """The last wait is cut so that a last attempt is made when max_age is reached."""
    history = replace(YOUNG, step=10, age_from=NOW - timedelta(hours=47))
    assert decided(result(), history).next_attempt_at == NOW + timedelta(hours=1)


def test_expires_at_comes_before_max_age():
    """A message's own expires_at ends it earlier than max_age would."""
    soon = NOW + timedelta(seconds=10)
    history = replace(YOUNG, expires_at=soon)
    assert decided(result(), history).next_attempt_at == soon
    assert decided(result(), replace(history, expires_at=NOW)).category == "expired"


def test_split_loses_no_step():
    """A recipient that goes in the next transaction is due now and keeps its schedule."""
    decision = decided(result(category="too_many_recipients", action="split"))
    assert (decision.next_attempt_at, decision.step) == (NOW, 0)


def test_reconnect_is_at_once_but_only_the_first_time():
    """A fresh connection is tried at once, and burns a step so that it cannot loop."""
    first = decided(result(category="disconnected", action="reconnect"))
    assert (first.next_attempt_at, first.step) == (NOW, 1)
    again = decided(
        result(category="disconnected", action="reconnect"), replace(YOUNG, step=first.step)
    )
    assert again.next_attempt_at == NOW + timedelta(minutes=2)


def test_hold_waits_for_a_person():
    """A held delivery is deferred without a next attempt, and not settled."""
    decision = decided(result(category="sender_rejected", action="hold"))
    assert (decision.status, decision.next_attempt_at, decision.settled) == (
        "deferred",
        None,
        False,
    )


def test_hold_with_a_temporary_reply_is_tried_again():
    """A 4yz says of itself that it passes: it goes by the schedule, and ends by it."""
    held = result(category="sender_rejected", action="hold")._replace(code=450)
    assert decided(held).next_attempt_at == NOW + timedelta(minutes=1)
    old = replace(YOUNG, age_from=NOW - timedelta(hours=48))
    assert decided(held, old).category == "expired"
    held = held._replace(code=550)
    assert decided(held).next_attempt_at is None


def test_unknown_is_tried_again():
    """With on_unknown=retry an unknown outcome is deferred and counted."""
    decision = decided(result("unknown", "unknown_outcome"))
    assert (decision.status, decision.outcome, decision.unknowns) == ("deferred", "unknown", 1)
    assert decision.next_attempt_at == NOW + timedelta(minutes=1)


def test_third_unknown_waits_for_a_person():
    """After three unknown outcomes a person decides, whatever the policy."""
    decision = decided(result("unknown", "unknown_outcome"), replace(YOUNG, unknowns=2))
    assert (decision.status, decision.next_attempt_at, decision.settled) == ("unknown", None, False)


def test_unknown_is_held_when_asked():
    """With on_unknown=hold the first unknown outcome waits for a person."""
    decision = decided(result("unknown", "unknown_outcome"), on_unknown="hold")
    assert (decision.status, decision.outcome) == ("unknown", "unknown")


def test_unknown_at_the_deadline_is_not_called_failed():
    """What may have been delivered is never said to have failed, not even at its end."""
    old = replace(YOUNG, age_from=NOW - timedelta(hours=49))
    decision = decided(result("unknown", "unknown_outcome"), old)
    assert (decision.status, decision.outcome) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("sent", "sent"), ("deferred", "failed"), ("failed", "failed"), ("unknown", "unknown")],
)
def test_now_mode_is_never_tried_again(outcome, status):
    """In now mode every outcome is the last."""
    decision = decide_now(result(outcome), YOUNG)
    assert (decision.status, decision.next_attempt_at) == (status, None)


def test_parked_loses_no_step():
    """A failed session burns no step of the message it was opened for."""
    until = NOW + timedelta(minutes=1)
    decision = parked(result(category="unreachable"), replace(YOUNG, step=3), until)
    assert (decision.status, decision.step, decision.next_attempt_at) == ("deferred", 3, until)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ("Greylisted for 5 minutes", 300),
        ("greylisted for 60 seconds by ZEROSPAM", 60),
        ("try again in 00:04:31", 271),
        ("come back in 2 hours", 3600),
        ("Greylisted, please try again in 30s", 30),
        ("in 0 seconds", 1),
    ],
)
def test_greylisting_hint(reply, seconds):
    """The wait that a greylisting reply names is understood, up to an hour."""
    assert greylisting_hint(reply) == timedelta(seconds=seconds)


def test_no_greylisting_hint():
    """A reply without a time gives none."""
    assert greylisting_hint("Greylisted, see http://example.com/450") is None


def test_greylisting_hint_is_obeyed():
    """The hint replaces the schedule's step; jitter only lengthens it."""
    greylisted = result(category="greylisted", reply="Greylisted for 5 minutes")
    assert decided(greylisted, rand=0.0).next_attempt_at == NOW + timedelta(minutes=5)
    assert decided(greylisted, rand=1.0).next_attempt_at == NOW + timedelta(minutes=6)


def test_greylisting_without_hint_follows_the_schedule():
    """Without a hint the schedule's step holds."""
    assert decided(result(category="greylisted")).next_attempt_at == NOW + timedelta(minutes=1)


policies = st.builds(
    RetryPolicy,
    schedule=st.lists(st.floats(10, 1e5), min_size=1, max_size=6).map(tuple),
    max_age=st.floats(60, 5000),
)


@given(
    policy=policies,
    actions=st.lists(st.sampled_from(["retry", "reconnect", "slow", "pause"]), min_size=1),
    rands=st.lists(st.floats(0, 1, exclude_max=True), min_size=1),
)
def test_it_ends_and_never_runs_hot(policy, actions, rands):
    """Whatever is tried again ends, never in the past, and at once only the first time."""
    now, history, at_once = NOW, YOUNG, 0
    limit = int(policy.max_age / (min(policy.schedule) * 0.8)) + 3
    for count in range(limit + 1):
        answer = result(action=actions[count % len(actions)])
        decision = decide(
            answer, history, policy, on_unknown="retry", now=now, rand=rands[count % len(rands)]
        )
        if decision.settled:
            break
        assert decision.next_attempt_at is not None
        assert decision.next_attempt_at >= now
        at_once += decision.next_attempt_at == now
        now = decision.next_attempt_at
        history = replace(history, step=decision.step)
    assert decision.category == "expired"
    assert at_once <= 1
