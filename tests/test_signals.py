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

    names = ("message_queued", *(f"delivery_{o}" for o in Attempt.Outcome.values))
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


def test_each_message_is_told_once(told):
    """message_queued names the message."""
    message = Message()
    signals.tell_queued([message])
    assert told == [("message_queued", Message, {"message": message})]


def test_nobody_listens():
    """Without a receiver there is nothing to load rows for."""
    assert not signals.anyone_listens()
    signals.tell_queued([Message()])


def test_somebody_listens(told):
    """With one there is."""
    assert signals.anyone_listens()
