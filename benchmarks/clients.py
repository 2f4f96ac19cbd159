"""The clients that are compared, each in a process of its own: ``python -m benchmarks.clients``.

Connection and warm-up are over before the first measurement begins. Each line of the input is a
number of messages to send, and is answered by a line of JSON with the time that it took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import resource
import smtplib
import socket
import sys
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from django_smtpx.smtp import Client, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "127.0.0.1"
SENDER = "sender@example.com"
RECIPIENT = "recipient@example.net"
HEADER = (
    b"From: A sender <sender@example.com>\r\n"
    b"To: A recipient <recipient@example.net>\r\n"
    b"Subject: What was ordered is on its way\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <20260101000000.1.benchmark@example.com>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n"
    b"\r\n"
)
LINE = b"The quick brown fox jumps over the lazy dog, and over the next one as well.\r\n"
DOTS = b"...and so on\r\n"


class Sender(Protocol):
    """A connected client: send ``count`` messages, and return how many were taken."""

    def __call__(self, count: int) -> int: ...  # noqa: D102


def message(size: int) -> bytes:
    """Return a message of about ``size`` bytes; lines that begin with a dot are among its lines."""
    body = (LINE * 9 + DOTS) * (size // (len(LINE) * 9 + len(DOTS)) + 1)
    whole = (HEADER + body)[: max(size, len(HEADER)) - 2]
    return whole.rstrip(b"\r\n") + b"\r\n"


@contextmanager
def ours(port: int, content: bytes, **options: bool | int) -> Iterator[Sender]:
    """Send with :meth:`Client.send_all`, and look at the result of each recipient."""

    def envelopes(count: int) -> Iterator[Envelope]:
        for _ in range(count):
            yield Envelope(SENDER, [RECIPIENT], content)

    def send(count: int) -> int:
        taken = 0
        for outcome in client.send_all(envelopes(count)):
            for result in outcome.results:
                if result.outcome == "sent":
                    taken += 1
        return taken

    with Client(HOST, port, security="none", **options) as client:  # type: ignore[arg-type]
        yield send


@contextmanager
def chunking(port: int, content: bytes) -> Iterator[Sender]:
    """Send with BDAT, and let 16 contents be unanswered at once."""
    with ours(port, content, chunking=True, chunking_window=16) as send:
        yield send


@contextmanager
def standard_library(port: int, content: bytes) -> Iterator[Sender]:
    """Send with :meth:`smtplib.SMTP.sendmail`."""

    def send(count: int) -> int:
        for _ in range(count):
            client.sendmail(SENDER, [RECIPIENT], content)
        return count

    with smtplib.SMTP(HOST, port) as client:
        yield send


@contextmanager
def aiosmtplib_client(port: int, content: bytes) -> Iterator[Sender]:
    """Send with :meth:`aiosmtplib.SMTP.sendmail`."""
    import aiosmtplib

    async def send_all(count: int) -> int:
        for _ in range(count):
            await client.sendmail(SENDER, [RECIPIENT], content)
        return count

    def send(count: int) -> int:
        return runner.run(send_all(count))

    client = aiosmtplib.SMTP(hostname=HOST, port=port, use_tls=False, start_tls=False)
    with asyncio.Runner() as runner:
        runner.run(client.connect())
        yield send
        runner.run(client.quit())


@contextmanager
def raw(port: int, content: bytes) -> Iterator[Sender]:
    """Send the same bytes with next to nothing around the socket: what it costs at least.

    It pipelines as our client does, and counts the replies without looking at them.
    """

    def group() -> bytes:
        lines = (
            f"MAIL FROM:<{SENDER}> SIZE={len(content)}",
            f"RCPT TO:<{RECIPIENT}>",
            "DATA",
            "",
        )
        return "\r\n".join(lines).encode("ascii")

    def stuffed() -> bytes:
        return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"

    def received() -> bytes:
        data = sock.recv(65_536)
        if not data:
            raise ConnectionError("The server hung up")
        return data

    def replies(count: int) -> None:
        while count > 0:
            count -= received().count(b"\n")

    def send(count: int) -> int:
        sock.sendall(group())
        replies(3)
        for _ in range(count - 1):
            sock.sendall(stuffed() + group())
            replies(4)
        sock.sendall(stuffed())
        replies(1)
        return count

    with socket.create_connection((HOST, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies(1)
        sock.sendall(b"EHLO benchmark.example\r\n")
        said = b"\n"
        while b"\n250 " not in said or not said.endswith(b"\n"):
            said += received()
        yield send
        sock.sendall(b"QUIT\r\n")
        replies(1)


CLIENTS: dict[str, Callable[[int, bytes], AbstractContextManager[Sender]]] = {
    "django_smtpx": ours,
    "django_smtpx, BDAT": chunking,
    "smtplib": standard_library,
    "aiosmtplib": aiosmtplib_client,
    "raw socket": raw,
}


def cpu_seconds() -> float:
    """Return the CPU time of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(send: Sender, count: int) -> dict[str, float]:
    """Return the seconds that ``count`` messages took, by the clock and of CPU time.

    Raises RuntimeError when one of them was not taken.
    """
    gc.collect()
    cpu, started = cpu_seconds(), time.perf_counter()
    taken = send(count)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    if taken != count:
        raise RuntimeError(f"{taken} of {count} messages were taken")
    return {"seconds": seconds, "cpu": cpu}


def profile(send: Sender, count: int) -> None:
    """Print the 25 functions in which the most time is spent, of ``count`` messages."""
    import cProfile
    import pstats

    with cProfile.Profile() as profiler:
        send(count)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure one client as often as it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("port", type=int)
    parser.add_argument("--warm-up", type=int, default=1, help="messages sent before")
    parser.add_argument("--size", type=int, default=3_000, help="bytes of a message")
    parser.add_argument(
        "--profile", type=int, metavar="MESSAGES", help="send these, and say where the time goes"
    )
    options = parser.parse_args()
    with CLIENTS[options.client](options.port, message(options.size)) as send:
        send(options.warm_up)
        if options.profile:
            profile(send, options.profile)
            return
        print(flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(send, int(line))), flush=True)


if __name__ == "__main__":
    main()
