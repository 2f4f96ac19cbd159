"""Who sends what is queued: commands, or a Celery worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Protocol

from benchmarks.processes import ROOT, STOP_TIMEOUT
from benchmarks.queues.cpu import cpu_of_all
from benchmarks.queues.sinks import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.queues.sinks import Sink
    from benchmarks.queues.sites import Process, Site


class Worker(Protocol):
    """Sends what is queued when it is asked to, and rests otherwise."""

    def drain(self, until: int) -> dict[str, float]:
        """Return the seconds that it took, by the clock and of CPU time.

        ``until`` is how many messages the server has seen when all are sent.
        """
        ...


class Commands:
    """Processes that run the queue's management command, all at the same time."""

    def __init__(self, processes: Sequence[Process], sink: Sink) -> None:
        self._processes = processes
        self._sink = sink

    def drain(self, until: int) -> dict[str, float]:
        """Run the command once in each process."""
        return self._run("drain", until)

    def profile(self, until: int) -> dict[str, float]:
        """Run the command; the answer has a ``text``."""
        return self._run("profile", until)

    def _run(self, name: str, until: int) -> dict[str, float]:
        for process in self._processes:
            process.begin(name)
        took = [process.answer() for process in self._processes]
        # It has counted all that it has answered, but it may have yet to say so.
        self._sink.wait_for(until)
        return {
            **took[0],
            "seconds": max(each["seconds"] for each in took),
            "cpu": sum(each["cpu"] for each in took),
        }


def commands(count: int = 1) -> Callable[..., AbstractContextManager[Commands]]:
    """Hire so many processes of a site."""

    @contextlib.contextmanager
    def hire(site: Site, _web: Process, sink: Sink) -> Iterator[Commands]:
        with contextlib.ExitStack() as stack:
            yield Commands([stack.enter_context(site.process()) for _ in range(count)], sink)

    return hire


class CeleryWorker:
    """A worker that is stopped (SIGSTOP) while the queue is filled."""

    def __init__(self, process: subprocess.Popen[bytes], web: Process, sink: Sink) -> None:
        self._process = process
        self._web = web
        self._sink = sink

    def drain(self, until: int) -> dict[str, float]:
        """Let it go on until all has arrived and is on record."""
        cpu, started = cpu_of_all(self._process.pid), time.perf_counter()
        os.killpg(self._process.pid, signal.SIGCONT)
        self._sink.wait_for(until)
        wait_until(lambda: not self._waiting(), self._waiting)
        took = {"seconds": time.perf_counter() - started}
        os.killpg(self._process.pid, signal.SIGSTOP)
        return {**took, "cpu": cpu_of_all(self._process.pid) - cpu}

    def _waiting(self) -> int:
        waiting: int = self._web.do("waiting")
        return waiting


def celery(pool: str, concurrency: int = 1) -> Callable[..., AbstractContextManager[CeleryWorker]]:
    """Hire a Celery worker of a site."""

    @contextlib.contextmanager
    def hire(site: Site, web: Process, sink: Sink) -> Iterator[CeleryWorker]:
        argv = [
            site.python, "-m", "celery", "-A", "benchmarks.queues.app", "worker",
            "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "WARNING",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]  # fmt: skip
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            # Celery warns of root, which is its own affair.
            env={**site.env, "C_FORCE_ROOT": "1", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield CeleryWorker(process, web, sink)
        finally:
            _end(process)

    return hire


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
