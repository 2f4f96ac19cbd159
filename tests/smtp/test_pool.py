from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import threading

import pytest

from django_smtpx.smtp.errors import ConnectError
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.pool import Limits, Pool
from django_smtpx.smtp.session import Session
from django_smtpx.smtp.transport import Transport
from tests.smtp.talk import BYE, Server, accepted, envelope, opening, options

ONE = [*opening(), *accepted(), b"250 ok\r\n", *BYE]


@pytest.fixture
def pool():
    """A pool of the test's own, that notes what it closes."""
    closed = []
    made = Pool(on_close=closed.append)
    made.closed = closed
    yield made
    made.close()


def send(session):
    """Send one message."""
    (outcome,) = session.transact([envelope()])
    assert outcome.results[0].outcome == "sent"


def test_reuse(pool):
    """What is released is leased again, with its tag, to who has the same options."""
    script = [*opening(), *accepted(), b"250 ok\r\n", *accepted(), b"250 ok\r\n", *BYE]
    with Server(script, [*opening(), *BYE]) as server:
        mine = options(port=server.port)
        session = pool.lease(mine)
        session.tag = "slot"
        send(session)
        assert pool.release(session)
        assert len(pool) == 1
        other = pool.lease(options(port=server.port, timeout=6))
        assert other is not session
        again = pool.lease(mine)
        assert again is session
        assert (again.transactions, again.tag) == (1, "slot")
        send(again)
        assert pool.release(again)
        assert pool.release(other)
        pool.close()
        assert len(pool) == 0
        assert {id(each) for each in pool.closed} == {id(session), id(other)}
    assert server.heard[-1] == b"QUIT"


def test_no_helo_name_is_the_same_key(pool):
    """Options without a name for EHLO find their session again."""
    with Server([*opening(), *BYE]) as server:
        mine = options(port=server.port, helo="")
        session = pool.lease(mine)
        assert pool.release(session)
        assert pool.lease_idle(mine) is session
        assert pool.lease_idle(mine) is None
        assert pool.release(session)
        pool.close()


@pytest.mark.parametrize(
    "limits",
    [Limits(messages_per_connection=1), Limits(connection_max_age=0.0), Limits(idle_timeout=0.0)],
)
def test_used_up(pool, limits):
    """A session that is used up is closed with QUIT when it comes back."""
    with Server(ONE) as server:
        session = pool.lease(options(port=server.port), limits)
        send(session)
        assert not pool.release(session, limits)
        assert pool.closed == [session]
    assert server.heard[-1] == b"QUIT"


def test_too_old_at_lease(pool):
    """The limits of who leases count."""
    with Server(ONE, [*opening(), *BYE]) as server:
        mine = options(port=server.port)
        session = pool.lease(mine)
        send(session)
        pool.release(session)
        other = pool.lease(mine, Limits(messages_per_connection=1))
        assert other is not session
        assert pool.closed == [session]
        pool.release(other)
        pool.close()


def test_dropped_while_idle(pool):
    """A session that the server dropped is not leased again."""
    go = threading.Event()
    with Server([*opening(), *accepted(), b"250 ok\r\n", go]) as server:
        mine = options(port=server.port)
        session = pool.lease(mine)
        send(session)
        assert pool.release(session)
        go.set()
        server.close()
        with pytest.raises(ConnectError):
            pool.lease(mine)
        assert pool.closed == [session]


def test_broken_is_not_kept(pool):
    """A broken session is closed when it comes back, also without anybody to tell."""
    silent = Pool()
    with Server([*opening(), "eof"]) as server:
        session = silent.lease(options(port=server.port))
        session.abort()
        assert not silent.release(session)
        assert len(silent) == 0


def test_reaper():
    """A session that is idle for too long is told QUIT, and the reaper ends."""
    told = threading.Event()
    pool = Pool(on_close=lambda session: told.set())
    with Server([*opening(), *BYE], [*opening(), *BYE]) as server:
        mine, yours = options(port=server.port), options(port=server.port, timeout=6)
        first, second = pool.lease(mine), pool.lease(yours)
        assert pool.release(first, Limits(idle_timeout=60))
        assert pool.release(second, Limits(idle_timeout=0.02))
        reaper = pool._reaper
        assert told.wait(5)
        assert pool.lease_idle(yours) is None
        assert len(pool) == 1
        pool.close()
        reaper.join(5)
        assert not reaper.is_alive()
    assert server.heard.count(b"QUIT") == 2


def test_fork():
    """A forked child forgets what is its parent's, and closes nothing of it."""
    pool = Pool()
    with Server([*opening(), *BYE], [*opening(), *BYE]) as server:
        mine = options(port=server.port)
        idle, leased = pool.lease(mine), pool.lease(mine)
        assert pool.release(idle)
        pool._forget()
        assert len(pool) == 0
        assert not idle.usable
        assert not leased.usable
        assert os.getpid()
    assert b"QUIT" not in server.heard


# -- interrupted from outside -----


class Stop(BaseException):
    """What an interpreter may raise at any moment."""


def stop(*_args, **_kwargs):
    """Raise it."""
    raise Stop


@pytest.fixture
def idle(pool):
    """An idle session of the pool, and the options to lease it with."""
    with Server([*opening(), *BYE], [*opening(), *BYE]) as server:
        mine = options(port=server.port)
        session = pool.lease(mine)
        assert pool.release(session)
        yield session, mine


def test_interrupted_lease(pool, idle, monkeypatch):
    """A session that is being looked at when the interpreter is stopped is closed, and told of."""
    session, mine = idle
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Session, "alive", stop)
        pool.lease(mine)
    assert (pool.closed, session.usable, len(pool)) == ([session], False, 0)


