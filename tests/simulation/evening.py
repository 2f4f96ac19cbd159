"""What is left of a day when it is over: values, and no rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django_smtpx.models import Attempt, Delivery
from tests.simulation.clock import BEGAN
from tests.simulation.oracle import Expected, Oracle

if TYPE_CHECKING:
    from datetime import datetime

    from tests.simulation.day import Day, Mail
    from tests.simulation.servers import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt; ``at`` is when it ended."""

    number: int
    at: float
    outcome: str
    category: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where one recipient of one message is in the evening, and where it should be.

    Times are in simulated seconds. ``taken`` is how often its server has it,
    ``taken_at`` since when.
    """

    mail: Mail
    recipient: str
    place: Place
    expected: Expected
    status: str
    category: str
    lane: int
    attempt_count: int
    next_attempt_at: float | None
    settled_at: float | None
    taken: int
    taken_at: float | None
    tries: tuple[Tried, ...]

    def __str__(self) -> str:
        return (
            f"mail {self.mail.number} to {self.recipient} ({self.place.word}), of {self.mail.at:.0f}, "
            f"is {self.status} ({self.category}) with {len(self.tries)} attempts, "
            f"taken {self.taken} times since {self.taken_at}, next at {self.next_attempt_at}; "
            f"{self.expected}; {self.mail}; {self.tries[:8]}"
        )


class Evening:
    """All recipients of a day, each where it is."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.places = list(day.world.places.values())
        tries = _tries()
        rows = {
            (number, recipient): (pk, *values)
            for pk, number, recipient, *values in Delivery.objects.values_list(
                "pk",
                "message__metadata",
                "recipient",
                "status",
                "category",
                "lane",
                "attempt_count",
                "next_attempt_at",
                "settled_at",
            )
            for number in (number["number"],)
        }
        self.stored = Delivery.objects.count()
        self.addressed = sum(len(mail.recipients) for mail in day.every_mail)
        oracle = Oracle()
        self.ends = [
            self._end(mail, recipient, oracle, rows[mail.number, recipient], tries)
            for mail in day.every_mail
            for recipient in mail.recipients
        ]

    def __repr__(self) -> str:
        return f"<the evening of a day of {len(self.day.every_mail)} messages, SMTPX_DAY_SEED={self.day.seed}>"

    def of(self, kind: type[Place]) -> list[Place]:
        """Return the places of that very kind."""
        return [place for place in self.places if type(place) is kind]

    def said(self, wrong: list[End]) -> str:
        """Return a few of those that are wrong, for a message."""
        return f"{self!r}: {len(wrong)} are wrong:\n" + "\n".join(map(str, wrong[:5]))

    def table(self) -> str:
        """Return attempts, ours and the oracle's, by what the servers do."""
        ours: defaultdict[str, int] = defaultdict(int)
        least: defaultdict[str, int] = defaultdict(int)
        for end in self.ends:
            ours[end.place.word] += end.attempt_count
            least[end.place.word] += end.expected.attempts
        lines = [
            f"{word:45} {ours[word]:6} {least[word]:6} {ours[word] / least[word]:.2f}"
            for word in sorted(ours)
        ]
        return "\n".join([repr(self), *lines])

    def _end(
        self, mail: Mail, recipient: str, oracle: Oracle, row: tuple, tries: dict[int, list[Tried]]
    ) -> End:
        pk, status, category, lane, attempt_count, next_attempt_at, settled_at = row
        place = self.day.world.place_of(mail, recipient)
        expected = oracle.expected(mail, recipient, place)
        if (mail.number, recipient) in self.day.in_doubt:
            expected = expected.in_doubt(mail.on_unknown)
        return End(
            mail=mail,
            recipient=recipient,
            place=place,
            expected=expected,
            status=status,
            category=category,
            lane=lane,
            attempt_count=attempt_count,
            next_attempt_at=_seconds(next_attempt_at),
            settled_at=_seconds(settled_at),
            taken=place.taken[mail.number, recipient],
            taken_at=place.taken_at.get((mail.number, recipient)),
            tries=tuple(tries[pk]),
        )


def _tries() -> defaultdict[int, list[Tried]]:
    found: defaultdict[int, list[Tried]] = defaultdict(list)
    rows = Attempt.objects.order_by("delivery", "number").values_list(
        "delivery", "number", "started_at", "duration", "outcome", "category", "phase"
    )
    for delivery, number, began, duration, outcome, category, phase in rows:
        # When it ended: how long it took is told by the machine's own clock, and not by this one.
        at = began + timedelta(seconds=duration)
        found[delivery].append(
            Tried(
                number=number,
                at=(at - BEGAN).total_seconds(),
                outcome=outcome,
                category=category,
                phase=phase,
            )
        )
    return found


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - BEGAN).total_seconds()
