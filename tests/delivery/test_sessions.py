"""Sessions from a mailer's hosts, in order."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from django_smtpx.delivery.sessions import limits_of, may_carry, open_session
from django_smtpx.mailer import Mailer, Way
from django_smtpx.smtp.options import Credential, Options, Security
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()


def options(port):
    """Return how to speak to a server on this machine."""
    return Options(host="127.0.0.1", port=port, security=Security.NONE, timeout=5)


def opened(hosts):
    """Try the hosts, and return what came of it."""
    return open_session(Mailer(name="m", hosts=hosts), hosts)


def test_the_first_host_that_answers():
    """A host that is away is remembered as a failure, and the next one is taken."""
    with ScriptedServer() as server:
        opening = opened((options(1), options(server.port)))
        assert opening.session is not None
        opening.session.quit()
    assert [error.category for error in opening.failures] == ["unreachable"]


def test_no_host_answers():
    """Without any host there is no session, and a failure for each of them."""
    opening = opened((options(1), options(1)))
    assert opening.session is None
    assert len(opening.failures) == 2


def test_a_refused_login_is_not_tried_on_the_next_host():
    """The same credential would count against the account once more."""
    with ScriptedServer(users={"u": "right"}) as first, ScriptedServer() as second:
        login = {"credential": Credential("u", "wrong"), "allow_plaintext_auth": True}
        hosts = tuple(replace(options(server.port), **login) for server in (first, second))
        opening = opened(hosts)
        assert second.sessions == ()
    assert opening.session is None
    assert [error.code for error in opening.failures] == [535]


def test_a_session_carries_so_many_and_for_so_long():
    """The mailer's limits say how many more messages a session may carry."""
    host = Options(host="mx.example", port=25, security=Security.STARTTLS)
    mailer = Mailer(name="m", hosts=(host,), messages_per_connection=3, connection_max_age=60)

    class Session:
        pool_key = host
        transactions = 1
        opened_at = time.monotonic()

    assert may_carry(Session, Way(mailer), mailer.hosts) == 2
    Session.opened_at -= 61
    assert may_carry(Session, Way(mailer), mailer.hosts) == 0
    assert limits_of(mailer).messages_per_connection == 3


def test_a_session_without_verified_tls_carries_one_message():
    """It was opened for one message that asked for it, and is no other's."""
    host = Options(host="mx.example", port=25, security=Security.STARTTLS)
    mailer = Mailer(name="m", hosts=(host,))

    class Session:
        pool_key = replace(host, verify=False)
        transactions = 0
        opened_at = time.monotonic()

    assert may_carry(Session, Way(mailer), mailer.hosts) == 1
    Session.transactions = 1
    assert may_carry(Session, Way(mailer), mailer.hosts) == 0
