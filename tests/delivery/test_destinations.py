"""Mail that goes straight to domains: each is claimed, rests and is paced by itself."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
from django.core.mail import EmailMessage

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import sessions
from django_smtpx.mailer import Way
from django_smtpx.models import Attempt, Delivery, Route, Slot
from django_smtpx.pace import Caps, Rate
from django_smtpx.smtp import ResolveError
from django_smtpx.smtp.options import Options, Security
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import statuses
from tests.straight import straight

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def hosts_on(port, domain):
    """Return how to speak to a domain's only server."""
    host, addresses = f"mx.{domain}", ("127.0.0.1",)
    return (
        Options(host=host, port=port, security=Security.NONE, relay=False, addresses=addresses),
    )


@pytest.fixture
def two_domains():
    """Servers of two domains, and a mailer that knows the way to them."""
    with ScriptedServer() as one, ScriptedServer() as two, real_queue(one):
        ports = {"one.example": one.port, "two.example": two.port, "dead.example": 1}

        def router(domain):
            if domain not in ports:
                raise ResolveError(
                    "no such domain", phase="resolve", category="dns_error", action="next_host"
                )
            return hosts_on(ports[domain], domain)

        known = get_mailer("default")
        mailer = straight(known, router)
        with (
            mock.patch("django_smtpx.ledger.storing.mailers", return_value={"default": mailer}),
            mock.patch("django_smtpx.delivery.idle.mailers", return_value={"default": mailer}),
        ):
            yield one, two, mailer


def send(*to, **kwargs):
    """Queue a mail."""
    EmailMessage("Subject", "Body", "from@example.com", list(to), **kwargs).send()


def test_each_domain_gets_its_recipients_in_one_transaction(two_domains):
    """Recipients of one message at one destination go together."""
    one, two, mailer = two_domains
    send("a@one.example", "b@two.example", "c@one.example")
    assert set(Delivery.objects.values_list("destination", flat=True)) == {
        "one.example",
        "two.example",
    }
    assert delivery.drain(mailer) == 3
    assert [message.recipients for message in one.messages] == [("a@one.example", "c@one.example")]
    assert [message.recipients for message in two.messages] == [("b@two.example",)]
    assert set(statuses()) == {"sent"}


def test_a_dead_domain_rests_alone(two_domains):
    """One attempt tells, the rest of its mail waits with it, and the others' mail goes."""
    one, _, mailer = two_domains
    for number in range(3):
        send(f"{number}@dead.example", f"{number}@one.example", f"{number}@missing.example")
    delivery.drain(mailer)
    assert len(one.messages) == 3
    assert Attempt.objects.exclude(outcome="sent").count() == 2
    routes = Route.objects.filter(state="paused").values_list("domain", "category", "host")
    assert sorted(routes) == [
        ("", "unreachable", "mx.dead.example"),
        ("dead.example", "unreachable", ""),
        ("missing.example", "dns_error", ""),
    ]
    assert Delivery.objects.filter(domain="dead.example", parked_at=None).count() == 0
    assert delivery.drain(mailer) == 0


def test_a_slow_domain_is_slow_alone(two_domains):
    """What one destination asked for is not held against another."""
    one, two, mailer = two_domains
    one.on("EOD", ["421 4.7.28 unusual rate of unsolicited mail, temporarily rate limited"])
    send("a@one.example", "b@two.example")
    delivery.drain(mailer)
    assert Route.objects.get(slow_limit__gt=0).domain == "one.example"
    assert len(two.messages) == 1


def test_mail_stored_for_another_transport(two_domains):
    """A mailer that goes straight from now on takes along what was stored before, and back."""
    one, _, mailer = two_domains
    send("a@one.example")
    Delivery.objects.update(destination="")
    delivery.drain(mailer)
    assert len(one.messages) == 1
    send("b@one.example")
    assert Delivery.objects.last().destination == "one.example"
    delivery.drain(get_mailer("default"))
    assert statuses() == ["sent", "sent"]


def test_another_drain_is_woken_for_the_other_domains(two_domains):
    """One that finds more than one destination ready calls for help, once it has a slot."""
    _, _, mailer = two_domains
    woken = []
    send("a@one.example", "b@two.example")
    delivery.drain(mailer, wake=lambda: woken.append(1))
    assert woken == [1]
    delivery.drain(mailer, wake=lambda: woken.append(1))
    assert woken == [1]


def test_a_closed_mailer_parks_all_of_its_destinations(two_domains):
    """What a person holds is the whole mailer."""
    _, _, mailer = two_domains
    Route.objects.create(mailer="default", state="held")
    send("a@one.example", "b@two.example")
    delivery.drain(mailer)
    assert Delivery.objects.filter(parked_at__isnull=False).count() == 2
    assert not Attempt.objects.exists()


def test_a_destination_that_a_person_paused(two_domains):
    """Its mail rests, the other's goes."""
    one, two, mailer = two_domains
    Route.objects.create(mailer="default", domain="one.example", state="held")
    send("a@one.example", "b@two.example")
    delivery.drain(mailer)
    assert (len(one.messages), len(two.messages)) == (0, 1)
    assert Delivery.objects.get(domain="one.example").next_attempt_at is None


def test_a_provider_is_known_to_take_so_many(two_domains, monkeypatch):
    """No connection beyond what the provider documents, and no message more on one."""
    one, _, mailer = two_domains
    monkeypatch.setattr(sessions, "caps_for", lambda host: Caps(connections=1, messages=2))
    for number in range(5):
        send(f"{number}@one.example")
    delivery.drain(mailer)
    assert [len(session.messages) for session in one.sessions] == [2, 2, 1]
    way = Way(mailer, "one.example")
    default_pool.close()
    pacing.forget_resting()
    Slot.objects.update(expires_at=ledger.now())
    assert pacing.take_slot(way, ledger.now(), 1).number == 0
    send("last@one.example")
    delivery.drain(mailer)
    assert len(one.messages) == 5


@pytest.mark.django_db(transaction=True)
def test_now_mode_goes_to_each_domain(two_domains):
    """Each domain's recipients go to its own server; one that is away fails alone."""
    from django_smtpx.delivery import deliver_now
    from tests.factories import composed

    one, two, mailer = two_domains
    mail = composed(("a@one.example", "b@dead.example", "c@two.example"))
    message, error = deliver_now(replace(mailer, mode="now"), mail)
    assert error is None
    assert (len(one.messages), len(two.messages)) == (1, 1)
    assert statuses(message) == ["sent", "failed", "sent"]
    assert message.deliveries.get(domain="dead.example").category == "unreachable"
    message, _ = deliver_now(
        replace(mailer, mode="now"), composed(("a@one.example", "d@dead.example"))
    )
    assert "dead.example" in message.deliveries.get(domain="dead.example").reply


def test_nobody_is_woken_where_nothing_may_go(two_domains):
    """Drains that find mail which has to wait for its turn do not wake each other for ever."""
    _, _, mailer = two_domains
    mailer = replace(mailer, rate=Rate.parse("1/d"))
    send("a@one.example", "b@two.example")
    send("c@one.example", "d@two.example")
    assert delivery.drain(mailer) == 1
    woken = []
    assert delivery.drain(mailer, wake=lambda: woken.append(1)) == 0
    assert not woken
