from __future__ import annotations

import pytest

from django_smtpx.smtp import trust
from django_smtpx.smtp.session import Session
from tests.smtp.talk import BYE, PLAIN_HELLO, WIDE_HELLO, Server, envelope, opening, options


@pytest.fixture
def connect():
    """Open sessions that are closed at the end of the test."""
    sessions = []

    def open_session(server):
        sessions.append(Session.open(options(port=server.port)))
        return sessions[-1]

    yield open_session
    for each in sessions:
        each.abort()


def test_who_is_believed():
    """Who was distrusted is spoken to one command at a time; anybody else is not concerned."""
    trust.distrust("mx", 25)
    assert trust.is_distrusted("mx", 25)
    plain = trust.believed(options(host="mx", port=25))
    assert (plain.pipelining, plain.chunking) == (False, False)
    for other in (options(host="mx", port=587), options(host="mx2", port=25)):
        assert trust.believed(other) is other


def test_bounded(monkeypatch):
    """It remembers the latest ones; a new process, or forget(), believes everybody again."""
    monkeypatch.setattr(trust, "_MOST", 2)
    for host in ("a", "b", "a", "c"):
        trust.distrust(host, 25)
    assert [trust.is_distrusted(host, 25) for host in "abc"] == [True, False, True]
    trust.forget()
    assert not trust.is_distrusted("a", 25)


def test_forked_amid():
    """A child forked while another thread held the lock waits for nobody, and knows as much."""
    trust.distrust("mx", 25)
    with trust._lock:
        trust._start_clean()
        trust.distrust("mx2", 25)
    assert [trust.is_distrusted(host, 25) for host in ("mx", "mx2")] == [True, True]


def test_out_of_step(connect):
    """After an answer out of step the next connection uses no PIPELINING."""
    first = [*opening(WIDE_HELLO), 3, b"250 ok\r\n354 what?\r\n", "eof"]
    second = [
        *opening(WIDE_HELLO), "line", b"250 ok\r\n", "line", b"250 ok\r\n", "line", b"354 go\r\n",
        "content", b"250 taken\r\n", *BYE,
    ]  # fmt: skip
    with Server(first, second) as server:
        session = connect(server)
        (outcome,) = session.transact([envelope()])
        assert outcome.results[0].category == "protocol_error"
        session.quit()
        session = connect(server)
        assert session.pool_key.pipelining, "the pool finds it by what was configured"
        (outcome,) = session.transact([envelope()])
        assert outcome.results[0].outcome == "sent"
        session.quit()


def test_a_bad_greeting_is_no_reason(connect):
    """Who never said what he can do cannot be distrusted for it."""
    with Server([b"hello\r\n", "eof"], [*opening(PLAIN_HELLO), *BYE]) as server:
        with pytest.raises(Exception, match="not an SMTP reply"):
            connect(server)
        assert not trust.is_distrusted("127.0.0.1", server.port)
        connect(server).quit()
