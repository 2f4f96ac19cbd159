"""A server in memory that does one thing wrong, and the connection to it, on a clock of its own."""

from __future__ import annotations

from django_smtpx.smtp.errors import ServerDisconnected
from django_smtpx.smtp.transport import Transport

STEPS_MAX = 3000
"""Calls of a connection in one cell; more is a loop. What comes byte by byte is counted apart."""
DRIP = 10.0
"""Seconds between two lines of a reply that has no end."""
FLOOD = b"250-more\r\n" * 200
LONG = b"250 " + b"x" * 65_536 + b"\r\n"

TEXTS = {
    "4yz": b"451 4.0.0 not now\r\n",
    "5yz": b"554 5.0.0 never\r\n",
    "421": b"421 4.0.0 closing\r\n",
    "4.4.2": b"451 4.4.2 idle for too long\r\n",
    "garbage": b"\x00\x01 what is this\r\n",
    "mixed": b"250-one\r\n550 two\r\n",
    "long": LONG,
}
EXTRA = b"250 2.0.0 unasked\r\n"


class Clock:
    """Stands in for the module ``time``; it moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass; a wait that is too short for a float to tell is one all the same."""
        self.now += max(seconds, 1e-6) if seconds else 0.0


class Peer:
    """A server that answers at once.

    ``at`` is the place of its ``fault``: the round (the number of the MAIL, 0
    before the first) and the name of the command. ``heard`` are the places it
    got to, ``complete`` the rounds whose content it has with its end,
    ``promised`` those that it has answered with 250, and ``accepted`` and
    ``senders`` what was in them.
    """

    def __init__(
        self,
        fault: str = "",
        at: tuple[int, str] = (0, ""),
        *,
        keywords: tuple[str, ...] = (),
        refuse: tuple[int, ...] = (),
        helo_only: bool = False,
        before: tuple[int, str] = (0, ""),
        after: int | None = None,
        forgiving: bool = False,
    ) -> None:
        self.fault, self._at, self._before, self._after = fault, at, before, after
        self._keywords, self._refuse, self._helo_only = keywords, refuse, helo_only
        self._forgiving = forgiving
        self.out = bytearray()
        self.closed = ""
        self.mute = self.flood = self.drip = self.bytewise = self.stuck = False
        self.tls = self.awaits_tls = False
        self.round = 0
        self.heard: list[tuple[int, str]] = []
        self.complete: list[int] = []
        self.promised: list[int] = []
        self.senders: dict[int, str] = {}
        self.accepted: dict[int, set[int]] = {}
        self._line = b""
        self._auth = 0
        self._mail = False
        self._rcpts = 0
        self._chunks = 0
        self._reading = ""
        self._content = bytearray()
        self._left = 0
        self._last = False
        self._broken = False

    def greet(self) -> None:
        """Begin."""
        if self._before == (0, "connect"):
            self.say(EXTRA)
        self._answer("greeting", b"220 2.0.0 mx.example\r\n")

    def start_tls(self) -> None:
        """Go on in TLS."""
        self.tls = True
        if self._before == (0, "handshake"):
            self.say(EXTRA)

    def say(self, data: bytes) -> None:
        """Send ``data``."""
        if not (self.mute or self.closed):
            self.out += data

    def feed(self, data: bytes) -> int:
        """Take in what the client says; return how many bytes of it were read."""
        read = 0
        while read < len(data) and not self.stuck:
            if self.mute or self.closed:
                return len(data)
            if self._reading:
                read += self._read_content(data[read:])
            else:
                end = data.find(b"\n", read) + 1 or len(data)
                self._line += data[read:end]
                read = end
                if self._line.endswith(b"\n"):
                    line, self._line = self._line, b""
                    self._command(line.rstrip(b"\r\n"))
        return read

    # -- commands --------------------------------------------------------------------------------

    def _command(self, line: bytes) -> None:
        if self._auth:
            self._answer_auth(cancel=line == b"*")
            return
        verb = line.split(b" ")[0].decode().lower()
        getattr(self, f"_on_{verb}")(line)

    def _on_ehlo(self, line: bytes) -> None:
        if self._helo_only:
            self._answer("ehlo", b"502 5.5.1 what\r\n")
            return
        lines = ["mx.example", *self._keywords]
        if self.tls:
            lines.remove("STARTTLS")
        text = "".join(f"250-{word}\r\n" for word in lines[:-1]) + f"250 {lines[-1]}\r\n"
        self._answer("ehlo_tls" if self.tls else "ehlo", text.encode())

    def _on_helo(self, line: bytes) -> None:
        self._answer("helo", b"250 mx.example\r\n")

    def _on_starttls(self, line: bytes) -> None:
        self.awaits_tls = self._answer("starttls", b"220 2.0.0 go\r\n")

    def _on_auth(self, line: bytes) -> None:
        self._answer_auth()

    def _answer_auth(self, *, cancel: bool = False) -> None:
        self._auth += 1
        if cancel:
            self._auth = 0
            self.say(b"501 5.7.0 cancelled\r\n")
            return
        step = self._auth
        good = b"235 2.7.0 welcome\r\n" if step == 3 else b"334 VXNlcg==\r\n"
        if self._answer(f"auth{step}", good) == (step == 3):
            self._auth = 0

    def _on_mail(self, line: bytes) -> None:
        self.round += 1
        self.senders[self.round] = line.split(b"<")[1].split(b">")[0].decode()
        self._rcpts = self._chunks = 0
        self._broken = False
        self._content = bytearray()
        self.accepted[self.round] = set()
        self._mail = self._answer("mail", b"250 2.1.0 sender ok\r\n")

    def _on_rcpt(self, line: bytes) -> None:
        index = self._rcpts = self._rcpts + 1
        good = b"250 2.1.5 recipient ok\r\n"
        if not self._mail:
            good = b"503 5.5.1 MAIL first\r\n"
        elif index in self._refuse and self.round == self._at[0]:
            good = b"550 5.1.1 unknown\r\n"
        if self._answer(f"rcpt{index}", good) and good.startswith(b"250"):
            self.accepted[self.round].add(index)

    def _on_data(self, line: bytes) -> None:
        if not self.accepted.get(self.round):
            self._answer("data", b"554 5.5.1 no valid recipients\r\n")
        elif self._answer("data", b"354 go\r\n"):
            self._reading = "data"

    def _on_bdat(self, line: bytes) -> None:
        _, size, *last = line.split()
        self._left, self._last = int(size), bool(last)
        self._reading = "bdat"
        self._chunks += 1

    def _on_rset(self, line: bytes) -> None:
        self._mail = False
        self._answer("rset", b"250 2.0.0 reset\r\n")

    def _on_noop(self, line: bytes) -> None:
        self._answer("noop", b"250 2.0.0 yes\r\n")

    def _on_quit(self, line: bytes) -> None:
        if self._answer("quit", b"221 2.0.0 bye\r\n"):
            self.closed = "eof"

    # -- the content -----------------------------------------------------------------------------

    def _read_content(self, data: bytes) -> int:
        have = len(self._content)
        if self._reading == "bdat":
            data = data[: self._left]
        if self._after is not None and self.round == self._at[0]:
            room = self._after - have
            if room < len(data):
                self._content += data[:room]
                self.stuck = True
                self._misbehave(b"554 5.0.0 never\r\n")
                return room
        self._content += data
        if self._reading == "bdat":
            self._left -= len(data)
            if not self._left:
                self._end_chunk()
            return len(data)
        whole = bytes(b"\r\n" + self._content)
        end = whole.find(b"\r\n.\r\n") + 3
        if end < 3:
            return len(data)
        self._reading = ""
        self.complete.append(self.round)
        self._answer("dot", b"250 2.6.0 queued\r\n")
        return end - have

    def _end_chunk(self) -> None:
        self._reading = ""
        good = b"250 2.6.0 queued\r\n" if self._last else b"250 2.6.0 octets\r\n"
        if self._broken or not self.accepted.get(self.round):
            good = b"503 5.5.1 no\r\n"
        elif self._last:
            self.complete.append(self.round)
        key = "bdat" if self._last else f"chunk{self._chunks}"
        refused = not self._answer(key, good)
        self._broken = (refused or self._broken) and not self._forgiving

    # -- answers ---------------------------------------------------------------------------------

    def _answer(self, key: str, good: bytes) -> bool:
        """Answer; return whether it is the good answer that is given."""
        place = (self.round, key)
        self.heard.append(place)
        done = True
        if place == self._at and self.fault != "stray":
            done = self._misbehave(good)
        else:
            self.say(good)
        if done and key in ("dot", "bdat") and good.startswith(b"250"):
            self.promised.append(self.round)
        if place == self._before:
            self.say(EXTRA)
        return done

    def _misbehave(self, good: bytes) -> bool:
        """Do what is wrong; return whether the good answer was given all the same."""
        fault = self.fault
        text, _, end = fault.partition("+")
        if fault in ("two", "bytes"):
            self.say(good)
            self.bytewise = self.bytewise or fault == "bytes"
            if fault == "two":
                self.say(EXTRA)
            return True
        if text in TEXTS:
            self.say(TEXTS[text])
        elif fault == "wrong":
            self.say(b"250 2.0.0 well\r\n" if good[:1] == b"3" else b"354 go on\r\n")
        elif fault == "drip":
            self.say(b"250-one\r\n")
        self.drip, self.flood = fault == "drip", fault == "endless"
        if end or fault in ("eof", "rst"):
            self.closed = end or fault
        self.mute = fault in ("silence", "421", "drip", "endless")
        return False


