"""Memory that a message of 100 MB takes when its content is an open file.

To a server with CHUNKING (BDAT, RFC 3030) and to one without (DATA); smtplib stands beside.
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clients import message
from benchmarks.processes import ClientFailed, in_turns, server, worker
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse

MEGABYTE = 1_000_000
LINE = 57
"""Bytes that make a line of base64 (76 characters, RFC 2045 section 6.8)."""
BLOCK = LINE * 10_000
BOUNDARY = b"a-boundary"
HEADER = (
    b"From: sender@example.com\r\n"
    b"To: recipient@example.net\r\n"
    b"Subject: A large one\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=%b\r\n"
    b"\r\n"
    b"--%b\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=large.bin\r\n"
    b"\r\n" % (BOUNDARY, BOUNDARY)
)
FOOTER = b"--%b--\r\n" % BOUNDARY
# The name of a row: the client, and what the server is told to offer.
ROWS = {
    "django_smtpx, BDAT": ("django_smtpx", ["--chunking"]),
    "django_smtpx, DATA": ("django_smtpx", []),
    "smtplib, DATA": ("smtplib", []),
}
GROWTH = "growth_mb"


def write_message(path: Path, size: int) -> None:
    """Write a message with an attachment; the whole has at least ``size`` bytes."""
    block = base64.encodebytes(os.urandom(BLOCK)).replace(b"\n", b"\r\n")
    with path.open("wb") as file:
        file.write(HEADER)
        left = size - len(HEADER)
        while left > 0:
            # Whole lines, so that the end is one, too.
            piece = block[: -(-left // (len(block) // 10_000)) * (len(block) // 10_000)]
            file.write(piece)
            left -= len(piece)
        file.write(FOOTER)


def measure(options: argparse.Namespace) -> Report:
    """Run all of them in turns."""
    report = Report("memory", options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "message"
        write_message(path, options.megabytes * MEGABYTE)
        for run in range(options.runs):
            for row in in_turns(list(ROWS), run):
                _send(report, row, path, options.messages)
            for row in ROWS:
                if row.startswith("django_smtpx"):
                    report.goal(f"growth, MB: {row}", report.latest(row, GROWTH), "<=", 8)
    return report


def _send(report: Report, row: str, path: Path, messages: int) -> None:
    client, offers = ROWS[row]
    with server("server", *offers) as running:
        measured = worker("large", client, running.port, path, "--messages", messages)
    octets = path.stat().st_size * messages
    arrived = running.totals["octets"] - _small_one(offers)
    if arrived != octets:
        raise ClientFailed(f"{row}: {arrived} of {octets} octets arrived")
    report.add(row, GROWTH, measured["growth"] / MEGABYTE)
    report.add(row, "mb_per_second", octets / MEGABYTE / measured["seconds"])


def _small_one(offers: list[str]) -> int:
    """Return the octets of the message that goes first; behind DATA its dots are doubled."""
    small = message(3_000)
    return len(small) if offers else len(small) + small.count(b"\r\n.")


if __name__ == "__main__":
    parser = arguments(__doc__, messages=1)
    parser.add_argument(
        "--megabytes", type=positive, default=100, help="of a message; default: %(default)s"
    )
    main(measure, parser)
