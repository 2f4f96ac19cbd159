"""Simulated time: a clock that jumps from event to event, and workers that live in it.

A worker is a thread, but only one of all runs at a time: until it sleeps or
ends. What it asks a server is answered in no simulated time; what that costs is
slept. So connections overlap in simulated time, and each run is like the last.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import django.utils.timezone
from django.db import connections

from django_smtpx.delivery import claims, contact, patience, sessions
from django_smtpx.delivery.chunk import Chunk
from django_smtpx.ledger import claiming, storing
from django_smtpx.ledger import clock as ledger_clock
from django_smtpx.pacing import meter, slots
from django_smtpx.smtp import pool as pool_module
from django_smtpx.smtp.pool import DEFAULT_LIMITS, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
"""Midnight, at which simulated time is 0."""

CONNECTING = 0.1
"""Seconds that it takes to connect and be greeted."""

ROUND_TRIP = 0.05
"""Seconds from one content to the next over one connection."""

_HANGS_AFTER = 60.0


class Stopped(BaseException):
    """Ends what still sleeps when the simulation is over."""


class Clock:
    """Simulated seconds since :data:`BEGAN`, and what is to happen when.

    ``on_advance`` is called whenever time has gone on, ``on_switch`` with the number of the
    process whose worker works now.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.on_advance: Callable[[], None] = lambda: None
        self.on_switch: Callable[[int], None] = lambda process: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._worker: Worker | None = None
        self._back = _baton()
        self._sleeping: dict[Worker, None] = {}

    # -- the time --------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return it as the database would."""
        return BEGAN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return it as a clock of this machine would."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time go on for the worker that calls this, and others work meanwhile."""
        assert not connections["default"].in_atomic_block, "a transaction is open while bytes move"
        due = self.seconds + seconds
        if not self._events or self._events[0][0] > due:
            self._advance(due)
            return
        worker = self._worker
        assert worker is not None, "only workers sleep"
        self._sleeping[worker] = None
        self.at(due, worker.go_on)
        worker.pause()
        self._sleeping.pop(worker, None)

    def _advance(self, seconds: float) -> None:
        self.seconds = max(self.seconds, seconds)
        self.on_advance()

    # -- events ----------------------------------------------------------------------------------

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen then, or at once where that is past."""
        heapq.heappush(self._events, (seconds, next(self._numbers), event))

    def work(self, task: Callable[[], None], process: int) -> Worker:
        """Begin a worker, which may sleep, in the process of that number."""
        worker = Worker(self, task, process)
        self.at(self.seconds, worker.go_on)
        return worker

    def kill(self, process: int) -> int:
        """Let the workers of a process never wake up again, and count them.

        Nothing that they would have done at their end is done, as with SIGKILL.
        """
        dead = [worker for worker in self._sleeping if worker.process == process]
        for worker in dead:
            worker.dead = True
            del self._sleeping[worker]
        return len(dead)

    def run(self) -> None:
        """Let everything happen, until nothing is to happen any more."""
        try:
            while self._events:
                due, _, event = heapq.heappop(self._events)
                self._advance(due)
                event()
        finally:
            for worker in list(self._sleeping):
                worker.stop()

    # -- for workers -----------------------------------------------------------------------------

    def hand_over(self, worker: Worker) -> None:
        """Let a worker work, and wait until it sleeps or ends."""
        self._worker = worker
        self.on_switch(worker.process)
        worker.wake()
        if not self._back.acquire(timeout=_HANGS_AFTER):
            raise TimeoutError(f"A worker hangs at {self.now():%H:%M:%S} of the simulated day.")
        self._worker = None
        if worker.error is not None:
            raise worker.error

    def hand_back(self) -> None:
        """Let whoever began the worker go on."""
        self._back.release()

    def take_back(self) -> None:
        """Be ready for the next worker, after one that nobody waited for."""
        self._back.acquire(timeout=_HANGS_AFTER)


def _baton() -> threading.Lock:
    """Return a lock that is taken: whoever releases it hands over."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Worker:
    """One thread, which uses the database connection of the thread that made it.

    ``dead`` says that its process was killed.
    """

    def __init__(self, clock: Clock, task: Callable[[], None], process: int) -> None:
        self.process = process
        self.dead = False
        self.error: BaseException | None = None
        self._clock = clock
        self._task = task
        self._turn = _baton()
        self._stopped = False
        self._connection = connections["default"]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def go_on(self) -> None:
        """Work until the next sleep, or to the end; a dead one does nothing."""
        if not self.dead:
            self._clock.hand_over(self)

    def wake(self) -> None:
        """Go on in this worker's thread."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()

    def pause(self) -> None:
        """Go on in the thread that woke this worker, until it is woken again."""
        self._clock.hand_back()
        self._turn.acquire()
        if self._stopped:
            raise Stopped

    def stop(self) -> None:
        """Let it end where it sleeps."""
        self._stopped = True
        self._turn.release()
        self._thread.join(_HANGS_AFTER)
        self._clock.take_back()

    def _run(self) -> None:
        connections["default"] = self._connection
        try:
            self._task()
        except BaseException as error:  # noqa: BLE001 (raised again by whoever began the worker)
            self.error = error
        finally:
            self._clock.hand_back()


class SimulatedPool(Pool):
    """A pool whose idle sessions end by simulated time, and without a thread of their own."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def lease(self, options, limits=DEFAULT_LIMITS, **kwargs):
        """Return a session; a new one was opened at a simulated time."""
        session = super().lease(options, limits, **kwargs)
        if session.transactions == 0:
            session.opened_at = self._clock.monotonic()
        return session

    def reap(self) -> None:
        """Say QUIT to what has been idle for too long."""
        if self._idle and self._next_expiry() <= self._clock.monotonic():
            with self._changed:
                expired = self._expired(self._clock.monotonic())
            for session in expired:
                self._close(session)

    def die(self) -> set[int]:
        """Lose all connections, as their process does; return the ports that they came from."""
        idle = [one.session for some in self._idle.values() for one in some]
        ports = set()
        for session in (*self._leased, *idle):
            transport = session._connection.transport
            if not session._connection.closed:
                ports.add(transport._socket.getsockname()[1])
                session.abort()
        return ports

    def _watch_over(self) -> None:
        """Nothing: time that goes on calls :meth:`reap`."""