class Wire(Transport):
    """A connection to ``peer``, with no socket.

    The first bytes sent to a peer that has closed vanish, as with TCP; behind
    a reset, and from the second time on, sending fails. With ``slow`` there is
    nothing to be read without waiting. ``sent`` is what was taken.
    """

    def __init__(self, peer: Peer, clock: Clock) -> None:
        self.peer = peer
        self.ip, self.port, self.tls, self.verified_by, self.first = "192.0.2.1", 25, "", "", b""
        self.resolved_at = clock.monotonic()
        self.shut = False
        self.slow = False
        self.sent = bytearray()
        self._clock = clock
        self._steps = 0
        self._vanished = False
        self._due = False

    def start_tls(self, *_, **__) -> None:
        """Shake hands."""
        self.tls, self.verified_by = "TLSv1.3 X", "pkix"
        self.peer.start_tls()

    def send(self, data: bytes | memoryview) -> int:
        """Hand over what the peer reads of ``data``."""
        self._step()
        assert not self.shut, "it is closed"
        peer = self.peer
        if peer.closed == "rst" or (peer.closed and self._vanished):
            raise ServerDisconnected("Writing failed")
        if peer.closed:
            self._vanished = True
            self.sent += data
            return len(data)
        taken = peer.feed(bytes(data))
        self.sent += data[:taken]
        return taken

    def receive(self) -> bytes | None:
        """Return what has come."""
        peer = self.peer
        if not peer.bytewise:
            self._step()
        if peer.out:
            size = 1 if peer.bytewise else len(peer.out)
            data = bytes(peer.out[:size])
            del peer.out[:size]
            return data
        if peer.flood:
            return FLOOD
        if self._due:
            self._due = False
            return b"250-more\r\n"
        return b"" if peer.closed else None

    def readable(self, timeout: float) -> bool:
        """Wait until something comes, or the clock has moved by ``timeout``."""
        peer = self.peer
        if not peer.bytewise:
            self._step()
        if self.slow and not timeout:
            return False
        if peer.out or peer.flood or peer.closed or self._due:
            return True
        if peer.drip and timeout >= DRIP:
            self._clock.wait(DRIP)
            self._due = True
            return True
        self._clock.wait(timeout)
        return False

    def ready(self, timeout: float) -> tuple[bool, bool]:
        """Wait until it can be read or written, or the clock has moved by ``timeout``."""
        writable = bool(self.peer.closed) or not self.peer.stuck
        return self.readable(0 if writable else timeout), writable

    def close(self) -> None:
        """Close."""
        self.shut = True

    def forget(self) -> None:
        """Close."""
        self.shut = True

    def _step(self) -> None:
        self._steps += 1
        assert self._steps < STEPS_MAX, "it does not end"
