from __future__ import annotations

import pickle
import socket
import threading

import pytest

from django_smtpx.smtp import connection as connection_module
from django_smtpx.smtp import session as session_module
from django_smtpx.smtp.errors import (
    AuthenticationError,
    ConnectError,
    ProtocolError,
    RecipientsRefused,
    ReplyError,
    SenderRefused,
    ServerDisconnected,
    ServerTimeout,
    ServiceUnavailable,
    TLSError,
)
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.rules import Rule
from django_smtpx.smtp.session import Session
from django_smtpx.smtp.watch import NO_WATCH
from tests.smtp.talk import (
    BYE,
    LOGIN,
    PLAIN_HELLO,
    WIDE_HELLO,
    Server,
    accepted,
    envelope,
    error_of,
    opening,
    options,
)

TWO = ("a@example.net", "b@example.net")
BIG = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 5 + (b"y" * 98 + b"\r\n") * 300_000


@pytest.fixture
def connect():
    """Open sessions that are closed at the end of the test."""
    sessions = []

    def open_session(server, **changes):
        watch = changes.pop("watch", None)
        sessions.append(Session.open(options(port=server.port, **changes), watch=watch))
        return sessions[-1]

    yield open_session
    for each in sessions:
        each.abort()


class Watch:
    """Notes what a session asks."""

    def __init__(self, interval=0.01, allow=True):
        self.interval = interval
        self.allow = allow
        self.asked = []
        self.waits = []

    def may_send(self, mail):
        """Note the question."""
        self.asked.append(mail)
        return self.allow

    def waiting(self, elapsed):
        """Note the wait."""
        self.waits.append(elapsed)


def outcomes(session, *mails, watch=None):
    """Return each outcome's results in short."""
    return [
        [(result.outcome, result.category, result.phase, result.code) for result in outcome.results]
        for outcome in session.transact(mails, watch)
    ]


def test_batch(connect):
    """A batch is sent with the next group behind each content, and every recipient has a result."""
    script = [
        *opening(),
        3,
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        3,
        b"250 queued\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        b"250 2.0.0 last\r\n",
        *BYE,
    ]
    with Server(script) as server:
        session = connect(server, transcript="always")
        watch = Watch(interval=5)
        mails = [envelope(), envelope("b@example.net")]
        found = list(session.transact(mails, watch))
        assert [outcome.envelope for outcome in found] == mails == watch.asked
        result = found[1].results[0]
        assert (result.outcome, result.recipient, result.host, result.ip, result.port) == (
            "sent",
            "b@example.net",
            "127.0.0.1",
            "127.0.0.1",
            server.port,
        )
        assert (session.host, session.ip, session.port) == ("127.0.0.1", "127.0.0.1", server.port)
        assert (session.tls, session.tls_verified_by) == ("", "")
        assert session.transactions == 2
        assert session.usable
        assert "C: [26 bytes of content]" in found[0].transcript
        assert ["EHLO" in outcome.transcript for outcome in found] == [True, False]
        session.quit()
        session.quit()
        assert not session.usable
        assert not session.alive()
        assert list(session.transact([envelope()])) == []
    assert server.heard[-1] == b"QUIT"


def test_refusal_and_hang_up(connect):
    """5yz and FIN: the recipient has the code, and the session is known to be gone."""
    with Server([*opening(), 3, b"550 5.7.1 no\r\n"]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(), envelope()])
        error = outcome.results[0].error
        assert type(error) is SenderRefused
        assert (error.code, error.enhanced_code, error.disconnected) == (550, "5.7.1", True)
        assert not session.usable
        assert "EHLO" in outcome.transcript


def test_421_and_hang_up(connect):
    """421 and FIN keep the code; what was behind is not begun."""
    with Server([*opening(), 4, b"250 ok\r\n250 ok\r\n421 4.3.2 bye\r\n"]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(*TWO), envelope()])
        assert {type(result.error) for result in outcome.results} == {ServiceUnavailable}
        assert all(result.error.disconnected for result in outcome.results)
        assert session.failure.code == 421


