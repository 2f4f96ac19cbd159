"""The processes that a benchmark consists of: servers, a relay, and one for each client."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[1]
SBIN = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)
RATE = "messages_per_second"
CPU = "cpu_us_per_message"
START_TIMEOUT = 10.0
"""Seconds that a server is given to listen."""
STOP_TIMEOUT = 10.0
"""Seconds that a process is given to end."""


class NotThere(Exception):
    """A part is missing on this machine; the text says which, and how to get it."""


class ClientFailed(Exception):
    """A client did not do what is measured; the text is what it said."""


class Server:
    """A process of ours that listens on ``port``; ``totals`` is what it counted, once it ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{process.args!r} did not start")
        self.port = int(line)
        self.totals: dict[str, int] = {}


@contextlib.contextmanager
def server(module: str, *args: str) -> Iterator[Server]:
    """Run ``benchmarks.module`` until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        started = Server(process)
        yield started
        # The end of its input is the end of its work: it says what it counted.
        said, _ = process.communicate(timeout=STOP_TIMEOUT)
        started.totals = json.loads(said)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def smtp_sink(*flags: str, stdout: int | IO[bytes] = subprocess.DEVNULL) -> Iterator[int]:
    """Run Postfix's smtp-sink until the block ends; gives its port.

    ``flags`` are more of its own, and ``stdout`` is where it writes what they
    make it say. Raises :class:`NotThere` where it is not installed.
    """
    program = find_smtp_sink()
    port = _free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, *flags, *user, f"{HOST}:{port}", "100"],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for_sink(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def find_smtp_sink() -> str:
    """Return the path of smtp-sink; raises :class:`NotThere`."""
    program = shutil.which("smtp-sink", path=SBIN)
    if program is None:
        raise NotThere(
            "smtp-sink is neither on the PATH nor in /usr/sbin: it is a part of Postfix "
            "(on Debian: apt-get install postfix)."
        )
    return program


def require_aiosmtplib() -> None:
    """Raise :class:`NotThere` where aiosmtplib is not installed."""
    if importlib.util.find_spec("aiosmtplib") is None:
        raise NotThere("aiosmtplib is not installed: pip install 'django-smtpx[bench]'")


def worker(module: str, *args: object) -> dict[str, Any]:
    """Run ``benchmarks.module`` in a fresh process, and return what it measured.

    Raises :class:`ClientFailed` when it ends with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, args)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise _failure(done.args, done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


class Client:
    """A process of ours that is connected, and measures when it is asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answer()

    def send(self, messages: int) -> dict[str, float]:
        """Return the seconds that it took, by the clock and of CPU time."""
        assert self._process.stdin is not None
        # One that has ended says why in its answer.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{messages}\n")
            self._process.stdin.flush()
        measured: dict[str, float] = json.loads(self._answer())
        return measured

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise _failure(self._process.args, self._process.communicate()[1])
        return line


@contextlib.contextmanager
def client(name: str, port: int, warm_up: int) -> Iterator[Client]:
    """Run a client of ``benchmarks.clients`` until the block ends.

    Raises :class:`ClientFailed` when it ends with an error.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.clients", name, str(port), "--warm-up", str(warm_up)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Client(process)
        _, error = process.communicate(timeout=STOP_TIMEOUT)
        if process.returncode:
            raise _failure(process.args, error)
    finally:
        process.kill()
        process.communicate()


def compete(
    ports: dict[str, int], run: int, *, messages: int, at_once: int, warm_up: int
) -> dict[str, dict[str, float]]:
    """Let clients send ``messages`` each, ``at_once`` of them in turns; return their figures.

    ``ports`` are those they send to, by the name of the client. All of them are connected
    all the time; whatever else the machine does meets them alike.
    """
    spent = {name: {"seconds": 0.0, "cpu": 0.0} for name in ports}
    with contextlib.ExitStack() as stack:
        clients = {
            name: stack.enter_context(client(name, port, warm_up)) for name, port in ports.items()
        }
        sent = 0
        while sent < messages:
            count = min(at_once, messages - sent)
            for name in in_turns(list(clients), run):
                for key, seconds in clients[name].send(count).items():
                    spent[name][key] += seconds
            sent += count
            run += 1
    return {
        name: {RATE: messages / times["seconds"], CPU: times["cpu"] / messages * 1e6}
        for name, times in spent.items()
    }


def in_turns(names: list[str], run: int) -> list[str]:
    """Return the names in another order in each run, so that none is always the first."""
    start = run % len(names)
    return names[start:] + names[:start]


def _failure(args: object, error: str) -> ClientFailed:
    return ClientFailed(f"{args!r} ended:\n{error}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_for_sink(process: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + START_TIMEOUT
    while True:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"{process.args!r} did not start: {process.stderr.read().strip()}")
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), timeout=1).close()
            return
        if time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.01)
