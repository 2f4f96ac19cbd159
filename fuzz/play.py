"""The target with a dialogue: the client does everything right, and the server as it likes."""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING

from django_smtpx.smtp import content
from django_smtpx.smtp.envelope import DSN, Envelope
from django_smtpx.smtp.errors import ServerDisconnected, SMTPError, TLSError
from django_smtpx.smtp.events import (
    ContentWanted,
    Ended,
    Finished,
    HandshakeWanted,
    Opened,
    TokenWanted,
)
from django_smtpx.smtp.options import Credential, Options, Security
from django_smtpx.smtp.protocol import Protocol
from django_smtpx.smtp.transcript import LIMIT, render
from fuzz import wire
from fuzz.login import TOKEN
from fuzz.source import read
from fuzz.values import echoes

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Result
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transaction import Transaction
    from fuzz.source import Choices

FACTS = {"host": "h", "ip": "192.0.2.1", "port": 25, "tls": "", "tls_verified_by": ""}
STEPS = 300
"""Steps in one dialogue: more choices than that are not looked at."""
BLOCK = 24
"""Bytes in a block of a streamed content."""

WIDE = (
    b"250-mx.example at your service\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n"
    b"250-SMTPUTF8\r\n250-BINARYMIME\r\n250-DSN\r\n250-REQUIRETLS\r\n250-STARTTLS\r\n"
    b"250-AUTH PLAIN LOGIN\r\n250 SIZE 100000\r\n"
)
STOCK = (
    b"250 2.0.0 ok\r\n", b"354 go on\r\n", b"550 5.1.1 no such user\r\n", b"421 4.3.2 bye\r\n",
    b"452 4.5.3 too many recipients\r\n", b"251 will forward\r\n", b"334 \r\n", b"235 2.7.0 ok\r\n",
    b"535 5.7.8 no\r\n", b"503 5.5.1 out of sequence\r\n", b"220 go ahead\r\n", b"354-go\r\n",
    b"250-", b"\r\n", b"354-go\r\n354 on\r\n", b"452 4.2.2 full\r\n", b"554 5.7.1 no\r\n", WIDE,
    b"250-mx.example\r\n250-PIPELINING\r\n250 AUTH LOGIN\r\n", b"250 mx.example\r\n",
    b"250-mx.example\r\n250-CHUNKING\r\n250 LIMITS MAILMAX=1 RCPTMAX=1\r\n",
    b"250-mx.example\r\n250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 XOAUTH2\r\n",
    b"250-mx.example\r\n250 AUTH CRAM-MD5 OAUTHBEARER\r\n", b"504 5.5.4 no such mechanism\r\n",
    b"334 PDE4OTYuNjk3MTcwOTUyQGV4YW1wbGU+\r\n", b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n",
)  # fmt: skip
FITTING = {
    "": b"220 mx.example\r\n", "EHLO": WIDE, "HELO": b"250 mx.example\r\n", "AUTH": b"235 ok\r\n",
    "STARTTLS": b"220 go\r\n", "DATA": b"354 go\r\n", "QUIT": b"221 bye\r\n",
}  # fmt: skip
"""What is hoped for; 250 where nothing else is said."""
CREDENTIALS = (
    None,
    Credential("user", "pa55-word!"),
    Credential("user@example.com", "gehe\u00efm\u2026w\u00f6rt"),
    Credential('us"er', "sl\\ash\"quo'te %41"),
    Credential("user", token=lambda: TOKEN),
)
BINDINGS = {"tls-server-end-point": b"\1" * 32}
SENDERS = ("me@example.com", "", "m\u00eb@example.com", "bad\r\nRSET@example.com")
RECIPIENTS = ("you@example.net", '"y o"@example.net', "\u00fc@example.net", "bad>@example.net")
CONTENTS = (
    b"Subject: hello\r\n\r\nHello.\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\nend\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    b"Subject: 8 bit\r\n\r\n\xc3\xa4\xff\r\n",
    "Subject: \u00e4\r\n\r\nx\r\n".encode(),
    b"",
    b".bare\rends\n.\n.\r",
    b"Subject: long\r\n\r\n" + b"0123456789.\r\n" * 12,
)
COMMANDS = {"mail": ("MAIL",), "rcpt": ("RCPT",), "data": ("DATA",), "eod": (".", "BDAT")}
SECURITIES = (Security.NONE, Security.OPPORTUNISTIC, Security.STARTTLS, Security.IMPLICIT)