def test_421_and_silence(connect, monkeypatch):
    """A server that says 421 and stays is not waited for."""
    monkeypatch.setattr(connection_module, "LINGER", 0.01)
    with Server([*opening(), 3, b"421 bye\r\n", "eof"]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope()])
        assert not outcome.results[0].error.disconnected


@pytest.mark.parametrize("answer", [b"500 what\r\n", b"421 bye\r\n", b"junk\r\n", b"", None])
def test_failing_reset_never_masks(connect, answer, monkeypatch):
    """Whatever happens to RSET, the refusal stays the recipient's."""
    monkeypatch.setattr(session_module, "CLEANUP_TIMEOUT", 0.05)
    steps = ["line", answer] if answer is not None else ["line", "eof"]
    with Server([*opening(), 3, b"250 ok\r\n550 5.1.1 unknown\r\n554 none\r\n", *steps]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(), envelope()])
        error = outcome.results[0].error
        assert type(error) is RecipientsRefused
        assert (error.code, error.reply, error.phase) == (550, "unknown", "rcpt")
        assert session.failure is not None
        assert not session.usable


def test_refused_and_healthy(connect):
    """Behind a refusal the session is reset and goes on."""
    script = [
        *opening(),
        3,
        b"250 ok\r\n550 no\r\n554 none\r\n",
        "line",
        b"250 reset\r\n",
        *accepted(),
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script) as server:
        session = connect(server)
        assert outcomes(session, envelope(), envelope()) == [
            [("failed", "mailbox_unknown", "rcpt", 550)],
            [("sent", "ok", "eod", 250)],
        ]
        session.quit()


def test_sent_then_eof(connect):
    """The 250 settles it: what comes behind is noise."""
    with Server([*opening(), *accepted(), b"250 ok\r\n"]) as server:
        session = connect(server)
        assert outcomes(session, envelope()) == [[("sent", "ok", "eod", 250)]]
        session.quit()


def test_sent_then_eof_in_a_batch(connect):
    """A hang-up behind a 250 leaves the next message unattempted."""
    with Server([*opening(), *accepted(), 3, b"250 ok\r\n"]) as server:
        session = connect(server)
        assert outcomes(session, envelope(), envelope()) == [[("sent", "ok", "eod", 250)]]
        assert isinstance(session.failure, ServerDisconnected)


def test_refused_content_then_next(connect):
    """A refused content is told once the next reply says that the server is still there."""
    script = [
        *opening(),
        *accepted(),
        3,
        b"554 no\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script) as server:
        session = connect(server)
        assert outcomes(session, envelope(), envelope()) == [
            [("failed", "other_permanent", "eod", 554)],
            [("sent", "ok", "eod", 250)],
        ]
        session.quit()


def test_refused_content_and_hang_up_in_a_batch(connect):
    """5yz to the content and FIN, with the next group on its way: that 5yz, disconnected."""
    with Server([*opening(), *accepted(), 3, b"554 no\r\n"]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(), envelope()])
        assert (outcome.results[0].code, outcome.results[0].error.disconnected) == (554, True)


def test_eof_after_the_dot(connect):
    """Lost between the dot and its reply: nobody knows."""
    with Server([*opening(), *accepted()]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope()])
        (result,) = outcome.results
        assert (result.outcome, result.category, result.phase, result.command) == (
            "unknown",
            "unknown_outcome",
            "eod",
            "DATA",
        )
        assert type(result.error) is ServerDisconnected
        assert result.error.content_sent == "all"


def test_silence_after_the_dot(connect):
    """No reply in eod_timeout is as unknown, and the caller is told of the waiting."""
    with Server([*opening(), *accepted(), "eof"]) as server:
        session = connect(server, eod_timeout=0.05)
        watch = Watch()
        assert outcomes(session, envelope(), watch=watch) == [
            [("unknown", "unknown_outcome", "eod", None)]
        ]
        assert watch.waits
        assert isinstance(session.failure, ServerTimeout)


def test_eof_in_mid_content(connect):
    """Lost in the content: not sent, and the dot never is."""

    def read_some(connection):
        left = 100_000
        while left > 0:
            left -= len(connection.recv(left))

    with Server(
        [
            *opening(PLAIN_HELLO),
            "line",
            b"250 ok\r\n",
            "line",
            b"250 ok\r\n",
            "line",
            b"354 go\r\n",
            read_some,
        ]
    ) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(content=BIG)])
        (result,) = outcome.results
        assert (result.outcome, result.category, result.phase) == (
            "deferred",
            "disconnected",
            "eod",
        )
        assert (result.error.content_sent, result.error.disconnected) == ("partial", True)


