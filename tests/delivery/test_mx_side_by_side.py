"""Destinations beside each other, and a domain that moves while its policy cannot be had."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from django.db import connections

from django_smtpx import delivery, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import contact, routing
from django_smtpx.ledger import PolicyStore
from django_smtpx.models import Attempt, Delivery
from django_smtpx.mx.policy_host import Unavailable
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Silence, deliver
from tests.delivery.mxsite import MXSite, later, send
from tests.factories import statuses

LONG = 30.0
"""Seconds after which what a test waits for does not come any more."""


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.mark.django_db(transaction=True)
def test_a_slow_destination_does_not_keep_another_worker_from_the_next(tmp_path, monkeypatch):
    """Each is gone to over connections of its own, at the same time."""
    monkeypatch.setattr(contact, "LOOK_EVERY", 0.05)
    stop = threading.Event()

    def work():
        try:
            delivery.drain(get_mailer("default"), stopping=stop.is_set)
        finally:
            connections.close_all()

    with MXSite(tmp_path, mta_sts=False, dane=False) as site:
        slow = site.server("mx.slow.example", "127.0.0.101", script={"EHLO": Silence()})
        other = site.server("mx.other.example", "127.0.0.102")
        site.domain("slow.example", "mx.slow.example")
        site.domain("other.example", "mx.other.example")
        send("a@slow.example")
        worker = threading.Thread(target=work)
        worker.start()
        try:
            slow.wait_until(lambda server: bool(server.sessions), LONG)
            send("b@other.example")
            delivery.drain(get_mailer("default"), stopping=lambda: bool(other.messages))
            assert [message.recipients for message in other.messages] == [("b@other.example",)]
            assert worker.is_alive()
        finally:
            stop.set()
            worker.join(LONG)
    assert not worker.is_alive()
    found = dict(Delivery.objects.values_list("recipient", "status"))
    assert found == {
        "a@slow.example": "queued",
        "b@other.example": "sent",
    }


@pytest.mark.django_db(transaction=True)
def test_a_domain_moves_while_its_new_policy_cannot_be_had(tmp_path, monkeypatch):
    """What is known of the old one keeps the mail from the new server until that is vouched for."""
    answers = [Unavailable("the web server is away")]
    asked = []

    def fetch(domain):
        asked.append(domain)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    monkeypatch.setattr("django_smtpx.mx.policy_host.PolicyHosts", lambda *_, **__: fetch)
    with MXSite(tmp_path, dane=False) as site:
        old = site.server("old.example", "127.0.0.101", certificate="old.example")
        new = site.server("new.example", "127.0.0.102", certificate="new.example")
        # What the DNS says at first, and what it says from then on.
        site.domain("one.example", "old.example")
        site.policy("one.example", "enforce", "old.example")
        site.domain("one.example", "new.example")
        site.dns.gives("_mta-sts.one.example", "TXT", '"v=STSv1; id=2;"')
        send("a@one.example")
        deliver()
        assert len(old.messages) == 1
        # The outage begins, and the domain has another server.
        routing.forget()
        for _ in range(2):
            send("b@one.example")
            deliver()
            later()
        assert not new.sessions
        assert asked == ["one.example"]
        waiting = Delivery.objects.filter(recipient="b@one.example")
        assert set(waiting.values_list("status", "category", "phase")) == {
            ("deferred", "tls_error", "resolve")
        }
        assert "old.example" in waiting[0].reply
        # It is over, and the pause behind the fetch that failed is, too.
        answers[0] = b"version: STSv1\nmode: enforce\nmx: new.example\nmax_age: 86400\n"
        store = PolicyStore()
        store.put(replace(store.get("one.example"), tried_at=0.0, next_try=0.0))
        later()
        deliver()
        assert len(new.messages) == 2
    assert asked == ["one.example"] * 2
    assert statuses() == ["sent"] * 3
    last = Attempt.objects.latest("pk")
    assert (last.host, last.tls_verified_by) == ("new.example", "pkix")
