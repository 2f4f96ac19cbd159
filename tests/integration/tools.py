"""Small things that the fixtures share: free ports, processes, waiting, and who may be root."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SBIN = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


class NotThere(Exception):
    """A real part is missing on this machine; the text says which, and why it counts as missing."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def as_root() -> list[str]:
    """Return what goes before a command that only root may run.

    Raises NotThere where this user cannot become root without a password.
    """
    if os.geteuid() == 0:
        return []
    with suppress(OSError, subprocess.TimeoutExpired):
        probe = subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=10, check=False)
        if probe.returncode == 0:
            return ["sudo", "-n"]
    raise NotThere("Postfix's master(8) starts as root alone, and this user has no sudo -n.")


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether something on a loopback address accepts connections at ``port``."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(
    what: str, ready: Callable[[], bool], *, seconds: float = 30.0, every: float = 0.05
) -> None:
    """Look again and again until ``ready()``; raise TimeoutError, saying ``what`` did not come."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"Not within {seconds:g} s: {what}.")
        time.sleep(every)


def stop(process: subprocess.Popen[bytes], *, seconds: float = 20.0) -> int:
    """Ask a process to end, and kill its group if it does not; return its exit code."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        return process.wait(seconds)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process that leads its session, and all its children, as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)


@contextmanager
def running(
    argv: list[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``argv`` as the leader of its own session until the block ends; its output goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
            cwd=cwd,
        )
    try:
        wait_for(f"{argv[0]} is ready", lambda: process.poll() is not None or ready(), seconds=60)
        if process.poll() is not None:
            raise RuntimeError(
                f"{' '.join(argv)} ended with {process.returncode}:\n"
                + log.read_text(errors="replace")[-4000:]
            )
        yield process
    finally:
        stop(process)