def test_early_refusal_in_mid_content(connect):
    """A 552 in the middle of the content is the verdict."""

    def refuse(connection):
        connection.recv(1000)
        connection.sendall(b"552 5.3.4 too much\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with Server([*opening(WIDE_HELLO), 3, b"250 ok\r\n250 ok\r\n354 go\r\n", refuse]) as server:
        session = connect(server, pipelining=True)
        (outcome,) = session.transact([envelope(content=BIG.replace(b"big", b"x"))])
        (result,) = outcome.results
        assert (result.code, result.category, result.error.content_sent) == (
            552,
            "too_large",
            "partial",
        )


def test_early_refusal_and_close(connect):
    """Writing fails, and what the server said before it closed is read all the same."""
    script = [
        *opening(WIDE_HELLO),
        3,
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        lambda c: c.recv(1000),
        b"552 5.3.4 too much\r\n",
    ]
    with Server(script) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(content=BIG)])
        (result,) = outcome.results
        assert result.outcome in ("failed", "deferred")
        assert (result.code, result.error.content_sent) in ((552, "partial"), (None, "partial"))


def test_many_recipients(connect):
    """Ten thousand recipients: full buffers on both sides do not wait for each other."""
    count = 10_000
    names = [f"user{i}@example.net" for i in range(count)]

    def echo(connection):
        rest = b""
        while b"DATA\r\n" not in rest:
            data = rest + connection.recv(4096)
            *lines, rest = data.split(b"\n")
            connection.sendall(b"".join(b"250 2.1.5 " + b"k" * 200 + b"\r\n" for _ in lines))
            if rest == b"" and lines[-1] == b"DATA\r":
                break

    with Server([*opening(), echo, "eof"]) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope(*names)])
        # The echo says 250 to DATA, too: out of step, for all of them.
        assert {result.category for result in outcome.results} == {"protocol_error"}
        assert len(outcome.results) == count


def test_may_not_send(connect):
    """A message that may not be sent any more: closed, no dot, no outcome."""
    with Server([*opening(), *accepted()]) as server:
        session = connect(server)
        watch = Watch(allow=False)
        assert outcomes(session, envelope(), watch=watch) == []
        assert not session.usable
    assert server.heard[-1] is None


def test_eof_behind_354(connect):
    """A hang-up seen before the content leaves keeps it here."""
    gone = threading.Event()
    with Server([*opening(), 3, b"250 ok\r\n250 ok\r\n354 go\r\n"]) as server:
        session = connect(server)

        def mails():
            yield envelope()
            server._players[0].join(5)
            gone.set()

        (outcome,) = session.transact(mails())
        assert (outcome.results[0].outcome, outcome.results[0].phase) == ("deferred", "data")
        assert outcome.results[0].error.content_sent == "no"


def test_unsupported_and_invalid(connect):
    """What cannot be sent has its outcome without a word to the server."""
    script = [*opening(), *accepted(), b"250 ok\r\n", *BYE]
    with Server(script) as server:
        session = connect(server)
        found = outcomes(
            session,
            envelope(content=b"x" * 2000),
            envelope("a\r\nb@c"),
            envelope(),
            envelope("\u00fc@example.net"),
        )
        assert found == [
            [("failed", "too_large", "mail", None)],
            [("failed", "address_invalid", "mail", None)],
            [("sent", "ok", "eod", 250)],
            [("failed", "unsupported", "mail", None)],
        ]
        session.quit()
    assert len(server.heard) == 6


def test_interrupted_after_the_dot(connect):
    """An exception from outside behind the dot leaves an unknown outcome behind."""
    with Server([*opening(), *accepted(), "eof"]) as server:
        session = connect(server)

        class Stop(Watch):
            def waiting(self, elapsed):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(session.transact([envelope()], Stop()))
        (result,) = session.interrupted[0].results
        assert (result.outcome, result.category) == ("unknown", "unknown_outcome")
        assert result.error.content_sent == "all"
        assert not session.usable