class Watched(Protocol):
    """Notes each reply, and what had left when it came."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.heard: list[wire.Heard] = []

    def _on_reply(self, reply: Reply) -> None:
        self.heard.append(wire.Heard(reply, self.sent_total))
        super()._on_reply(reply)


class Play:
    """One dialogue, and what was seen of it."""

    def __init__(self, said: bytes, choices: Choices) -> None:
        self.said = said
        self.choices = choices
        self.credential = choices.one_of(CREDENTIALS)
        self.options = Options(
            host="mx.example",
            port=25,
            helo="me.example",
            security=choices.one_of(SECURITIES),
            credential=self.credential,
            allow_plaintext_auth=choices.below(4) != 1,
            pipelining=choices.below(4) != 1,
            chunking=choices.below(4) != 1,
            chunking_window=1 + choices.below(3),
        )
        self.envelopes = deque(_envelope(choices) for _ in range(1 + choices.below(4)))
        self.protocol = Watched(self.options)
        self.protocol.channel_bindings = lambda: BINDINGS if self.protocol.tls else {}
        self.stream = b""
        self.pending = b""
        self.opened = False
        self.token = ""
        self.quit = False
        self.begun: list[Transaction] = []
        self.finished: dict[int, tuple[Result, ...]] = {}
        self.failure: SMTPError | None = None

    def run(self) -> None:
        """Play it to its end."""
        protocol = self.protocol
        if self.options.security is Security.IMPLICIT:
            protocol.verified = self.choices.flag()
        for _ in range(STEPS):
            self.look()
            if protocol.over:
                break
            self.hand_over()
            self.answer()
        if not protocol.over:
            protocol.receive_eof()
        self.look()
        assert protocol.over
        self.after_the_end()

    # -- the client ------------------------------------------------------------------------------

    def look(self) -> None:
        """Do what a client does about what has happened."""
        protocol = self.protocol
        while (event := protocol.next_event()) is not None:
            if isinstance(event, Opened):
                self.opened = True
            elif isinstance(event, HandshakeWanted):
                self.shake_hands()
            elif isinstance(event, TokenWanted):
                self.give_token()
            elif isinstance(event, ContentWanted):
                self.content_wanted(event.transaction)
            elif isinstance(event, Finished):
                self.note(event.transaction)
            elif isinstance(event, Ended):
                assert event.error is protocol.failure
        if self.opened and protocol.idle and not self.pending:
            self.next_transaction()

    def shake_hands(self) -> None:
        assert self.protocol.state.name == "TLS"
        if self.choices.below(8) == 1:
            self.protocol.receive_error(TLSError("no handshake", phase="starttls"))
            return
        self.protocol.verified = self.choices.flag()
        self.protocol.tls_started()

    def give_token(self) -> None:
        if self.choices.below(8) == 1:
            self.protocol.refuse_token("There is no token")
        else:
            self.token = TOKEN
            self.protocol.use_token(TOKEN)

    def content_wanted(self, transaction: Transaction) -> None:
        if self.protocol.failure is not None:
            return
        if self.choices.below(16) == 1:
            self.protocol.withdraw()
            return
        self.protocol.send_content(transaction)
        if transaction.pipelined and not transaction.streamed:
            self.put()

    def next_transaction(self) -> None:
        protocol = self.protocol
        last = self.begun[-1] if self.begun else None
        act = self.choices.below(8)
        if act == 1:
            protocol.noop()
        elif act == 2 or (last and last.eod_reply is None and protocol.state.name != "READY"):
            protocol.reset()
        elif self.envelopes and not protocol.full:
            self.put()
        else:
            assert protocol.can_quit
            protocol.quit()

    def put(self) -> None:
        """Begin the next envelope that can be begun; with a window, send its content, too."""
        protocol, window = self.protocol, self.options.chunking_window
        while self.envelopes and not protocol.full:
            envelope = self.envelopes.popleft()
            before = len(protocol.entries), protocol.begun
            try:
                transaction = protocol.prepare(envelope)
            except (SMTPError, ValueError):
                assert before == (len(protocol.entries), protocol.begun)
                continue
            self.begun.append(transaction)
            protocol.begin(transaction)
            ahead = window > 1 and transaction.chunked and transaction.pipelined
            if not ahead or transaction.streamed:
                return
            protocol.send_content(transaction)
            if protocol.unanswered >= window:
                return

    def note(self, transaction: Transaction) -> None:
        """Note what became of a transaction."""
        place = next(at for at, each in enumerate(self.begun) if each is transaction)
        assert transaction.done
        assert place not in self.finished, "it was finished before"
        disconnected = self.protocol.disconnected
        self.finished[place] = transaction.results(FACTS, disconnected=disconnected)

    def hand_over(self) -> None:
        """Give the network what it takes."""
        protocol = self.protocol
        while True:
            if not self.pending:
                self.pending = protocol.data_to_send()
                self.stream += self.pending
            if not self.pending:
                return
            size = len(self.pending)
            if self.choices.below(8) == 1:
                size = self.choices.below(size + 1) if size < 256 else self.choices.byte()
            protocol.sent_total += size
            protocol.offered_total = protocol.sent_total
            self.pending = self.pending[size:]
            if self.pending or (protocol.streaming and self.choices.below(4) == 1):
                return

    # -- the server ------------------------------------------------------------------------------

    def answer(self) -> None:
        """Let the server do one thing."""
        protocol, act = self.protocol, self.choices.below(20)
        if act < 6:
            data = self.words()
        elif act < 10:
            data = FITTING.get(protocol.owed or "", b"250 2.1.0 ok\r\n")
        elif act < 14:
            data = self.choices.one_of(STOCK)
        elif act == 14:
            data, self.said = self.said, b""
        elif act == 15:
            data = self.said[: self.choices.below(20)]
            self.said = self.said[len(data) :]
        elif act == 16:
            data = self.echo()
        else:
            self.end(act)
            return
        if data:
            uncalled = protocol.owed is None and bool(data.strip(b"\r\n"))
            protocol.receive_data(data)
            assert protocol.failure is not None or not uncalled, "nobody had asked for it"
        elif not self.choices:
            protocol.receive_eof()

    def words(self) -> bytes:
        """Return the next reply of the input, as far as it is one."""
        at = 0
        while at < len(self.said):
            line = at
            at = self.said.find(b"\n", at) + 1 or len(self.said)
            if self.said[line + 3 : line + 4] != b"-":
                break
        found, self.said = self.said[:at], self.said[at:]
        return found

    def echo(self) -> bytes:
        """Return something with the password in it; nothing, where there is none."""
        if self.credential is None:
            return b""
        front = self.choices.one_of((b"535 5.7.8 ", b"", b"250-", b"554 no: ", b"334 ", b"5"))
        secret = self.credential.password or self.token
        if not secret:
            return b""
        credential = Credential(self.credential.username, secret)
        form = self.choices.one_of(list(echoes(credential, self.choices)))
        return front + b"x" * (self.choices.byte() - 1) + b" " + form.encode() + b" \r\n"

    def end(self, act: int) -> None:
        if act == 17:
            self.protocol.receive_eof()
        elif act == 18:
            self.protocol.receive_timeout()
        else:
            self.protocol.receive_error(ServerDisconnected("reset by peer"))

    # -- what has to hold ------------------------------------------------------------------------

    def after_the_end(self) -> None:
        """See that nothing more is said, and that nothing more changes."""
        protocol, failure = self.protocol, self.protocol.failure
        assert not protocol.streaming
        assert not protocol.idle
        if failure is not None:
            assert protocol.data_to_send() == b""
            assert isinstance(failure, SMTPError)
        replies = protocol.replies
        for data in (b"250 ok\r\n", b"\xff" * 40, b"421 bye\r\n"):
            protocol.receive_data(data)
        protocol.receive_eof()
        assert protocol.failure is failure
        assert protocol.replies == replies
        assert protocol.next_event() is None
        if failure is not None:
            assert failure.disconnected

    def check(self) -> None:
        """Compare what the client believes with what the wire tells."""
        protocol = self.protocol
        check_failure(protocol.failure)
        said = wire.read(self.stream, protocol.heard)
        self.check_order(said)
        courses = wire.courses(said, self.stream)
        for place, transaction in enumerate(self.begun):
            course = courses[place] if place < len(courses) else wire.Course()
            results = self.finished.get(place)
            if results is None:
                self.check_not_begun(course)
            else:
                self.check_results(transaction, results, course)
        self.check_secrets()

    def check_order(self, said: list[wire.Said]) -> None:
        """See that nothing is made of an answer that came before it was asked for."""
        protocol, asked = self.protocol, 0
        for heard, each in zip(protocol.heard[1:], said, strict=False):
            if each.name not in ("RCPT", "DATA") or not self.options.pipelining:
                # A group is one write: its commands count as said together.
                asked = each.start
            if heard.sent <= asked:
                assert heard is protocol.heard[-1], each.line
                assert protocol.failure is not None
                assert protocol.failure.code == heard.reply.code

    def check_not_begun(self, course: wire.Course) -> None:
        """See that a transaction without an end was not taken by anybody."""
        final = course.final
        assert final is None or final.reply.code == 421, final
        if course.left(self.protocol.sent_total) == "all":
            failure = self.protocol.failure
            assert failure is not None
            assert failure.code == 421

    def check_results(
        self, transaction: Transaction, results: tuple[Result, ...], course: wire.Course
    ) -> None:
        """See that each recipient's result is what was said to it, and to nobody else."""
        recipients = transaction.envelope.recipients
        assert tuple(each.recipient for each in results) == recipients
        mail, rcpt = course.heard("MAIL"), course.heard("RCPT")
        assert len(mail) <= 1
        final = course.final
        left = course.left(self.protocol.sent_total)
        taken = final is not None and final.reply.severity == 2
        for at, result in enumerate(results):
            accepted = at < len(rcpt) and mail[0].severity == rcpt[at].severity == 2
            assert (result.error is None) == (result.outcome == "sent")
            if result.outcome == "sent":
                assert taken
                assert accepted
                assert final is not None
                assert result.code == final.reply.code
                assert course.content == content.normalise(whole(transaction.envelope))
            elif taken and accepted:
                # A chunk was refused, and the whole was accepted: nobody knows.
                assert result.outcome == "unknown", result
            if result.outcome == "unknown":
                assert left == "all"
            self.check_error(at, result, course, left)

    def check_code(self, at: int, result: Result, course: wire.Course) -> None:
        """See that a code is the answer to the command that it is said to be of."""
        codes = [reply.code for reply in course.heard(*COMMANDS[result.phase])]
        failure = self.protocol.failure
        if (
            failure is not None
            and failure.command in ("", "RSET", result.command)
            and result.code == failure.code
            and type(result.error) is type(failure)
        ):
            # What ended the dialogue is everybody's answer who had none.
            return
        if result.phase == "rcpt":
            codes = codes[at : at + 1]
        assert result.code in codes, (result, codes)

    def check_error(self, at: int, result: Result, course: wire.Course, left: str) -> None:
        error = result.error
        if error is None:
            return
        check_failure(error)
        if result.code is not None:
            self.check_code(at, result, course)
        if error.phase == "eod" and course.final is None:
            assert error.content_sent == left, (error.content_sent, left)
        if left == "all" and course.final is None and error.code is None:
            assert result.outcome == "unknown" or error.phase != "eod"
        if error.content_sent != "no":
            assert left != "no"

    def check_secrets(self) -> None:
        """See that what is kept of the dialogue is bounded, and without the password."""
        shown = [render(0.0, self.protocol.entries)]
        shown += [render(0.0, each.entries) for each in self.begun]
        assert all(len(each) <= LIMIT for each in shown)
        shown.append(f"{self.protocol.failure} {getattr(self.protocol.failure, 'reply', '')}")
        for results in self.finished.values():
            shown += [f"{each.reply}\n{each.error}\n{each.error!r}" for each in results]
        if self.credential is not None:
            # Not the greater part of it either: what is shown may have been cut.
            secret = self.credential.password or TOKEN
            credential = Credential(self.credential.username, secret)
            for form in (credential.password[:6], *echoes(credential, self.choices)):
                assert not any(form in each for each in shown), form


