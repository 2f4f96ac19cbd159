"""A password that is refused costs one login, however many workers come at once."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import deliver_now
from django_smtpx.mailer import Way
from django_smtpx.models import Attempt, Delivery, Route
from django_smtpx.pacing import logins as logins_module
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Delay, Reply, ScriptedServer, real_queue
from tests.factories import composed, stored

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = {"username": "u", "password": "wrong", "allow_plaintext_auth": True, "security": "none"}


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def drain_at_once(count):
    """Let so many workers begin at one moment."""
    at_once(count, lambda: delivery.drain(get_mailer("default")))


def at_once(count, do):
    """Let so many threads do something at one moment."""
    start = threading.Barrier(count)

    def work():
        start.wait(10)
        try:
            do()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def logins(server):
    """Count the logins that a server saw."""
    return sum(session.verbs.count("AUTH") for session in server.sessions)


def test_one_login():
    """Four workers at once: one is refused, and the others learn of it without a try."""
    slow = {"AUTH": Delay(0.3, Reply("535 5.7.8 not authorized"))}
    with ScriptedServer(slow, users={"u": "right"}) as server, real_queue(server, **LOGIN):
        for _ in range(40):
            stored()
        drain_at_once(4)
        assert logins(server) == 1
    assert Attempt.objects.count() == 1
    assert Route.objects.get().state == "held"
    assert set(Delivery.objects.values_list("lane", flat=True)) == {Delivery.Lane.IDLE}
    assert not Delivery.objects.filter(next_attempt_at=None).exists()


def test_all_of_them_log_in_where_it_works():
    """One after the other, and then they send side by side."""
    with ScriptedServer(users={"u": "wrong"}) as server, real_queue(server, **LOGIN):
        for _ in range(40):
            stored()
        drain_at_once(4)
        assert server.message_count == 40
    assert Route.objects.get().login_until is None


def test_a_login_that_takes_too_long_is_not_waited_for(monkeypatch):
    """A drain gives its mail back untouched, and the sweep finds it again."""
    monkeypatch.setattr(logins_module, "PATIENCE", 0.05)
    monkeypatch.setattr(logins_module, "LOGIN_PAUSE", 0.01)
    with ScriptedServer() as server, real_queue(server, **LOGIN):
        stored()
        way = Way(get_mailer("default"))
        other = pacing.take_login(way, ledger.now())
        assert delivery.drain(get_mailer("default")) == 0
        assert server.sessions == ()
        assert Delivery.objects.get().lane == Delivery.Lane.READY
        pacing.end_login(way, other)
        assert delivery.drain(get_mailer("default")) == 1


def test_one_login_in_now_mode():
    """Callers that send at once wait for each other's login, too, and are told what it was told."""
    slow = {"AUTH": Delay(0.3, Reply("535 5.7.8 not authorized"))}
    errors = []
    options = {**LOGIN, "mode": "now"}
    with ScriptedServer(slow, users={"u": "right"}) as server, real_queue(server, **options):
        mailer = get_mailer("default")
        at_once(6, lambda: errors.append(deliver_now(mailer, composed())[1]))
        assert logins(server) == 1
    assert len(errors) == 6
    assert all(error is not None for error in errors)
    assert Attempt.objects.count() == 6
