"""What a course holds while it works: a connection slot, and the turn to log in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.delivery.sessions import may_connect
from django_smtpx.delivery.stopping import Stopped, never

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from django_smtpx.ledger import Lease
    from django_smtpx.mailer import Way
    from django_smtpx.smtp.options import Options

CROWDED = 10.0
"""Seconds that a slot stays taken after its connection was one too many."""

logger = logging.getLogger("django_smtpx.delivery")


class Holdings:
    """A slot and a turn, renewed as long as their course goes on.

    ``slot`` is None before one was taken, and once it was lost to somebody else:
    there may be no connection then.
    """

    def __init__(self, way: Way) -> None:
        self.slot: pacing.HeldSlot | None = None
        self._way = way
        self._login: datetime | None = None
        self._crowded = False

    def take(self, at: datetime, most: int) -> bool:
        """Take one of the way's first ``most`` slots, if one is free."""
        self.slot = pacing.take_slot(self._way, at, most)
        return self.slot is not None

    def keep(self, lease: Lease) -> None:
        """Renew everything, the lease included, while something is awaited."""
        ledger.renew(lease)
        self.keep_slot(lease)
        if self._login is not None:
            self._login = pacing.keep_login(self._way, self._login, lease.now())

    def keep_slot(self, lease: Lease) -> None:
        """Renew the slot where less than two thirds of it are left."""
        if self.slot is not None and self._left(lease) < pacing.SLOT_LEASE * 2 / 3:
            self._renew_slot(lease, pacing.SLOT_LEASE)

    def may_connect(self, lease: Lease, hosts: Sequence[Options]) -> bool:
        """Keep the slot for as long as connecting may take, and two thirds of it besides: nothing
        can be renewed meanwhile. It has been so kept where the last connection was just made.

        Returns False when somebody else has it, or the provider takes fewer connections: there
        may be none then.
        """
        if lease.runs_low():
            ledger.renew(lease)
        if self.slot is not None and not may_connect(self.slot.number, self._way, hosts):
            return False
        longest = sum(options.timeout for options in hosts)
        if self.slot is not None and self._left(lease) > longest + pacing.SLOT_LEASE * 2 / 3:
            return True
        return self._renew_slot(lease, pacing.SLOT_LEASE + longest)

    def await_login(self, lease: Lease, stopping: Callable[[], bool] = never) -> bool:
        """Wait until nobody else logs in; False where that takes them too long.

        Raises :class:`Stopped` where the drain is to end meanwhile.
        """
        if not pacing.logs_in(self._way):
            return True

        def now() -> datetime:
            if stopping():
                raise Stopped
            return lease.now()

        self._login = pacing.await_login(self._way, now)
        return self._login is not None

    def end_login(self) -> None:
        """Let the next one log in."""
        if self._login is not None:
            pacing.end_login(self._way, self._login)
            self._login = None

    def leave_room(self) -> None:
        """Be told that this connection was one too many: who comes next would hear the same."""
        self._crowded = True

    def give_back(self, at: datetime, *, idle: bool) -> None:
        """Give the slot back, or leave it to the session that stays open ``idle``."""
        slot = self.slot
        if slot is None:
            return
        if idle:
            pacing.rest_slot(slot, at, self._way.mailer.idle_timeout)
        elif self._crowded:
            pacing.renew_slot(slot, at, CROWDED)
        else:
            pacing.free_slot(slot, at)
        self.slot = None

    def _left(self, lease: Lease) -> float:
        """Return for how many seconds the slot is ours."""
        return 0.0 if self.slot is None else (self.slot.expires - lease.now()).total_seconds()

    def _renew_slot(self, lease: Lease, seconds: float) -> bool:
        if self.slot is not None and pacing.renew_slot(self.slot, lease.now(), seconds):
            return True
        logger.warning("The connection slot of %s was lost.", self._way)
        self.slot = None
        return False
