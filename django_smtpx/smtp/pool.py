"""Open sessions between two uses, kept for whoever speaks to the same server the same way next.

The pool decides under its lock and does I/O outside it: a session that is
leased has left "idle" before anyone looks at its connection.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.pump import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session may be used again: transactions, and seconds since it was opened and
    since it was used last.
    """

    messages_per_connection: int = 100
    connection_max_age: float = 300.0
    idle_timeout: float = 10.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Idle:
    session: Session
    until: float


class Pool:
    """Idle sessions by the options they were opened with. Thread-safe and fork-safe.

    ``on_close`` is called with each session that the pool closes, or finds
    dead, after that is done and outside the lock: a caller that keeps something
    in ``session.tag`` gives it back there. What it raises is not caught.
    """

    def __init__(self, on_close: Callable[[Session], None] | None = None) -> None:
        self.on_close = on_close
        self._start_clean()
        _POOLS.add(self)

    def _start_clean(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._idle: dict[Options, list[_Idle]] = {}
        self._leased: weakref.WeakSet[Session] = weakref.WeakSet()
        self._reaper: threading.Thread | None = None

    def lease(
        self,
        options: Options,
        limits: Limits = DEFAULT_LIMITS,
        *,
        watch: Watch | None = None,
        first: Envelope | None = None,
    ) -> Session:
        """Return a session that is the caller's until :meth:`release`.

        One that was used before (``session.transactions`` > 0) can still turn out to be dropped by
        the server. Raises :class:`SMTPError` as :meth:`Session.open` does.
        """
        session = self.lease_idle(options, limits)
        if session is None:
            session = Session.open(options, watch=watch, first=first)
            with self._changed:
                self._leased.add(session)
        return session

    def lease_idle(self, options: Options, limits: Limits = DEFAULT_LIMITS) -> Session | None:
        """Return a session that is open already, or None; the one used last comes first."""
        while True:
            with self._changed:
                session = self._pop(options)
            if session is None:
                return None
            if _within(session, limits) and session.alive():
                return session
            self._close(session)

    def release(self, session: Session, limits: Limits = DEFAULT_LIMITS) -> bool:
        """Take a session back; return whether it was kept.

        One that is broken, or used up by ``limits``, is closed, with QUIT where it is in step.
        """
        keep = session.usable and _within(session, limits) and limits.idle_timeout > 0
        with self._changed:
            self._leased.discard(session)
            if keep:
                until = min(
                    time.monotonic() + limits.idle_timeout,
                    session.opened_at + limits.connection_max_age,
                )
                self._idle.setdefault(session.pool_key, []).append(_Idle(session, until))
                self._watch_over()
        if not keep:
            self._close(session)
        return keep

    def close(self) -> None:
        """Say QUIT on every idle session; leased ones are their users'."""
        with self._changed:
            sessions = [idle.session for idles in self._idle.values() for idle in idles]
            self._idle.clear()
            self._changed.notify_all()
        for session in sessions:
            self._close(session)

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._idle.values()))

    def _pop(self, options: Options) -> Session | None:
        idles = self._idle.get(options)
        if not idles:
            return None
        session = idles.pop().session
        if not idles:
            del self._idle[options]
        self._leased.add(session)
        return session

    def _close(self, session: Session) -> None:
        with self._changed:
            self._leased.discard(session)
        session.quit()
        if self.on_close is not None:
            self.on_close(session)

    # -- the reaper ------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """See to it that a reaper runs; called under the lock."""
        if self._reaper is None:
            self._reaper = threading.Thread(
                target=self._reap, name="django_smtpx idle sessions", daemon=True
            )
            self._reaper.start()
        else:
            self._changed.notify_all()

    def _reap(self) -> None:
        """Say QUIT to what has been idle for too long; end when nothing is idle."""
        while True:
            with self._changed:
                expired = self._expired(time.monotonic())
                if not expired:
                    if not self._idle:
                        self._reaper = None
                        return
                    self._changed.wait(self._next_expiry() - time.monotonic())
                    continue
            for session in expired:
                self._close(session)

    def _expired(self, now: float) -> list[Session]:
        expired: list[Session] = []
        for options, idles in list(self._idle.items()):
            kept = [idle for idle in idles if idle.until > now]
            expired += [idle.session for idle in idles if idle.until <= now]
            if kept:
                self._idle[options] = kept
            else:
                del self._idle[options]
        return expired

    def _next_expiry(self) -> float:
        return min(idle.until for idles in self._idle.values() for idle in idles)

    # -- fork ------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Drop, in a forked child, every connection: they are the parent's."""
        sessions = [idle.session for idles in self._idle.values() for idle in idles]
        sessions += list(self._leased)
        self._start_clean()
        for session in sessions:
            session.forget()


def _within(session: Session, limits: Limits) -> bool:
    return (
        session.transactions < limits.messages_per_connection
        and time.monotonic() - session.opened_at < limits.connection_max_age
    )


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._forget()


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_close_all)

default_pool = Pool()
"""The pool of this process."""
