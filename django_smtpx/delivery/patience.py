"""Waiting for a database that is away for a moment: while it is, nothing is sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from django.db import Error as DatabaseError
from django.db import connections

from django_smtpx import ledger

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_TRIES = 6


class Patience:
    """For how long one drain waits for its database, some six seconds; what works restores it.

    What a drain has to write so that nobody waits for it when it is gone is worth that: outcomes,
    claims that go back, its connection slot.
    """

    def __init__(self) -> None:
        self._left = _TRIES

    def outlast(self, work: Callable[[], T]) -> T:
        """Do ``work``, and again over a new connection while that raises and patience is left."""
        while True:
            try:
                done = work()
            except DatabaseError:
                connection = connections[ledger.database()]
                self._left = max(self._left - 1, 0)
                if connection.in_atomic_block or not self._left:
                    raise
                connection.close()
                time.sleep(0.1 * 2 ** (_TRIES - self._left))
            else:
                self._left = _TRIES
                return done
