"""What a server has said while a session was opened, read from the client's own record of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.reply import Reply

_LINE = re.compile(r"\s*([0-9.]+) (C:|S:|-) (.*)")
_CONNECTED = re.compile(r"connected to .* \[(.+)\] port [0-9]+")
_TLS = re.compile(r"(TLSv\S+ \S+), verified by (\S+)")
_PHASES = {"EHLO": "ehlo", "HELO": "ehlo", "STARTTLS": "starttls", "AUTH": "auth"}


@dataclass(slots=True)
class Heard:
    """``ip`` is "" without a connection, ``tls`` without a handshake; the lists hold the lines of
    the answers to EHLO, before TLS and behind it. ``mechanism`` is the last one that was tried.
    ``round_trip`` is in seconds, from EHLO to its answer. ``phase`` is that of the last command.
    """

    ip: str = ""
    banner: str = ""
    tls: str = ""
    verified_by: str = ""
    in_clear: tuple[str, ...] = ()
    in_tls: tuple[str, ...] = ()
    mechanism: str = ""
    round_trip: float | None = None
    phase: str = "connect"

    @property
    def ehlo(self) -> tuple[str, ...]:
        """The lines of the answer that counts."""
        return self.in_tls if self.tls else self.in_clear

    @property
    def able(self) -> Capabilities:
        """What that answer says."""
        return capabilities(self.ehlo)


def capabilities(lines: tuple[str, ...]) -> Capabilities:
    """Return what the lines of an answer to EHLO say."""
    return Capabilities.from_reply(Reply(250, lines)) if lines else Capabilities()


def read(transcript: str) -> Heard:
    """Return what a transcript, as errors and results have it, tells of an opening."""
    heard, command, said_at = Heard(), "", 0.0
    # A server may say whatever else is a line's end to Python.
    for line in transcript.split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        when, who, what = float(match[1]), match[2], match[3]
        if who == "-":
            _note(heard, what)
        elif who == "C:":
            command, said_at = what.partition(" ")[0], when
            heard.phase = _PHASES.get(command, heard.phase)
            if command == "AUTH":
                heard.mechanism = what.split()[1]
        elif not command:
            heard.banner = f"{heard.banner}\n{what}".strip()
        elif command in ("EHLO", "HELO") and what.startswith("250"):
            _hello(heard, what[4:])
            heard.round_trip = round(when - said_at, 3)
    return heard


def _note(heard: Heard, text: str) -> None:
    connected, tls = _CONNECTED.fullmatch(text), _TLS.fullmatch(text)
    if connected is not None:
        heard.ip, heard.phase = connected[1], "greeting"
    elif tls is not None:
        heard.tls, heard.verified_by = tls[1], tls[2].replace("nothing", "")


def _hello(heard: Heard, line: str) -> None:
    if heard.tls:
        heard.in_tls += (line,)
    else:
        heard.in_clear += (line,)
