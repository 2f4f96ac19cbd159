"""Why a delivery stands where it does, and is tried again when it is: read from its rows.

What was decided is not stored in words. It is derived by the same function that
decided, :func:`~django_smtpx.retry.wait_for`, and said only where what it
gives covers the time that is on record. Where it does not, because the schedule
was another one then, that is what is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from django_smtpx.models import Category, Delivery, Message
from django_smtpx.retry.deciding import (
    LAST_CALL,
    MAX_UNKNOWNS,
    Answer,
    Cause,
    History,
    deadline_of,
    wait_for,
)
from django_smtpx.retry.hints import SHORTEST

if TYPE_CHECKING:
    from datetime import datetime

    from django_smtpx.mailer import RetryPolicy

Status = Delivery.Status
Lane = Delivery.Lane

# Databases round, and so may who decided.
_SLACK = timedelta(seconds=1)


class Why(StrEnum):
    """What there is to say: of what waits, for what; of what has ended, why."""

    SENDING = "sending"
    DUE = "due"
    SEND_AT = "send_at"
    RESTS = "rests"
    STEP = "step"
    HINT = "hint"
    GREYLISTED = "greylisted"
    RECONNECT = "reconnect"
    LAST_TRY = "last_try"
    OTHERWISE = "otherwise"
    HELD = "held"
    UNKNOWN_THRICE = "unknown_thrice"
    UNKNOWN_HELD = "unknown_held"
    UNKNOWN_NOW = "unknown_now"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    TOO_OLD = "too_old"
    EXPIRED = "expired"
    NOW_MODE = "now_mode"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a delivery stands as it does.

    ``step`` is the schedule's, from 1 on; ``seconds`` what the cause says, without
    the jitter, or the age that a delivery came to; ``at`` a time that it is about.
    ``expires_first`` is its message's ``expires_at`` where that comes before the
    next attempt.
    """

    why: Why
    step: int = 0
    seconds: float = 0.0
    at: datetime | None = None
    expires_first: datetime | None = None


class Tried(Answer, Protocol):
    """The latest attempt of a delivery."""

    @property
    def started_at(self) -> datetime:
        """When it began, which is when it was decided from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a message and its mailer ask for; without a mailer nobody knows the schedule."""

    mode: str
    send_at: datetime | None = None
    policy: RetryPolicy | None = None
    on_unknown: str = ""


def explain(row: Delivery, latest: Tried | None, asked: Asked, now: datetime) -> Explanation:
    """Return why ``row`` stands as it does at ``now``; ``latest`` is None if it was not tried."""
    if row.status == Status.SENDING:
        return Explanation(why=Why.SENDING)
    if row.status == Status.UNKNOWN:
        return Explanation(why=_in_doubt(row, asked))
    if row.status == Status.FAILED:
        return _failed(row, latest, asked)
    if row.status not in (Status.QUEUED, Status.DEFERRED):
        return Explanation(why=Why.NOTHING)
    found = _waiting(row, latest, asked, now)
    late = row.expires_at is not None and (found.at is None or found.at >= row.expires_at)
    forever = found.at is None and found.why not in (Why.RESTS, Why.HELD)
    return found if not late or forever else replace(found, expires_first=row.expires_at)


def _in_doubt(row: Delivery, asked: Asked) -> Why:
    if row.unknowns >= MAX_UNKNOWNS:
        return Why.UNKNOWN_THRICE
    if asked.mode == Message.Mode.NOW:
        return Why.UNKNOWN_NOW
    return Why.UNKNOWN_HELD if asked.on_unknown == "hold" else Why.UNKNOWN


def _failed(row: Delivery, latest: Tried | None, asked: Asked) -> Explanation:
    if row.category == Category.EXPIRED:
        if row.expires_at is not None and (row.settled_at or row.expires_at) >= row.expires_at:
            return Explanation(why=Why.EXPIRED, at=row.expires_at)
        age = (row.settled_at - row.age_from).total_seconds() if row.settled_at else 0.0
        return Explanation(why=Why.TOO_OLD, seconds=age)
    if latest is None:
        return Explanation(why=Why.NOTHING)
    if latest.action in ("fail", "suppress"):
        return Explanation(why=Why.REFUSED)
    if asked.mode == Message.Mode.NOW:
        return Explanation(why=Why.NOW_MODE)
    return Explanation(why=Why.NOTHING)


def _waiting(row: Delivery, latest: Tried | None, asked: Asked, now: datetime) -> Explanation:
    due = row.next_attempt_at
    if row.lane > Lane.IDLE:
        return Explanation(why=Why.DUE)
    if row.parked_at is not None:
        return Explanation(why=Why.RESTS, at=due)
    if due is None:
        return Explanation(why=Why.HELD)
    if latest is None:
        why = Why.SEND_AT if due == asked.send_at else Why.DUE if due <= now else Why.OTHERWISE
        return Explanation(why=why, at=due)
    return _scheduled(row, latest, asked.policy, due)


def _scheduled(
    row: Delivery, latest: Tried, policy: RetryPolicy | None, due: datetime
) -> Explanation:
    otherwise = Explanation(why=Why.OTHERWISE, at=due)
    if policy is None:
        return otherwise
    # The step before this attempt, by how many of them it has burnt.
    for step in (row.step - 1, row.step):
        if step < 0:
            continue
        wait = wait_for(latest, step, policy)
        if step + wait.burnt != row.step:
            continue
        least = latest.started_at + wait.drawn(0.0) - _SLACK
        most = latest.started_at + wait.drawn(1.0) + _SLACK
        if due <= most and due in _ends(row, latest, policy):
            return Explanation(why=Why.LAST_TRY, at=due)
        if least <= due <= most:
            why = {Cause.SPLIT: Why.DUE}.get(wait.cause) or Why(wait.cause.value)
            return Explanation(why=why, at=due, step=row.step, seconds=wait.seconds)
    return otherwise


def _ends(row: Delivery, latest: Tried, policy: RetryPolicy) -> tuple[datetime, ...]:
    """Return when the last try of a delivery may be."""
    history = History(
        step=row.step,
        unknowns=row.unknowns,
        age_from=row.age_from,
        expires_at=row.expires_at,
    )
    deadline = deadline_of(history, policy)
    at_once = latest.started_at + timedelta(seconds=SHORTEST)
    ends = (deadline, deadline - LAST_CALL) if deadline == row.expires_at else (deadline,)
    return (*ends, at_once) if at_once >= deadline else ends