def test_interrupted_before_the_content(connect):
    """An exception from outside before the content leaves nothing to know."""
    with Server([*opening(), 3, "eof"]) as server:
        session = connect(server)

        class Stop(Watch):
            def waiting(self, elapsed):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(session.transact([envelope()], Stop()))
        assert session.interrupted == ()
        assert not session.usable


def test_closed_iterator(connect):
    """Closing the iterator closes a session with a group on its way, and keeps an idle one."""
    with Server(
        [*opening(), *accepted(), 3, b"250 ok\r\n", "eof"],
        [*opening(), *accepted(), b"250 ok\r\n", *BYE],
    ) as server:
        session = connect(server)
        found = session.transact([envelope(), envelope()])
        assert next(found).results[0].outcome == "sent"
        found.close()
        assert session.interrupted, "the caller may not have got hold of it"
        assert session.interrupted[0].results[0].outcome == "sent"
        assert not session.usable
        session = connect(server)
        found = session.transact([envelope()])
        assert next(found).results[0].outcome == "sent"
        found.close()
        assert session.usable
        session.quit()


def test_idle_drop(connect):
    """A session that was dropped while idle ends without an outcome."""
    go = threading.Event()
    with Server([*opening(), *accepted(), b"250 ok\r\n", go]) as server:
        session = connect(server)
        assert outcomes(session, envelope()) == [[("sent", "ok", "eod", 250)]]
        go.set()
        server.close()
        assert outcomes(session, envelope()) == []
        assert isinstance(session.failure, ServerDisconnected)
        assert not session.alive()


def test_stray_before_the_first_group(connect):
    """A fresh session that is out of step has an outcome: nothing loops."""
    sent, ready = threading.Event(), threading.Event()

    def stray(connection):
        connection.sendall(b"250 stray\r\n")
        sent.set()

    with Server([*opening(), ready, stray, "eof"]) as server:
        session = connect(server)
        ready.set()
        sent.wait(5)
        found = outcomes(session, envelope(), envelope())
        assert found == [[("deferred", "protocol_error", "mail", None)]]
        assert isinstance(session.failure, ProtocolError)


def test_refused_login(connect):
    """535 and FIN say "not authorized" at once, with the recipients it was for."""
    hello = b"250-mx\r\n250 AUTH PLAIN\r\n"
    with Server([*opening(hello), "line", b"535 5.7.8 no\r\n"]) as server:
        opts = options(port=server.port, credential=LOGIN, allow_plaintext_auth=True, timeout=5)
        error = error_of(Session.open, opts, first=envelope(*TWO))
        assert type(error) is AuthenticationError
        assert (error.code, error.disconnected, error.phase) == (535, True, "auth")
        assert [result.outcome for result in error.results] == ["deferred"] * 2
        assert "AUTH PLAIN [redacted]" in error.transcript
        copied = pickle.loads(pickle.dumps(error))
        assert (copied.code, copied.results[0].recipient) == (535, "a@example.net")
        assert copied.rule == copied.results[0].rule == "code-auth-5yz"


def test_rule_of_each_refusal(connect):
    """A refusal has the rule that judged it, the caller's own first; a mail that was sent has none."""
    own = Rule(id="own", category="greylisted", action="retry", text="not today", hosts="^127")
    script = [*opening(), 4, b"250 ok\r\n550 5.1.1 no\r\n550 Not today\r\n250 ok\r\n354 go\r\n"]
    script += ["content", b"250 queued\r\n", *BYE]
    with Server(script) as server:
        session = connect(server, rules=(own,))
        (outcome,) = session.transact([envelope(*TWO, "c@example.net")])
        assert [(result.rule, result.category) for result in outcome.results] == [
            ("enhanced-5.1.1", "mailbox_unknown"),
            ("own", "greylisted"),
            ("", "ok"),
        ]
        assert outcome.results[1].error.rule == "own"
        session.quit()


