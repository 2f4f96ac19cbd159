"""When, if ever, to try again: pure calls that return a value.

Nothing here reads a clock, a setting or a row; ``now`` and ``rand`` are arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django_smtpx.models import Attempt, Category, Delivery

if TYPE_CHECKING:
    from django_smtpx.mailer import RetryPolicy
    from django_smtpx.smtp import Result

MAX_UNKNOWNS = 3
"""After so many unknown outcomes of one delivery a person decides, whatever the policy says."""

_JITTER = 0.2
_LONGEST_HINT = timedelta(hours=1)
_HINT = re.compile(
    r"(\d{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b"
    r"|(?<!\d)(\d{1,2}):(\d{2}):(\d{2})(?!\d)",
    re.IGNORECASE,
)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a delivery has been through: steps used, unknown outcomes, and its age."""

    step: int
    unknowns: int
    age_from: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a delivery stands after an attempt.

    ``next_attempt_at`` is None when it is settled or waits for a person.
    """

    status: str
    category: str
    outcome: str
    step: int
    unknowns: int
    next_attempt_at: datetime | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to the delivery by itself or by a person's choice."""
        return self.status in (Delivery.Status.SENT, Delivery.Status.FAILED)


def decide(
    result: Result,
    history: History,
    policy: RetryPolicy,
    *,
    on_unknown: str,
    now: datetime,
    rand: float,
) -> Decision:
    """Decide about a delivery of ``"queue"`` mode.

    ``rand`` is in [0, 1). A permanent failure is final at once; a temporary
    one is tried again by ``policy`` until its age reaches ``max_age`` or
    ``expires_at`` passes, which makes it ``failed``/``expired``.
    """
    if result.outcome == "sent":
        return _end(Delivery.Status.SENT, result, history)
    if result.outcome == "failed":
        return _end(Delivery.Status.FAILED, result, history)
    if result.outcome == "unknown":
        unknowns = history.unknowns + 1
        ended = on_unknown == "hold" or unknowns >= MAX_UNKNOWNS
        if ended or now >= _deadline(history, policy):
            return _wait_for_person(Delivery.Status.UNKNOWN, result, history, unknowns)
        return _try_again(result, history, policy, unknowns, now=now, rand=rand)
    if result.action == "hold" and not _says_it_passes(result):
        return _wait_for_person(Delivery.Status.DEFERRED, result, history, history.unknowns)
    return _try_again(result, history, policy, history.unknowns, now=now, rand=rand)


def decide_now(result: Result, history: History) -> Decision:
    """Decide about a delivery of ``"now"`` mode: never again behind the caller's back."""
    if result.outcome == "sent":
        return _end(Delivery.Status.SENT, result, history)
    if result.outcome == "unknown":
        return _wait_for_person(Delivery.Status.UNKNOWN, result, history, history.unknowns + 1)
    return _end(Delivery.Status.FAILED, result, history)


def parked(result: Result, history: History, until: datetime | None) -> Decision:
    """Decide about a delivery whose session failed: it rests with its mailer and loses no step."""
    return Decision(
        status=Delivery.Status.DEFERRED.value,
        category=result.category,
        outcome=Attempt.Outcome.DEFERRED.value,
        step=history.step,
        unknowns=history.unknowns,
        next_attempt_at=until,
    )


def delay(policy: RetryPolicy, step: int, rand: float) -> timedelta:
    """Return the wait after ``step`` earlier retries: the schedule's step, its last one repeated,
    with a jitter of ±20 % that does not vanish at the last step.
    """
    seconds = policy.schedule[min(step, len(policy.schedule) - 1)]
    return timedelta(seconds=seconds * (1 - _JITTER + 2 * _JITTER * rand))


def greylisting_hint(reply: str) -> timedelta | None:
    """Return the wait that a greylisting reply asks for ("for 5 minutes", "00:04:31")."""
    match = _HINT.search(reply)
    if match is None:
        return None
    if match[1]:
        seconds = int(match[1]) * _UNIT_SECONDS[match[2][0].lower()]
    else:
        seconds = int(match[3]) * 3600 + int(match[4]) * 60 + int(match[5])
    return min(timedelta(seconds=max(seconds, 1)), _LONGEST_HINT)


def _says_it_passes(result: Result) -> bool:
    """Say whether the reply itself is a temporary one (RFC 5321 section 4.2.1)."""
    return result.code is not None and result.code // 100 == 4


def _try_again(
    result: Result,
    history: History,
    policy: RetryPolicy,
    unknowns: int,
    *,
    now: datetime,
    rand: float,
) -> Decision:
    deadline = _deadline(history, policy)
    if now >= deadline:
        return Decision(
            status=Delivery.Status.FAILED.value,
            category=Category.EXPIRED.value,
            outcome=Attempt.Outcome.FAILED.value,
            step=history.step,
            unknowns=unknowns,
        )
    wait, burnt = _wait(result, history, policy, rand)
    return Decision(
        status=Delivery.Status.DEFERRED.value,
        category=result.category,
        outcome=result.outcome,
        step=history.step + burnt,
        unknowns=unknowns,
        next_attempt_at=min(now + wait, deadline),
    )


def _wait(
    result: Result, history: History, policy: RetryPolicy, rand: float
) -> tuple[timedelta, int]:
    """Return how long to wait, and how many steps of the schedule that burns."""
    if result.action == "split":
        return timedelta(0), 0
    if result.action == "reconnect" and history.step == 0:
        return timedelta(0), 1
    if result.category == Category.GREYLISTED:
        hint = greylisting_hint(result.reply)
        if hint is not None:
            return hint * (1 + _JITTER * rand), 1
    return delay(policy, history.step, rand), 1


def _deadline(history: History, policy: RetryPolicy) -> datetime:
    deadline = history.age_from + timedelta(seconds=policy.max_age)
    return min(deadline, history.expires_at) if history.expires_at else deadline


def _end(status: Delivery.Status, result: Result, history: History) -> Decision:
    return Decision(
        status=status.value,
        category=result.category,
        outcome=Attempt.Outcome.SENT.value
        if status is Delivery.Status.SENT
        else Attempt.Outcome.FAILED.value,
        step=history.step,
        unknowns=history.unknowns,
    )


def _wait_for_person(
    status: Delivery.Status, result: Result, history: History, unknowns: int
) -> Decision:
    return Decision(
        status=status.value,
        category=result.category,
        outcome=result.outcome,
        step=history.step,
        unknowns=unknowns,
    )
