"""A site with a queue: its database, its place in the broker, and its processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.processes import HOST, ROOT, STOP_TIMEOUT, ClientFailed
from benchmarks.queues.stores import postgres, redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.queues.stores import Database


class Site:
    """A queue, its database, its broker, and the port of the server that it sends to."""

    def __init__(
        self, kind: str, python: str, database: Database, broker: dict[str, str], **more: Any
    ) -> None:
        self.kind = kind
        self.python = python
        self.database = database
        described = {"kind": kind, "database": database.settings, "broker": broker, "host": HOST}
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.queues.settings",
            "BENCHMARK_SITE": json.dumps(described | more),
        }

    @contextlib.contextmanager
    def process(self) -> Iterator[Process]:
        """Run a process of it until the block ends."""
        process = subprocess.Popen(
            [self.python, "-m", "benchmarks.queues.process"],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Process(process)
            process.communicate(timeout=STOP_TIMEOUT)
        finally:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def site(kind: str, port: int, *, python: str = sys.executable, **more: Any) -> Iterator[Site]:
    """Make a site until the block ends; ``more`` is what the settings of its kind ask for."""
    with postgres() as database, redis() as broker:
        yield Site(kind, python, database, broker, port=port, **more)


class Process:
    """A process that does what it is told: the methods of :mod:`benchmarks.queues.process`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, name: str, **arguments: Any) -> Any:
        """Let it do something, and return the answer."""
        self.begin(name, **arguments)
        return self.answer()

    def begin(self, name: str, **arguments: Any) -> None:
        """Let it begin to do something."""
        assert self._process.stdin is not None
        # One that has ended has said why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([name, arguments]) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the answer to what was begun; raises :class:`ClientFailed` without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ClientFailed(f"{self._process.args!r} ended, and said why above.")
        return json.loads(line)