@pytest.mark.parametrize(("relay", "action"), [(True, "hold"), (False, "fail")])
def test_whose_server_it_is(connect, relay, action):
    """A relay that relays nothing is the site's own affair; a recipient's own server is not."""
    with Server(
        [*opening(), 3, b"250 ok\r\n554 5.7.1 Relay access denied\r\n503 no\r\n"]
    ) as server:
        session = connect(server, relay=relay)
        (outcome,) = session.transact([envelope()])
        assert (outcome.results[0].category, outcome.results[0].action) == ("relay_denied", action)


def test_refused_greeting(connect):
    """A refused session is told QUIT, and is not disconnected then."""
    with Server([b"554 no\r\n", "line", b"221 bye\r\n", "eof"]) as server:
        error = error_of(connect, server)
        assert type(error) is ReplyError
        assert (error.code, error.disconnected, error.ip) == (554, False, "127.0.0.1")
    assert server.heard == [b"QUIT"]


def test_nobody_there(connect):
    """No connection: the error has a place and results, too."""
    with Server([]) as server:
        port = server.port
    error = error_of(Session.open, options(port=port, transcript="never"), first=envelope())
    assert type(error) is ConnectError
    assert (error.category, error.host, error.port) == ("unreachable", "127.0.0.1", port)
    assert error.results[0].error.category == "unreachable"
    assert not error.transcript


def test_silent_greeting():
    """A silent server costs its timeout, and no more, whatever drips."""
    with Server([b"2", "eof"]) as server:
        error = error_of(Session.open, options(port=server.port, timeout=0.05))
        assert type(error) is ServerTimeout
        assert (error.phase, error.category) == ("greeting", "timeout")


def test_interrupted_opening():
    """An exception from outside closes what was opened."""

    class Stop(Watch):
        def waiting(self, elapsed):
            raise KeyboardInterrupt

    with Server(["eof"]) as server, pytest.raises(KeyboardInterrupt):
        Session.open(options(port=server.port), watch=Stop())


def test_starttls(connect, server_context, ca_file):
    """STARTTLS, verified, then a message over it."""
    script = [
        *opening(b"250-mx\r\n250 STARTTLS\r\n"),
        "line",
        b"220 go\r\n",
        "tls",
        "line",
        b"250-mx\r\n250 PIPELINING\r\n",
        *accepted(),
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script, context=server_context) as server:
        session = connect(server, security=Security.STARTTLS, ca_file=ca_file)
        assert session.tls.startswith("TLSv1.3 TLS_")
        assert session.tls_verified_by == "pkix"
        assert session.alive()
        (outcome,) = session.transact([envelope()])
        assert (outcome.results[0].tls, outcome.results[0].outcome) == (session.tls, "sent")
        session.quit()


def test_implicit_with_helo_of_its_own(server_context, ca_file):
    """TLS from the first byte, with the machine's own name in EHLO."""
    with Server(["tls", *opening(), *BYE], context=server_context) as server:
        session = Session.open(
            options(port=server.port, security=Security.IMPLICIT, ca_file=ca_file, helo="")
        )
        assert session.tls_verified_by == "pkix"
        session.quit()
    assert server.heard[0] != b"EHLO me.example"


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.OPPORTUNISTIC])
def test_handshake_fails(security, server_context):
    """A handshake that fails is an error; where TLS was only wished for, the action says so."""
    script = [
        *opening(b"250-mx\r\n250 STARTTLS\r\n"),
        "line",
        b"220 go\r\n",
        lambda connection: connection.recv(1000),
        b"this is not TLS\r\n",
        "eof",
    ]
    with Server(script) as server:
        error = error_of(Session.open, options(port=server.port, security=security))
        assert type(error) is TLSError
        assert (error.phase, error.command, error.category) == ("starttls", "STARTTLS", "tls_error")
        assert error.action == ("reconnect" if security is Security.OPPORTUNISTIC else "next_host")


def test_tls_alert(connect, server_context, monkeypatch):
    """A TLS alert in the middle is a failure of the connection."""
    with Server(["tls", *opening(), 3, "eof"], context=server_context) as server:
        session = connect(server, security=Security.IMPLICIT, verify=False)

        def alert():
            raise TLSError("The server ended TLS: X", category="tls_error")

        monkeypatch.setattr(session._connection.transport, "receive", alert)
        monkeypatch.setattr(session._connection.transport, "readable", bool)
        assert outcomes(session, envelope()) == [[("deferred", "tls_error", "mail", None)]]
        session._pump.linger(0.01)


