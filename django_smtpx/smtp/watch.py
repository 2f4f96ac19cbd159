"""The caller's say while a connection is opened and a session works."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Envelope


class Watch(Protocol):
    """The caller's say while a session works.

    ``interval`` is the longest silent wait, in seconds, between two calls of ``waiting``.
    """

    @property
    def interval(self) -> float:
        """Seconds; looked at before each wait."""

    def may_send(self, envelope: Envelope) -> bool:
        """Whether the content may leave; asked right before its first byte does."""

    def waiting(self, elapsed: float) -> None:
        """Be told that one thing (a reply, a connection, a handshake) has been awaited for
        ``elapsed`` seconds.
        """


class _NoWatch:
    interval = math.inf

    def may_send(self, envelope: Envelope) -> bool:
        return True

    def waiting(self, elapsed: float) -> None:
        return


NO_WATCH = _NoWatch()
