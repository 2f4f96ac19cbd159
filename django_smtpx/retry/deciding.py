"""When, if ever, to try again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from django_smtpx.models import Action, Attempt, Category, Delivery
from django_smtpx.retry.hints import SHORTEST, greylisting_hint

if TYPE_CHECKING:
    from django_smtpx.mailer import RetryPolicy
    from django_smtpx.smtp import Result

MAX_UNKNOWNS = 3
"""After so many unknown outcomes of one delivery a person decides, whatever the policy says."""

GREYLIST_STEPS = (300.0, 600.0, 1200.0, 2400.0)
"""Seconds that a greylisted delivery waits at most, step by step; the last one repeats.

Greylisters let a sender in after 1 to 25 minutes; 5 are Postgrey's default. And they forget who
does not come back, OpenBSD's spamd after 4 hours: a schedule that has come to steps of hours would
be a stranger to it each time. Where the policy's own step is shorter it holds: the standard one
passes a greylister of 1, 5 or 15 minutes with 2, 4 or 5 attempts.
"""

_JITTER = 0.2
# So many steps a hint is taken at its word. A server that still says "in 5 seconds"
# after that is asked as often as one that says nothing, and not all day long.
_HINTS_BELIEVED = 5
LAST_CALL = timedelta(seconds=30)
"""The last try comes so long before expires_at: from then on nobody may claim the row."""


class History(NamedTuple):
    """What a delivery has been through: steps used, unknown outcomes, and its age."""

    step: int
    unknowns: int
    age_from: datetime
    expires_at: datetime | None = None


class Answer(Protocol):
    """What a wait depends on of how an attempt ended: a result has it, and the attempt's row."""

    @property
    def action(self) -> str:
        """What the verdict asks for."""

    @property
    def category(self) -> str:
        """What it is about."""

    @property
    def phase(self) -> str:
        """Where it was decided."""

    @property
    def code(self) -> int | None:
        """The reply's code."""

    @property
    def reply(self) -> str:
        """The reply's text."""


class Cause(StrEnum):
    """What a wait is taken from."""

    STEP = "step"
    """A step of the schedule."""
    HINT = "hint"
    """What the server asked for."""
    GREYLISTED = "greylisted"
    """A short step for a greylister that named no time."""
    RECONNECT = "reconnect"
    """None: a fresh connection mends it."""
    SPLIT = "split"
    """None: the next transaction takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long a delivery waits, in seconds: from ``least`` to ``most``, drawn at random.

    ``seconds`` is what the cause says, and ``burnt`` how many steps of the
    schedule it uses.
    """

    cause: Cause
    seconds: float = 0.0
    least: float = 0.0
    most: float = 0.0
    burnt: int = 1

    def drawn(self, rand: float) -> timedelta:
        """Return the wait, for ``rand`` in [0, 1)."""
        return timedelta(seconds=self.least + (self.most - self.least) * rand)


class Decision(NamedTuple):
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
        """Whether the delivery has ended: nothing more is to be done or decided about it."""
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
    ``expires_at`` passes, which makes it ``failed``/``expired``. ``hold``
    waits for a person, as does the third unknown outcome. Only ``split`` and
    the first ``reconnect`` come again at once; all else waits a second or more.
    """
    if result.outcome == "sent":
        return _end(Delivery.Status.SENT, result, history)
    if result.outcome == "failed":
        return _end(Delivery.Status.FAILED, result, history)
    if result.outcome == "unknown":
        unknowns = history.unknowns + 1
        ended = on_unknown == "hold" or unknowns >= MAX_UNKNOWNS
        if ended or now >= deadline_of(history, policy):
            return _wait_for_person(Delivery.Status.UNKNOWN, result, history, unknowns)
        return _try_again(result, history, policy, unknowns, now=now, rand=rand)
    if result.action == "hold":
        return _wait_for_person(Delivery.Status.DEFERRED, result, history, history.unknowns)
    return _try_again(result, history, policy, history.unknowns, now=now, rand=rand)


def decide_now(result: Result, history: History) -> Decision:
    """Decide about a delivery of ``"now"`` mode: never again behind the caller's back."""
    if result.outcome == "sent":
        return _end(Delivery.Status.SENT, result, history)
    if result.outcome == "unknown":
        return _wait_for_person(Delivery.Status.UNKNOWN, result, history, history.unknowns + 1)
    return _end(Delivery.Status.FAILED, result, history)


def carried_out(result: Result, decision: Decision) -> Result:
    """Return ``result`` with the action that is taken: what is in doubt, and is not sent again by
    itself, is held, though its verdict, which knows of no policy, is to try again.
    """
    if decision.status != Delivery.Status.UNKNOWN:
        return result
    return result._replace(action=Action.HOLD.value)


