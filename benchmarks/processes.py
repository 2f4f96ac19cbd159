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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[1]
SBIN = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)
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
def smtp_sink() -> Iterator[int]:
    """Run Postfix's smtp-sink until the block ends; gives its port.

    Raises :class:`NotThere` where it is not installed.
    """
    program = find_smtp_sink()
    port = _free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, "-c", *user, f"{HOST}:{port}", "100"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
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
        raise ClientFailed(f"{' '.join(done.args)} ended with {done.returncode}:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def in_turns(names: list[str], run: int) -> list[str]:
    """Return the names in another order in each run, so that none is always behind the same one."""
    start = run % len(names)
    return names[start:] + names[:start]


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
