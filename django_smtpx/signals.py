"""What is told after an outcome is committed; a receiver that raises harms nothing.

``message_queued`` is sent once for each stored message (sender
:class:`~django_smtpx.models.Message`, ``message``). The others are sent for each
attempt (sender :class:`~django_smtpx.models.Delivery`, ``delivery`` and
``attempt``), named after its outcome. ``attempt`` is None where a delivery
ended without one: its ``expires_at`` had passed.

``delivery_delayed`` is sent when a delivery still waits 15 minutes after it
was due for the first time, and again after 3 hours. Its ``attempt`` is the
latest, or None where there was none.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.dispatch import Signal

from django_smtpx.models import Attempt, Delivery, Message, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

message_queued = Signal()
delivery_sent = Signal()
delivery_deferred = Signal()
delivery_delayed = Signal()
delivery_failed = Signal()
delivery_unknown = Signal()
outcomes_counted = Signal()
"""This package's own: ``outcomes`` are pairs of an outcome and the delivery's category, some at
once, and no row is read for it."""
events_stored = Signal()
"""This package's own: ``endpoints`` are the names of webhooks that have something to be told."""

logger = logging.getLogger("django_smtpx.signals")

_BY_OUTCOME = {
    Attempt.Outcome.SENT.value: delivery_sent,
    Attempt.Outcome.DEFERRED.value: delivery_deferred,
    Attempt.Outcome.FAILED.value: delivery_failed,
    Attempt.Outcome.UNKNOWN.value: delivery_unknown,
}


def tell_queued(messages: Iterable[Message]) -> None:
    """Send ``message_queued`` for each message."""
    if message_queued.receivers:
        for message in messages:
            _send(message_queued, Message, message=message)


def tell_outcome(delivery: Delivery, attempt: Attempt | None) -> None:
    """Send the signal of the attempt's outcome; without an attempt the delivery failed."""
    outcome = attempt.outcome if attempt is not None else Attempt.Outcome.FAILED.value
    tell_counts([(outcome, delivery.category)])
    tell_counted(delivery, attempt)


def tell_counted(delivery: Delivery, attempt: Attempt | None) -> None:
    """Send the signal of an outcome that was told among others by :func:`tell_counts`."""
    outcome = attempt.outcome if attempt is not None else Attempt.Outcome.FAILED.value
    _send(_BY_OUTCOME[outcome], Delivery, delivery=delivery, attempt=attempt)


def tell_counts(outcomes: Sequence[tuple[str, str]]) -> None:
    """Send ``outcomes_counted``."""
    if outcomes_counted.receivers:
        _send(outcomes_counted, Delivery, outcomes=outcomes)


def tell_delayed(delivery: Delivery, attempt: Attempt | None) -> None:
    """Send ``delivery_delayed``; ``attempt`` is the latest, if there was one."""
    _send(delivery_delayed, Delivery, delivery=delivery, attempt=attempt)


def tell_events_stored(endpoints: Iterable[str]) -> None:
    """Send ``events_stored``."""
    _send(events_stored, WebhookEvent, endpoints=sorted(endpoints))


def anyone_listens() -> bool:
    """Say whether any outcome signal has a receiver, so that rows need not be loaded for none."""
    return bool(outcomes_counted.receivers) or any(map(listens_to, _BY_OUTCOME))


def listens_to(outcome: str) -> bool:
    """Say whether the signal of an outcome has a receiver."""
    return bool(_BY_OUTCOME[outcome].receivers)


def _send(signal: Signal, sender: type, **kwargs: object) -> None:
    for receiver, response in signal.send_robust(sender, **kwargs):
        if isinstance(response, Exception):
            logger.error("A receiver of a mail signal raised: %r", receiver, exc_info=response)
