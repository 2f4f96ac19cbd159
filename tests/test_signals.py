"""What is told after commit."""

from __future__ import annotations

import pytest

from django_smtpx import signals
from django_smtpx.models import Attempt, Delivery, Message


@pytest.fixture
def told():
    """Collect what every signal says."""
    heard = []

    def listen(signal, name):
        def receiver(sender, **values):
            values.pop("signal")
            heard.append((name, sender, values))

        signal.connect(receiver)
        return receiver

    names = (
        "message_queued",
        "delivery_delayed",
        *(f"delivery_{o}" for o in Attempt.Outcome.values),
    )
    receivers = [(getattr(signals, name), listen(getattr(signals, name), name)) for name in names]
    yield heard
    for signal, receiver in receivers:
        signal.disconnect(receiver)


@pytest.mark.parametrize("outcome", Attempt.Outcome.values)
def test_each_outcome_has_its_signal(told, outcome):
    """The signal is named after the attempt's outcome, and carries delivery and attempt."""
    delivery, attempt = Delivery(), Attempt(outcome=outcome)
    signals.tell_outcome(delivery, attempt)
    assert told == [(f"delivery_{outcome}", Delivery, {"delivery": delivery, "attempt": attempt})]


def test_an_end_without_an_attempt_is_a_failure(told):
    """What expired unsent is told as failed, without an attempt."""
    signals.tell_outcome(Delivery(), None)
    assert (told[0][0], told[0][2]["attempt"]) == ("delivery_failed", None)


@pytest.mark.parametrize("attempt", [None, Attempt(outcome="deferred")])
def test_a_delay_is_told_with_the_latest_attempt(told, attempt):
    """delivery_delayed carries the delivery, and the attempt if there was one."""
    delivery = Delivery()
    signals.tell_delayed(delivery, attempt)
    assert told == [("delivery_delayed", Delivery, {"delivery": delivery, "attempt": attempt})]


def test_delays_are_not_outcomes():
    """Who listens for delays alone makes no outcome load rows."""

    def receiver(**values):
        raise AssertionError("An outcome was told as a delay.")

    signals.delivery_delayed.connect(receiver)
    try:
        assert not signals.anyone_listens()
        signals.tell_outcome(Delivery(), None)
    finally:
        assert signals.delivery_delayed.disconnect(receiver)


def test_each_message_is_told_once(told):
    """message_queued names the message."""
    message = Message()
    signals.tell_queued([message])
    assert told == [("message_queued", Message, {"message": message})]


def test_nobody_listens():
    """Without a receiver there is nothing to load rows for."""
    assert not signals.anyone_listens()
    signals.tell_queued([Message()])


def test_a_receiver_that_raises_harms_nothing(told, caplog):
    """It is logged, and the other receivers are told all the same."""

    def receiver(**values):
        raise RuntimeError("no")

    signals.delivery_delayed.connect(receiver)
    try:
        signals.tell_delayed(Delivery(), None)
    finally:
        assert signals.delivery_delayed.disconnect(receiver)
    assert [name for name, _, _ in told] == ["delivery_delayed"]
    assert "raised" in caplog.text


def test_somebody_listens(told):
    """With one there is."""
    assert signals.anyone_listens()