def parked(result: Result, history: History, until: datetime | None) -> Decision:
    """Decide about a delivery that waits for something else than its own schedule, and so loses no
    step of it: its mailer, its sender, another host or another transaction.
    """
    return Decision(
        status=Delivery.Status.DEFERRED.value,
        category=result.category,
        outcome=Attempt.Outcome.DEFERRED.value,
        step=history.step,
        unknowns=history.unknowns,
        next_attempt_at=until,
    )


def is_over(history: History, policy: RetryPolicy, now: datetime) -> bool:
    """Say whether a delivery has come to its age: after its next failure there is no other try."""
    return now >= deadline_of(history, policy)


def _try_again(
    result: Result,
    history: History,
    policy: RetryPolicy,
    unknowns: int,
    *,
    now: datetime,
    rand: float,
) -> Decision:
    deadline = deadline_of(history, policy)
    if now >= deadline:
        return Decision(
            status=Delivery.Status.FAILED.value,
            category=Category.EXPIRED.value,
            outcome=Attempt.Outcome.FAILED.value,
            step=history.step,
            unknowns=unknowns,
        )
    wait = wait_for(result, history.step, policy)
    return Decision(
        status=Delivery.Status.DEFERRED.value,
        category=result.category,
        outcome=result.outcome,
        step=history.step + wait.burnt,
        unknowns=unknowns,
        next_attempt_at=_cut(now + wait.drawn(rand), history, deadline, now) if wait.most else now,
    )


def wait_for(answer: Answer, step: int, policy: RetryPolicy) -> Wait:
    """Return how long a delivery that has used ``step`` steps waits after a temporary failure."""
    if answer.action == "split":
        return Wait(cause=Cause.SPLIT, burnt=0)
    if answer.action == "reconnect" and step == 0:
        return Wait(cause=Cause.RECONNECT)
    greylisted = _greylisted_for(answer, step, policy)
    if greylisted is None:
        # With a jitter that does not vanish at the last step, which repeats.
        own = _own_step(policy, step)
        least, most = (max(own * part, SHORTEST) for part in (1 - _JITTER, 1 + _JITTER))
        return Wait(cause=Cause.STEP, seconds=own, least=least, most=most)
    # Only longer: a greylister starts anew, or refuses once more, who comes too early.
    seconds, hinted = greylisted
    least = max(seconds, SHORTEST)
    return Wait(
        cause=Cause.HINT if hinted else Cause.GREYLISTED,
        seconds=seconds,
        least=least,
        most=least * (1 + _JITTER),
    )


def _greylisted_for(answer: Answer, step: int, policy: RetryPolicy) -> tuple[float, bool] | None:
    """Return how many seconds to wait for a greylister, and whether it is he who said so; None
    where it is not likely to be one.
    """
    named = answer.category == Category.GREYLISTED
    if not named and not _looks_greylisted(answer):
        return None
    own = _own_step(policy, step)
    hint = greylisting_hint(answer.reply)
    if hint is not None:
        asked = hint.total_seconds()
        floor = min(own, GREYLIST_STEPS[0]) if step >= _HINTS_BELIEVED else 0.0
        return max(asked, floor), asked >= floor
    if named or step == 0:
        return min(own, GREYLIST_STEPS[min(step, len(GREYLIST_STEPS) - 1)]), False
    return None


def _looks_greylisted(result: Answer) -> bool:
    """Say whether a recipient was put off without a reason, which many greylisters do.

    With 450 or 451: relays and content filters have others.
    """
    return (
        result.category == Category.OTHER_TEMPORARY
        and result.phase == "rcpt"
        and result.code in (450, 451)
    )


def _own_step(policy: RetryPolicy, step: int) -> float:
    return policy.schedule[min(step, len(policy.schedule) - 1)]


def deadline_of(history: History, policy: RetryPolicy) -> datetime:
    """Return when a delivery has come to its age, or its message to its ``expires_at``."""
    deadline = history.age_from + timedelta(seconds=policy.max_age)
    return min(deadline, history.expires_at) if history.expires_at else deadline


def _cut(at: datetime, history: History, deadline: datetime, now: datetime) -> datetime:
    """Return when to try, ``at`` the latest: the last try is at the deadline.

    A little before it where that is ``expires_at``, unless that would be at once.
    """
    if at < deadline:
        return at
    last = deadline
    if deadline == history.expires_at and deadline - LAST_CALL >= now + LAST_CALL:
        last = deadline - LAST_CALL
    return max(last, now + timedelta(seconds=SHORTEST))


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