class Processes:
    """What each of the simulated processes has for itself: a pool, and the slots of what is idle
    in it.
    """

    def __init__(self, count: int, clock: Clock) -> None:
        self._clock = clock
        self._pools = [SimulatedPool(clock) for _ in range(count)]
        self._slots = [defaultdict(list) for _ in range(count)]

    def enter(self, number: int) -> None:
        """Let it be the process of that number that works."""
        contact.default_pool = sessions.default_pool = self._pools[number]
        slots._Resting._slots = self._slots[number]

    def kill(self, number: int) -> set[int]:
        """Let a process die and another one come; return the ports of its lost connections."""
        ports = self._pools[number].die()
        self._pools[number] = SimulatedPool(self._clock)
        self._slots[number] = defaultdict(list)
        return ports

    def reap(self) -> None:
        """Let idle sessions end."""
        for pool in self._pools:
            pool.reap()

    def end(self) -> None:
        """Close what is open."""
        for pool in self._pools:
            pool.close()


def install(clock: Clock, processes: int, patch: pytest.MonkeyPatch) -> Processes:
    """Let the package live by ``clock``, in so many simulated processes."""
    shim = SimpleNamespace(
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        clock_gettime=lambda _: clock.monotonic(),
        time=time.time,
    )
    for module in (ledger_clock, pool_module, sessions, contact, claims, patience, meter):
        patch.setattr(module, "time", shim)
    for module in (ledger_clock, claiming, storing):
        patch.setattr(module, "database_now", lambda using: clock.now())
    patch.setattr(django.utils.timezone, "now", clock.now)
    patch.setitem(meter.Meter.__init__.__kwdefaults__, "sleep", clock.sleep)
    patch.setitem(Chunk.__init__.__kwdefaults__, "clock", clock.monotonic)
    for module in (contact, sessions):
        patch.setattr(module, "default_pool", None)
    patch.setattr(slots._Resting, "_slots", None)
    found = Processes(processes, clock)
    clock.on_advance, clock.on_switch = found.reap, found.enter
    _let_the_wire_cost_time(clock, patch)
    return found


def _let_the_wire_cost_time(clock: Clock, patch: pytest.MonkeyPatch) -> None:
    """Charge for connections and contents, where nothing is awaited from a server."""
    open_session, may_send = contact.open_session, Chunk.may_send

    def opened(*args, **kwargs):
        clock.sleep(CONNECTING)
        return open_session(*args, **kwargs)

    def sent(chunk, envelope):
        clock.sleep(ROUND_TRIP)
        return may_send(chunk, envelope)

    patch.setattr(contact, "open_session", opened)
    patch.setattr(Chunk, "may_send", sent)
