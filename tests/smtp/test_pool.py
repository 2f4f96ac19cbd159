from __future__ import annotations

import os
import threading

import pytest

from django_smtpx.smtp.errors import ConnectError
from django_smtpx.smtp.pool import Limits, Pool
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
