"""Transactions of ours that begin by reading: what SQLite fails at once under WAL, while others write.

A transaction that has read cannot write any more once somebody else has written since, however long
the connection is told to wait (https://sqlite.org/isolation.html); one that begins with its write
waits for its turn.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEGINS = ("BEGIN", "SAVEPOINT", "START TRANSACTION")
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_LOCKS = " FOR UPDATE"
_ENDS = ("RELEASE", "ROLLBACK")


class Watch:
    """Stands between the tests' connection and its database; ``found`` are the first statements of
    transactions that package has begun, where they are no writes.
    """

    def __init__(self, package: str = "django_smtpx.") -> None:
        self.found: list[str] = []
        self.begun = 0
        self._package = package
        self._fresh = False

    def __call__(self, run: Callable[..., Any], sql: str, *args: Any) -> Any:
        """Look at one statement, and run it."""
        if sql.startswith(_BEGINS):
            ours = _opener().startswith(self._package)
            self.begun += ours
            self._fresh |= ours
        elif sql.startswith(_ENDS) or not connection.in_atomic_block:
            self._fresh = False
        elif self._fresh and not sql.startswith("PRAGMA"):
            self._fresh = False
            if not sql.startswith(_WRITES) and _LOCKS not in sql:
                self.found.append(sql)
        return run(sql, *args)


def _opener() -> str:
    """Return the module that has opened the innermost transaction, which is just being begun."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        if frame.f_code is transaction.Atomic.__enter__.__code__:
            return str(frame.f_back.f_globals["__name__"])
        frame = frame.f_back
    return ""


@contextmanager
def watching(package: str = "django_smtpx.") -> Iterator[Watch]:
    """Watch the tests' connection until the block ends."""
    watch = Watch(package)
    with connection.execute_wrapper(watch):
        yield watch
