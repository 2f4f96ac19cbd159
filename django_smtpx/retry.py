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

GREYLIST_STEPS = (300.0, 600.0, 1200.0, 2400.0)
"""Seconds that a greylisted delivery waits at most, step by step; the last one repeats.

Greylisters let a sender in after 1 to 25 minutes; 5 are Postgrey's default. And they forget who
does not come back, OpenBSD's spamd after 4 hours: a schedule that has come to steps of hours would
be a stranger to it each time. Where the policy's own step is shorter it holds: the standard one
passes a greylister of 1, 5 or 15 minutes with 2, 4 or 5 attempts.
"""

_JITTER = 0.2
_SHORTEST = 1.0
_LONGEST_HINT = 3600.0
# So many steps a hint is taken at its word. A server that still says "in 5 seconds"
# after that is asked as often as one that says nothing, and not all day long.
_HINTS_BELIEVED = 5
# The last try comes so long before expires_at: from that moment on nobody may claim the row.
_LAST_CALL = timedelta(seconds=30)

# -- how servers say when to come back -----------------------------------------

_UNIT = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|(?-i:[smh]))"
_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "five": 5, "ten": 10, "fifteen": 15}
_PART = rf"(?P<{{}}>\d{{{{1,7}}}}(?:\.\d{{{{1,3}}}})?|{'|'.join(_WORDS)})[\s-]{{{{0,3}}}}{_UNIT}"
_WAIT = re.compile(
    # Not within an address, a queue id, a date, a version or a path.
    r"(?<![\w.:@/\[-])(?:"
    r"(?P<clock>\d{1,2}:\d{2}(?::\d{2}|(?=\s?min)))(?![\d:.])"
    r"|(?P<iso>PT(?=\d)(?:\d{1,5}H)?(?:\d{1,5}M)?(?:\d{1,5}S)?)(?!\w)"
    r"|retry[\s_-]after[\s:=]{1,3}(?P<bare>\d{1,7})(?=\s*(?:[,;)\]]|\.(?!\d)|$))"
    # "4 minutes and 50 seconds", "4m50s"; of "5-10 minutes" the longer.
    rf"|(?:\d{{1,5}}\s?(?:-|\N{{EN DASH}}|to)\s?)?{_PART.format('first')}"
    rf"(?:\s?,?\s?(?:and)?\s?{_PART.format('more')}){{0,2}}(?![\w@]|[-.:/]\w)"
    r")",
    re.IGNORECASE,
)
_PARTS = re.compile(rf"([\d.]+|{'|'.join(_WORDS)})[\s-]*({_UNIT})", re.IGNORECASE)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
# What a number must follow that could be a time of day, or a word of another meaning.
_LED_IN = re.compile(r"\b(?:in|for|wait|another|least|after)\W{1,3}(?:about\W)?$", re.IGNORECASE)
# "10 in the last 5 minutes" and "within 4 hours" say nothing of when to come back.
_NO_WAIT = re.compile(
    r"\b(?:last|past|previous|within|every|each|per|than)\W{1,3}(?:(?:the|next)\W){0,2}$",
    re.IGNORECASE,
)
_NO_WAIT_BEHIND = re.compile(r"\s?(?:ago|old)\b", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:again|back|retry|resend|return|wait)\W{1,3}(?:\w{1,9}\W{1,3}){0,2}$", re.IGNORECASE
)
_READ = 1000


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
        if ended or now >= _deadline(history, policy):
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
    return now >= _deadline(history, policy)


def delay(policy: RetryPolicy, step: int, rand: float) -> timedelta:
    """Return the wait after ``step`` earlier retries: the schedule's step, its last one repeated,
    with a jitter of ±20 % that does not vanish at the last step. Never less than a second.
    """
    wait = _own_step(policy, step) * (1 - _JITTER + 2 * _JITTER * rand)
    return timedelta(seconds=max(wait, _SHORTEST))


def greylisting_hint(reply: str) -> timedelta | None:
    """Return the wait that a greylisting reply asks for ("for 5 minutes", "in 00:04:51").

    From a second to an hour; None where it names none. What the reply says
    after "try again", "retry", "come back" or "wait" comes first.
    """
    found = [match for match in _WAIT.finditer(reply[:_READ]) if _is_wait(match)]
    if not found:
        return None
    asked = [match for match in found if match["bare"] or _ASKED.search(_before(match))]
    seconds = _seconds((asked or found)[0])
    return timedelta(seconds=min(max(seconds, _SHORTEST), _LONGEST_HINT))


def _is_wait(match: re.Match[str]) -> bool:
    before = _before(match)
    ambiguous = match["clock"] or (match["first"] or "").isalpha()
    if ambiguous and not _LED_IN.search(before):
        return False
    return not (_NO_WAIT.search(before) or _NO_WAIT_BEHIND.match(match.string, match.end()))


def _before(match: re.Match[str]) -> str:
    """Return the few words before a match."""
    return match.string[max(match.start() - 40, 0) : match.start()]


def _seconds(match: re.Match[str]) -> float:
    if match["bare"]:
        return int(match["bare"])
    if match["clock"]:
        total = 0
        for part in match["clock"].split(":"):
            total = total * 60 + int(part)
        return total
    parts = _PARTS.findall((match["iso"] or match[0]).removeprefix("PT").lower())
    return sum(
        (_WORDS[number] if number in _WORDS else float(number)) * _UNIT_SECONDS[unit[0]]
        for number, unit in parts
    )


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
        next_attempt_at=_cut(now + wait, history, deadline, now) if wait else now,
    )


def _wait(
    result: Result, history: History, policy: RetryPolicy, rand: float
) -> tuple[timedelta, int]:
    """Return how long to wait, and how many steps of the schedule that burns."""
    if result.action == "split":
        return timedelta(0), 0
    if result.action == "reconnect" and history.step == 0:
        return timedelta(0), 1
    greylisted = _greylisted_for(result, history.step, policy)
    if greylisted is None:
        return delay(policy, history.step, rand), 1
    # Only longer: a greylister starts anew, or refuses once more, who comes too early.
    return timedelta(seconds=max(greylisted, _SHORTEST) * (1 + _JITTER * rand)), 1


def _greylisted_for(result: Result, step: int, policy: RetryPolicy) -> float | None:
    """Return how many seconds to wait for a greylister; None where it is not likely to be one."""
    named = result.category == Category.GREYLISTED
    if not named and not _looks_greylisted(result):
        return None
    own = _own_step(policy, step)
    hint = greylisting_hint(result.reply)
    if hint is not None:
        floor = min(own, GREYLIST_STEPS[0]) if step >= _HINTS_BELIEVED else 0.0
        return max(hint.total_seconds(), floor)
    if named or step == 0:
        return min(own, GREYLIST_STEPS[min(step, len(GREYLIST_STEPS) - 1)])
    return None


def _looks_greylisted(result: Result) -> bool:
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


def _deadline(history: History, policy: RetryPolicy) -> datetime:
    deadline = history.age_from + timedelta(seconds=policy.max_age)
    return min(deadline, history.expires_at) if history.expires_at else deadline


def _cut(at: datetime, history: History, deadline: datetime, now: datetime) -> datetime:
    """Return when to try, ``at`` the latest: the last try is at the deadline.

    A little before it where that is ``expires_at``, unless that would be at once.
    """
    if at < deadline:
        return at
    last = deadline
    if deadline == history.expires_at and deadline - _LAST_CALL >= now + _LAST_CALL:
        last = deadline - _LAST_CALL
    return max(last, now + timedelta(seconds=_SHORTEST))


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