def test_forget(connect):
    """A forgotten session is closed here, and says nothing to the server."""
    with Server([*opening(), *BYE]) as server:
        session = connect(server)
        copied = socket.socket(fileno=socket.dup(session._connection.transport._socket.fileno()))
        session.forget()
        session.forget()
        assert not session.usable
        copied.sendall(b"QUIT\r\n")
        copied.close()
    assert server.heard == [b"EHLO me.example", b"QUIT"]


def test_slow_reader(connect):
    """A server that reads nothing runs into the deadline, and a drip does not put it off."""
    with Server(
        [
            *opening(WIDE_HELLO),
            3,
            b"250 ok\r\n250 ok\r\n354 go\r\n",
            lambda c: c.recv(10) and done.wait(5),
        ]
    ) as server:
        done = threading.Event()
        session = connect(server, timeout=0.2)
        watch = Watch()
        (found,) = outcomes(session, envelope(content=BIG), watch=watch)
        done.set()
        assert found == [("deferred", "timeout", "eod", None)]
        assert watch.waits


def test_big_content(connect):
    """A content larger than every buffer goes out whole, in pieces."""

    def take(connection):
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            tail = tail[-5:] + connection.recv(1_000_000)

    script = [
        *opening(WIDE_HELLO),
        3,
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        take,
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script) as server:
        session = connect(server)
        assert outcomes(session, envelope(content=BIG)) == [[("sent", "ok", "eod", 250)]]
        session.quit()


@pytest.mark.parametrize(("said", "code"), [(b"421 4.3.2 bye\r\n", 421), (b"", None)])
def test_write_error(connect, said, code, monkeypatch):
    """When writing fails, what the server had to say is read first."""
    go = threading.Event()

    def broken(data):
        go.set()
        raise ServerDisconnected("Writing failed")

    with Server([*opening(), go, said]) as server:
        session = connect(server)
        monkeypatch.setattr(session._connection.transport, "send", broken)
        (outcome,) = session.transact([envelope()])
        (result,) = outcome.results
        assert (result.outcome, result.phase, result.code) == ("deferred", "mail", code)
        assert result.error.disconnected


def test_write_error_in_a_big_content(connect, monkeypatch):
    """A write that fails in the middle of a content leaves it unsent."""
    with Server(
        [*opening(WIDE_HELLO), 3, b"250 ok\r\n250 ok\r\n354 go\r\n", lambda c: c.recv(1)]
    ) as server:
        session = connect(server)
        send = session._connection.transport.send
        sizes = []

        def once(data):
            sizes.append(len(data))
            if len(sizes) > 2:
                raise ServerDisconnected("Writing failed")
            return send(data[:1000])

        monkeypatch.setattr(session._connection.transport, "send", once)
        monkeypatch.setattr(session._connection.transport, "ready", lambda wait: (False, True))
        (outcome,) = session.transact([envelope(content=BIG)])
        (result,) = outcome.results
        assert (result.outcome, result.error.content_sent) == ("deferred", "partial")


def test_quit_cannot_be_written(monkeypatch):
    """A refusal stays what it is when QUIT cannot be written any more."""
    from django_smtpx.smtp.transport import Transport

    def broken(self, data):
        raise ServerDisconnected("Writing failed")

    monkeypatch.setattr(Transport, "send", broken)
    with Server([b"554 no\r\n"]) as server:
        error = error_of(Session.open, options(port=server.port))
        assert (error.code, error.disconnected) == (554, True)


def test_no_watch_hears_nothing():
    """Without a watch everything may be sent, and nobody is told of waiting."""
    watch = NO_WATCH
    assert watch.may_send(envelope())
    assert watch.waiting(1.0) is None


def test_last_words_and_the_end(connect):
    """A server that says something more behind its refusal, and then hangs up, has hung up."""
    script = [*opening(WIDE_HELLO), 3, b"421 4.3.2 going\r\n", b"421 really\r\n", b"bye\r\n"]
    with Server(script) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope()])
    error = outcome.results[0].error
    assert (error.code, error.reply, error.disconnected) == (421, "going", True)