def check_failure(error: SMTPError | None) -> None:
    """See that an error says what it must, and no more."""
    if error is None:
        return
    assert error.phase
    assert error.category
    assert error.action not in ("", "none")
    assert error.content_sent in ("no", "partial", "all")
    assert (error.code is None) == (error.reply == "" and error.code is None)
    assert error.code is not None or error.enhanced_code == ""
    assert "\r" not in error.command
    str(error), repr(error), error.__reduce__()


def whole(envelope: Envelope) -> bytes:
    """Return the content of an envelope in one piece."""
    if isinstance(envelope.content, bytes):
        return envelope.content
    envelope.content.seek(envelope.start)
    return envelope.content.read()


def _envelope(choices: Choices) -> Envelope:
    kind = choices.byte()
    raw = CONTENTS[kind % len(CONTENTS)]
    names = [RECIPIENTS[0]]
    if kind >= 128:
        names += [choices.one_of(RECIPIENTS) for _ in range(choices.below(3))]
    sender = SENDERS[0] if kind < 160 else choices.one_of(SENDERS)
    dsn = DSN(ret="HDRS", envid="a+b", notify=("FAILURE",)) if kind % 16 == 9 else None
    held = io.BytesIO(raw) if kind % 4 == 3 else raw
    return Envelope(sender, names, held, dsn=dsn, require_tls=kind % 32 == 21)


def protocol(data: bytes) -> None:
    """A whole dialogue: only SMTPError leaves, and what is told is what the wire tells."""
    said, choices = read(data)
    before = content.BLOCK
    content.BLOCK = BLOCK
    try:
        play = Play(said, choices)
        play.run()
        play.check()
    finally:
        content.BLOCK = before
