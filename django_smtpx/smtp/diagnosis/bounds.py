"""How long a diagnosis may take with one host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp import verdict
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ServerTimeout
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Envelope

_LOOK = 0.5
"""Seconds between two looks at the clock."""


class Bounded:
    """A watch that ends, ``limit`` seconds from its making, whatever is waited for.

    It ends it by raising :class:`ServerTimeout`.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.deadline = Deadline(limit)

    @property
    def interval(self) -> float:
        """Seconds until the clock is looked at."""
        return min(_LOOK, self.deadline.left)

    def may_send(self, envelope: Envelope) -> bool:
        """What was asked to be sent is sent."""
        return True

    def waiting(self, elapsed: float) -> None:
        """Raise when the time is up."""
        if self.deadline.passed:
            raise ServerTimeout(
                said(
                    "The server did not come to the end of its part in %(seconds)s s",
                    seconds=f"{self._limit:g}",
                ),
                **verdict.judge_timeout("connect").fields,
            )
