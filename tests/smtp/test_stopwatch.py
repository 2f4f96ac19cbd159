"""How long each phase was waited for: no moment twice, and none left out."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from django_smtpx.smtp import dialogue, stopwatch
from django_smtpx.smtp.errors import ConnectError, ServerTimeout
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.protocol import Protocol
from django_smtpx.smtp.session import Session
from django_smtpx.testing import ScriptedServer, make_certificate
from tests.smtp.talk import (
    BYE,
    HELLO,
    PLAIN_HELLO,
    Server,
    accepted,
    envelope,
    error_of,
    feed,
    flush,
    opening,
    options,
)


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        """Return it."""
        return self.now

    def later(self, seconds):
        """Let time go by."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """Have the dialogue look at this clock."""
    clock = Clock()
    for module in (dialogue, stopwatch):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def opened(clock, hello=HELLO):
    """Return a protocol behind an opening that took 1 s and 2 s."""
    protocol = Protocol(options())
    clock.later(1)
    feed(protocol, b"220 mx.example ESMTP\r\n")
    clock.later(2)
    feed(protocol, hello)
    return protocol


def begin(protocol):
    """Begin a transaction, with what goes out for it."""
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    flush(protocol)
    return transaction


def test_an_opening(clock):
    """The greeting from when the connection was made, and each command from when it was sent."""
    assert opened(clock).stopwatch.take() == {"greeting": 1, "ehlo": 2}


def test_what_lies_between_two_mails_is_nobody_s(clock):
    """The server was not waited for."""
    protocol = opened(clock)
    clock.later(1000)
    transaction = begin(protocol)
    clock.later(3)
    feed(protocol, b"250 ok\r\n")
    assert transaction.waits == {"mail": 3}


def test_commands_that_go_out_together_are_waited_for_once(clock):
    """The second's wait begins with the reply to the first, so that the sum is what it took."""
    protocol = opened(clock)
    transaction = begin(protocol)
    clock.later(1)
    feed(protocol, b"250 ok\r\n")
    clock.later(0.5)
    feed(protocol, b"250 ok\r\n354 go\r\n")
    clock.later(0.25)
    protocol.send_content(transaction)
    flush(protocol)
    clock.later(4)
    feed(protocol, b"250 ok\r\n")
    assert transaction.done
    assert transaction.waits == {"mail": 1, "rcpt": 0.5, "data": 0, "eod": 4}


def test_commands_one_by_one(clock):
    """Without PIPELINING each waits for its own reply, the recipients' together."""
    protocol = opened(clock, PLAIN_HELLO)
    transaction = begin(protocol)
    for seconds, reply in ((1, b"250 ok\r\n"), (2, b"250 ok\r\n"), (3, b"354 go\r\n")):
        clock.later(seconds)
        feed(protocol, reply)
    assert transaction.waits == {"mail": 1, "rcpt": 2, "data": 3}


def test_what_is_sent_ahead_does_not_wait_for_the_mail_before_it(clock):
    """Its commands lie behind the content of that one, and their time begins with its reply."""
    protocol = opened(clock)
    first = begin(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.send_content(first)
    second = begin(protocol)
    clock.later(7)
    feed(protocol, b"250 ok\r\n")
    clock.later(1)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert first.waits["eod"] == 7
    assert second.waits == {"mail": 1, "rcpt": 0, "data": 0}


def test_a_reply_that_was_waited_for_in_vain_counts(clock):
    """A server that hangs is what one looks for."""
    protocol = opened(clock)
    transaction = begin(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.send_content(transaction)
    flush(protocol)
    clock.later(600)
    protocol.receive_timeout()
    assert isinstance(protocol.failure, ServerTimeout)
    assert transaction.waits["eod"] == 600


def test_an_outcome_says_it_and_the_first_of_a_session_its_opening():
    """Each session's opening is told once, with the mail that it was opened for."""
    script = [*opening(), *accepted(), 3, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"]
    with Server([*script, "content", b"250 ok\r\n", *BYE]) as server:
        session = Session.open(options(port=server.port))
        first, second = session.transact([envelope(), envelope()])
        session.quit()
    transaction = {"mail", "rcpt", "data", "eod"}
    assert set(first.phases) == {"resolve", "connect", "greeting", "ehlo"} | transaction
    assert set(second.phases) == transaction
    assert all(seconds >= 0 for seconds in (*first.phases.values(), *second.phases.values()))


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_handshake_is_told_from_its_command(tls, tmp_path):
    """So that slow TLS is told from a slow server, in either mode."""
    context = make_certificate(tmp_path).ssl_context
    with ScriptedServer(ssl_context=context, tls=tls) as server:
        session = Session.open(options(port=server.port, security=Security(tls), verify=False))
        (outcome,) = session.transact([envelope()])
        session.quit()
    assert "tls" in outcome.phases
    assert ("starttls" in outcome.phases) is (tls == "starttls")


def test_a_session_that_could_not_be_had_says_what_it_took():
    """With the error, also where that has gone through a pickle."""
    with Server([b"554 no\r\n"]) as server:
        error = error_of(lambda: Session.open(options(port=server.port)))
    assert set(error.phases) == {"resolve", "connect", "greeting"}
    assert pickle.loads(pickle.dumps(error)).phases == error.phases


def test_a_connection_that_could_not_be_made_says_what_it_took():
    """It is all that was done."""
    with pytest.raises(ConnectError) as raised:
        Session.open(options(port=1))
    assert set(raised.value.phases) == {"connect"}