def test_interrupted_taking(pool, idle, monkeypatch):
    """At no moment a session is in nobody's hands."""
    session, mine = idle
    real = pool._remove
    calls = []

    def remove(session):
        calls.append(session)
        if len(calls) == 1:
            raise Stop
        real(session)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(pool, "_remove", remove)
        pool.lease_idle(mine)
    assert (pool.closed, session.usable, len(pool)) == ([session], False, 0)


def test_interrupted_opening(pool, idle, monkeypatch):
    """A session that was just opened is closed."""
    session, mine = idle
    other = dataclasses.replace(mine, timeout=6)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(pool._leased, "add", stop)
        pool.lease(other)
    (closed,) = pool.closed
    assert closed is not session
    assert not closed.usable


def test_interrupted_release(pool, idle, monkeypatch):
    """A session that is being given back is closed, not kept."""
    session, mine = idle
    assert pool.lease_idle(mine) is session
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(pool, "_watch_over", stop)
        pool.release(session)
    assert (pool.closed, session.usable, len(pool)) == ([session], False, 0)


def test_interrupted_farewell(pool, idle, monkeypatch):
    """Who is interrupted while he says QUIT has closed all the same."""
    session, _ = idle
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Session, "quit", stop)
        pool.close()
    assert (pool.closed, session.usable, len(pool)) == ([session], False, 0)


def test_no_thread(pool, idle, monkeypatch):
    """Where no thread can be had, nobody could say QUIT later: it is said at once."""
    session, mine = idle
    reaper = pool._reaper
    assert pool.lease_idle(mine) is session
    reaper.join(5)

    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not pool.release(session)
    assert (pool.closed, session.usable, len(pool)) == ([session], False, 0)


def test_reaper_goes_on(monkeypatch):
    """What ``on_close`` raises in the reaper's thread is told, and the others are closed, too."""
    told, closed = [], []
    done = threading.Event()

    def on_close(session):
        closed.append(session)
        if len(closed) == 2:
            done.set()
        raise ValueError("no")

    monkeypatch.setattr(threading, "excepthook", told.append)
    pool = Pool(on_close=on_close)
    with Server([*opening(), *BYE], [*opening(), *BYE]) as server:
        sessions = [pool.lease(options(port=server.port, timeout=left)) for left in (5, 6)]
        for session in sessions:
            assert pool.release(session, Limits(idle_timeout=0.01))
        assert done.wait(5)
    assert set(map(id, closed)) == set(map(id, sessions))
    assert str(told[0].exc_value) == "no"


# -- liveness, without a round trip -----


def leave(connection):
    """Say goodbye in TLS, and wait for no answer."""
    connection.settimeout(0)
    connection.unwrap()


def reset(connection):
    """Make the close that follows a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def clear_alert(connection):
    """Send what is no record of this TLS session."""
    socket.socket.send(connection, b"\x15\x03\x03\x00\x02\x02\x28")


ENDS = [[], [leave], [reset], [clear_alert, "eof"]]


@pytest.mark.parametrize(
    "end", [*ENDS, [b"250 what\r\n", "eof"], [b"421 4.4.2 idle\r\n", "eof"], [b"\r\n2", "eof"]]
)
def test_dead(pool, server_context, end):
    """Whatever comes on an idle session is its end, and it is noticed before it is used."""
    go = threading.Event()
    with Server(["tls", *opening(), go, *end], context=server_context) as server:
        mine = options(port=server.port, security=Security.IMPLICIT, verify=False)
        session = pool.lease(mine)
        assert session.alive()
        assert pool.release(session)
        go.set()
        assert session._connection.transport.readable(5)
        assert pool.lease_idle(mine) is None
        assert pool.closed == [session]


def test_alive(pool, server_context, monkeypatch):
    """Data that are TLS's own are no death."""
    with Server(["tls", *opening(), *BYE], context=server_context) as server:
        mine = options(port=server.port, security=Security.IMPLICIT, verify=False)
        session = pool.lease(mine)
        assert pool.release(session)
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "readable", lambda self, timeout: True)
            assert pool.lease_idle(mine) is session
        assert pool.release(session)
        pool.close()
    assert server.heard[-1] == b"QUIT"


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_key_update(pool, authority, tmp_path):
    """A key update on an idle session is no death, and a 421 is."""
    certificate = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-crlf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    def say(line: bytes, after: bytes = b"") -> None:
        while after and after not in process.stdout.readline():
            assert process.poll() is None
        process.stdin.write(line)
        process.stdin.flush()

    def greet():
        say(b"220 mx\n", after=b"-----END SSL SESSION")
        say(b"250 mx\n", after=b"EHLO")

    try:
        say(b"", after=b"ACCEPT")
        server = threading.Thread(target=greet)
        server.start()
        mine = options(port=port, security=Security.IMPLICIT, verify=False)
        session = pool.lease(mine)
        server.join(5)
        for command in (b"k\n", b"K\n"):
            assert pool.release(session)
            say(command)
            assert session._connection.transport.readable(5)
            assert pool.lease_idle(mine) is session
        assert pool.release(session)
        say(b"421 bye\n")
        assert session._connection.transport.readable(5)
        assert pool.lease_idle(mine) is None
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_after_the_last_reply(pool, server_context, tls, end):
    """However the server leaves behind its 250, the message was taken."""
    if not tls and end == [leave]:
        end = []
    hello = ["tls", *opening()] if tls else opening()
    with Server([*hello, *accepted(), b"250 ok\r\n", *end], context=server_context) as server:
        security = Security.IMPLICIT if tls else Security.NONE
        session = pool.lease(options(port=server.port, security=security, verify=False))
        send(session)
        assert not session.usable or session._connection.transport.readable(5)
        assert list(session.transact([envelope()])) == []
        assert not pool.release(session)
