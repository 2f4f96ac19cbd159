"""A process that sends a file, and says how its memory grew: ``python -m benchmarks.large``."""

from __future__ import annotations

import argparse
import json
import resource
import smtplib
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clients import HOST, RECIPIENT, SENDER, message
from django_smtpx.smtp import Client, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What makes the kernel begin the peak anew, at what is held now (proc(5))."""


def peak() -> int:
    """Return the most bytes that this process has held."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_anew() -> None:
    """Forget a peak that lies behind, as when modules were imported: it could hide a growth."""
    with suppress(OSError):
        CLEAR_REFS.write_text(RESET_PEAK)


def growth(send_small: Callable[[], None], send_large: Callable[[], None]) -> dict[str, float]:
    """Return how many bytes more the large one took, and how long."""
    send_small()
    started = time.perf_counter()
    return {"growth": growth_of(send_large), "seconds": time.perf_counter() - started}


def growth_of(work: Callable[[], None]) -> int:
    """Return how many bytes more than before this process held at some moment of ``work``."""
    start_anew()
    before = peak()
    work()
    return peak() - before


def ours(port: int, path: Path, messages: int) -> dict[str, float]:
    """Send the open file itself."""

    def send(envelope: Envelope) -> None:
        (result,) = client.send(envelope)
        assert result.outcome == "sent"

    def large() -> None:
        for _ in range(messages):
            with path.open("rb") as file:
                send(Envelope(SENDER, [RECIPIENT], file))

    with Client(HOST, port, security="none") as client:
        return growth(lambda: send(Envelope(SENDER, [RECIPIENT], message(3_000))), large)


def standard_library(port: int, path: Path, messages: int) -> dict[str, float]:
    """Send what the file holds: smtplib takes nothing else."""

    def send(content: bytes) -> None:
        client.sendmail(SENDER, [RECIPIENT], content)

    def large() -> None:
        for _ in range(messages):
            send(path.read_bytes())

    with smtplib.SMTP(HOST, port) as client:
        return growth(lambda: send(message(3_000)), large)


CLIENTS = {"django_smtpx": ours, "smtplib": standard_library}


def main() -> None:
    """Measure one client."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--messages", type=int, required=True)
    options = parser.parse_args()
    print(json.dumps(CLIENTS[options.client](options.port, options.file, options.messages)))


if __name__ == "__main__":
    main()
