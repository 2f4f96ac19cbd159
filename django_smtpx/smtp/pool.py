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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.watch import Watch


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
    in ``session.tag`` gives it back there. What it raises is not caught, but for
    the reaper's thread, which tells :func:`threading.excepthook` and goes on.

    An exception from outside (a task's time limit, Ctrl-C) that falls into a
    method closes the session that was in its hands.
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
            with self._in_hands(session), self._changed:
                self._leased.add(session)
        return session

    def lease_idle(self, options: Options, limits: Limits = DEFAULT_LIMITS) -> Session | None:
        """Return a session that is open already, or None; the one used last comes first."""
        while True:
            with self._in_hands() as hands:
                session = self._take(hands, options)
                if session is None:
                    return None
                if _within(session, limits) and session.alive():
                    return session
            self._close(session)

    def release(self, session: Session, limits: Limits = DEFAULT_LIMITS) -> bool:
        """Take a session back; return whether it was kept.

        One that is broken, or used up by ``limits``, is closed, with QUIT where it is in step.
        """
        with self._in_hands(session):
            keep = session.usable and _within(session, limits) and limits.idle_timeout > 0
            with self._changed:
                self._leased.discard(session)
                if keep:
                    until = min(
                        time.monotonic() + limits.idle_timeout,
                        session.opened_at + limits.connection_max_age,
                    )
                    self._idle.setdefault(session.pool_key, []).append(_Idle(session, until))
                    try:
                        self._watch_over()
                    except RuntimeError:
                        # No thread is to be had, such as when Python shuts down.
                        self._remove(session)
                        keep = False
        if not keep:
            self._close(session)
        return keep

    def close(self) -> None:
        """Say QUIT on every idle session; leased ones are their users'."""
        while True:
            with self._in_hands() as hands:
                session = self._take(hands)
            if session is None:
                return
            self._close(session)

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._idle.values()))

    def _take(self, hands: list[Session], options: Options | None = None) -> Session | None:
        """Return the idle session that was used last with ``options`` (None: any), or None.

        It is in ``hands`` before it leaves "idle": at no moment nobody knows of it.
        """
        with self._changed:
            if options is None:
                options = next(iter(self._idle), None)
            if options is None or options not in self._idle:
                return None
            session = self._idle[options][-1].session
            hands.append(session)
            self._leased.add(session)
            self._remove(session)
            return session

    def _remove(self, session: Session) -> None:
        """Take a session out of "idle", if it is there; called under the lock."""
        idles = self._idle.get(session.pool_key, [])
        idles[:] = [idle for idle in idles if idle.session is not session]
        if not idles:
            self._idle.pop(session.pool_key, None)
            self._changed.notify_all()

    @contextmanager
    def _in_hands(self, *sessions: Session) -> Iterator[list[Session]]:
        """Close, when an exception falls in here, the sessions that are in no other hands."""
        hands = list(sessions)
        try:
            yield hands
        except BaseException:
            for session in hands:
                with self._changed:
                    self._remove(session)
                session.abort()
                self._closed(session)
            raise

    def _close(self, session: Session) -> None:
        with self._in_hands(session):
            session.quit()
        self._closed(session)

    def _closed(self, session: Session) -> None:
        with self._changed:
            self._leased.discard(session)
        if self.on_close is not None:
            self.on_close(session)

    # -- the reaper ------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """See to it that a reaper runs; called under the lock."""
        if self._reaper is None:
            reaper = threading.Thread(
                target=self._reap, name="django_smtpx idle sessions", daemon=True
            )
            reaper.start()
            self._reaper = reaper
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
                try:
                    self._close(session)
                except Exception as error:  # noqa: BLE001
                    # What the caller's on_close raises must not keep others from being closed.
                    told = (type(error), error, error.__traceback__, threading.current_thread())
                    threading.excepthook(threading.ExceptHookArgs(told))

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
