"""What one course claims next: what is new and what was tried before take turns."""

from __future__ import annotations

import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from django_smtpx import ledger
from django_smtpx.config import lease as lease_seconds
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.ledger import Lease, Row
    from django_smtpx.mailer import Way

Lane = Delivery.Lane

_IN_TURNS = (Lane.READY, Lane.AGAIN)
_ANYWHERE = frozenset((*_IN_TURNS, Lane.ALONE))
_NOWHERE: frozenset[Lane] = frozenset()

_NO_RETRIES_FOR = 1.0
"""Seconds after which retries are looked for again where there were none, if there is new mail."""


class Claims:
    """The claims of one course along ``way``, one behind the other.

    Most drains are for a single mail: so it is seen by one statement in which lanes there is any,
    before anything else is asked, and where a claim got less than it wanted. ``linger`` is for how
    many seconds to look again, once, where there is none.
    """

    def __init__(self, way: Way, clock: Callable[[], float], linger: float) -> None:
        self._way = way
        self._clock = clock
        self._linger = linger
        self._lanes = deque(_IN_TURNS)
        self._found = _ANYWHERE
        self._is_short = True
        self._no_retries_at = -inf
        self._reading: ledger.Reading | None = None

    def reading(self) -> ledger.Reading:
        """Return a reading of the database's clock that is fresh: a lease may begin by it."""
        if self._reading is None or not self._reading.fresh():
            self._reading = ledger.reading()
        return self._reading

    def is_worth_beginning(self) -> bool:
        """Say whether there is any mail, or may be when hints that were coalesced have come."""
        self._look()
        return bool(self._found) or self._linger > 0

    def has_suspects(self) -> bool:
        """Say whether there is mail that is suspected of killing workers, as far as is known."""
        return Lane.ALONE in self._found

    def has_some(self) -> bool:
        """Say whether there is any mail, now or when hints that were coalesced have come."""
        if self._is_short:
            self._look()
        return bool(self._found) or self._look_again()

    def claim(self, most: int) -> tuple[Lease, list[Row]] | None:
        """Claim ``most`` rows at most; None: there was no mail.

        From the lane whose turn it is: a password's mail does not wait behind a hundred thousand
        retries that have come due, nor do they behind a newsletter. Where there were no retries a
        moment ago, what is new is looked for before them.
        """
        at = self._clock()
        for lane in sorted(self._lanes, key=lambda lane: self._was_empty(lane, at)):
            if lane in self._found and (claimed := self._claim_from(lane, most)):
                self._lanes.remove(lane)
                self._lanes.append(lane)
                self._found = _ANYWHERE
                return claimed
            if lane == Lane.AGAIN:
                self._no_retries_at = at
        # Be it that others have it: who looks again at once would find the same, and get nothing.
        self._found, self._is_short = _NOWHERE, False
        return None

    def claim_suspect(self) -> tuple[Lease, list[Row]] | None:
        """Claim one row of those that are suspected; None: there are no more."""
        claimed = self._claim_from(Lane.ALONE, 1)
        if claimed is None:
            self._found, self._is_short = _NOWHERE, True
        return claimed

    def _claim_from(self, lane: Lane, most: int) -> tuple[Lease, list[Row]] | None:
        lease, rows = ledger.claim(
            self._way.name,
            most,
            lease_seconds(),
            lane=lane,
            destination=self._way.domain,
            by=self.reading(),
        )
        self._is_short = len(rows) < most
        return (lease, rows) if rows else None

    def _look(self) -> None:
        self._found = ledger.ready_lanes(self._way.name, self._way.domain)
        self._is_short = False
        if Lane.AGAIN not in self._found:
            self._no_retries_at = self._clock()

    def _look_again(self) -> bool:
        """Wait for hints that were coalesced into the one that began this drain, once."""
        wait, self._linger = self._linger, 0.0
        if not wait:
            return False
        time.sleep(wait)
        self._look()
        return bool(self._found)

    def _was_empty(self, lane: Lane, at: float) -> bool:
        return lane == Lane.AGAIN and at - self._no_retries_at < _NO_RETRIES_FOR
