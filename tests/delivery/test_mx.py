"""Mail straight to the recipients' servers, from the DNS to the rows."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from django_smtpx import pacing
from django_smtpx.delivery import routing
from django_smtpx.models import Attempt, Delivery, Route, Suppression
from django_smtpx.mx.route import Router
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import deliver
from tests.delivery.mxsite import MXSite, later, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def site(tmp_path):
    """A site without policies."""
    with MXSite(tmp_path, mta_sts=False, dane=False) as site:
        yield site


def attempts(domain=None):
    """Return the attempts, in order: outcome, category, phase and host."""
    rows = Attempt.objects.order_by("pk")
    if domain is not None:
        rows = rows.filter(delivery__domain=domain)
    return list(rows.values_list("outcome", "category", "phase", "host"))


def test_each_domain_gets_its_mail_from_its_own_server(site):
    """Recipients of one domain share a transaction, and the rows say where they went."""
    one = site.server("mx.one.example", "127.0.0.101")
    two = site.server("mx.two.example", "127.0.0.102", certificate="mx.two.example")
    site.domain("one.example", "mx.one.example")
    site.domain("two.example", "mx.two.example")
    send("a@one.example", "b@two.example", "c@ONE.example")
    assert deliver() == 3
    assert [message.recipients for message in one.messages] == [("a@one.example", "c@ONE.example")]
    assert [message.recipients for message in two.messages] == [("b@two.example",)]
    assert one.sessions[0].helo == "out.sender.example"
    rows = Attempt.objects.order_by("host").distinct()
    assert set(rows.values_list("host", "ip", "port", "tls_verified_by")) == {
        ("mx.one.example", "127.0.0.101", site.port, ""),
        ("mx.two.example", "127.0.0.102", site.port, ""),
    }
    tls = {attempt.host: attempt.tls[:4] for attempt in rows}
    assert tls == {"mx.one.example": "", "mx.two.example": "TLSv"}
    assert set(statuses()) == {"sent"}


@pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.Example", "xn--bcher-kva.example"])
def test_a_domain_in_its_own_alphabet(site, domain):
    """The DNS and the server know it as A-labels, however the address was written."""
    server = site.server("mx.xn--bcher-kva.example", "127.0.0.101")
    site.domain("xn--bcher-kva.example", "mx.xn--bcher-kva.example")
    send(f"a@{domain}")
    assert deliver() == 1
    (message,) = server.messages
    (recipient,) = message.recipients
    assert recipient.lower() == "a@xn--bcher-kva.example"
    assert statuses() == ["sent"]
    assert Delivery.objects.get().domain == "xn--bcher-kva.example"


def test_a_domain_that_takes_no_mail(site):
    """Each of its recipients has failed, with an attempt that says so; others are not met by it."""
    one = site.server("mx.one.example", "127.0.0.101")
    site.domain("one.example", "mx.one.example")
    site.dns.gives("no.example", "MX", "0 .")
    for number in range(3):
        send(f"{number}@no.example", "b@no.example", f"{number}@one.example")
    deliver()
    assert len(one.messages) == 3
    rows = Delivery.objects.filter(domain="no.example")
    assert set(rows.values_list("status", "category", "phase", "enhanced_code", "code")) == {
        ("failed", "domain_unknown", "resolve", "5.1.10", None)
    }
    assert attempts("no.example") == [("failed", "domain_unknown", "resolve", "")] * 6
    assert "null MX" in rows[0].reply
    assert not Route.objects.exclude(state="open").exists()
    assert all(row.settled_at for row in rows)


def test_a_domain_that_does_not_exist(site):
    """It is final, and nobody is put on the suppression list by what the DNS says."""
    send("a@nowhere.example")
    deliver()
    assert attempts() == [("failed", "domain_unknown", "resolve", "")]
    assert not Suppression.objects.exists()


def test_a_domain_of_which_nobody_can_say(site):
    """Its mail waits by its schedule, and the destination rests; it goes when there is an answer."""
    one = site.server("mx.one.example", "127.0.0.101")
    site.dns.gives("one.example", "MX", rcode="SERVFAIL")
    send("a@one.example")
    send("b@one.example")
    deliver()
    assert attempts() == [("deferred", "dns_error", "resolve", "")]
    route = Route.objects.get(state="paused")
    assert (route.domain, route.category) == ("one.example", "dns_error")
    first, second = Delivery.objects.order_by("pk")
    assert (first.status, first.step, second.step) == ("deferred", 1, 0)
    assert first.next_attempt_at >= route.paused_until
    assert deliver() == 0
    site.domain("one.example", "mx.one.example")
    site.dns._replies["one.example", "MX"].pop(0)
    later()
    deliver()
    assert len(one.messages) == 2
    assert statuses() == ["sent", "sent"]


def test_an_address_literal(site):
    """The address is the server."""
    server = site.server("unused.example", "127.0.0.101")
    send("a@[127.0.0.101]")
    deliver()
    assert len(server.messages) == 1
    assert attempts() == [("sent", "ok", "eod", "127.0.0.101")]


# -- hosts that do not answer --------------------------------------------------------------------


def test_a_dead_host_costs_one_attempt_whatever_mail_is_behind_it(site):
    """The next one gets the mail, and nobody knocks at the first one again."""
    second = site.server("b.example", "127.0.0.102")
    site.host("dead.example", "127.0.0.109")
    for domain in ("one.example", "two.example"):
        site.domain(domain, "dead.example", "b.example")
    for number in range(3):
        send(f"{number}@one.example", f"{number}@two.example")
    deliver()
    assert len(second.messages) == 6
    assert [row for row in attempts() if row[3] == "dead.example"] == [
        ("deferred", "unreachable", "connect", "dead.example")
    ]
    assert set(statuses()) == {"sent"}


def test_a_dead_host_is_not_tried_anew_by_each_worker(site):
    """What one process has learned of it the next one knows, for mail to whatever domain."""
    second = site.server("b.example", "127.0.0.102")
    site.host("dead.example", "127.0.0.109")
    for number in range(3):
        site.domain(f"{number}.example", "dead.example", "b.example")
        send(f"a@{number}.example")
        deliver()
        # As a process that has just begun.
        default_pool.close()
        pacing.forget_resting()
        routing.forget()
    assert len(second.messages) == 3
    assert [row[0] for row in attempts() if row[3] == "dead.example"] == ["deferred"]


def test_a_dead_host_rests_for_all_domains_behind_it(site):
    """Where it is the only one, the other domains' mail waits without an attempt of its own."""
    site.host("dead.example", "127.0.0.109")
    domains = [f"{number}.example" for number in range(4)]
    for domain in domains:
        site.domain(domain, "dead.example")
        send(f"a@{domain}", f"b@{domain}")
        send(f"c@{domain}")
    deliver()
    assert [row[1:] for row in attempts()] == [("unreachable", "connect", "dead.example")] * 2
    assert Delivery.objects.filter(next_attempt_at=None).count() == 0
    host = Route.objects.get(host="dead.example")
    waiting = Delivery.objects.filter(attempt_count=0)
    assert len(waiting) == 10
    spread = {row.next_attempt_at - host.paused_until for row in waiting}
    assert max(spread) < timedelta(minutes=2)
    assert deliver() == 0
    later()
    deliver()
    assert Route.objects.get(host="dead.example").consecutive_failures == 2
    assert len(attempts()) in (3, 4)
    server = site.server("dead.example", "127.0.0.109")
    later()
    deliver()
    # The probe of a domain is one recipient, who may have been one of two.
    got = [who for message in server.messages for who in message.recipients]
    assert sorted(got) == sorted(f"{who}@{domain}" for who in "abc" for domain in domains)
    assert set(statuses()) == {"sent"}


def test_mail_to_a_dead_domain_ends(site):
    """It ages while its destination rests, and all of it ends with the next failure."""
    site.host("dead.example", "127.0.0.109")
    site.domain("one.example", "dead.example")
    for number in range(3):
        send(f"{number}@one.example")
    deliver()
    assert len(attempts()) == 1
    later(47 * 3600)
    send("new@one.example")
    deliver()
    assert set(statuses()) == {"queued", "deferred"}
    later(2 * 3600)
    Delivery.objects.filter(recipient="new@one.example").update(
        age_from=Route.objects.earliest("pk").paused_until
    )
    deliver()
    assert statuses() == ["failed", "failed", "failed", "queued"]
    ended = Delivery.objects.filter(status="failed")
    assert {row.category for row in ended} == {"expired"}
    assert {row.host for row in ended} == {"dead.example"}


# -- what it costs -------------------------------------------------------------------------------


def test_routes_cost_no_question_for_each_message(site):
    """The DNS is asked once, and so is it by each drain that follows."""
    one = site.server("mx.one.example", "127.0.0.101")
    site.domain("one.example", "mx.one.example")
    for _ in range(3):
        for number in range(5):
            send(f"{number}@one.example")
        deliver()
    assert len(one.messages) == 15
    assert site.dns.questions() == [
        ("one.example", "MX"), ("mx.one.example", "A"), ("mx.one.example", "AAAA"),
    ]  # fmt: skip
    assert len(one.sessions) == 1


def test_an_address_without_a_domain(site):
    """A local mailbox is nobody's, out there."""
    one = site.server("mx.one.example", "127.0.0.101")
    site.domain("one.example", "mx.one.example")
    send("webmaster", "a@one.example")
    deliver()
    assert len(one.messages) == 1
    row = Delivery.objects.get(recipient="webmaster")
    assert (row.status, row.category, row.phase) == ("failed", "address_invalid", "resolve")
    assert not Route.objects.exclude(state="open").exists()


def test_the_command_delivers(site):
    """``smtpx_deliver`` goes to domains as a worker does."""
    one = site.server("mx.one.example", "127.0.0.101")
    site.domain("one.example", "mx.one.example")
    send("a@one.example", "b@nowhere.example")
    call_command("smtpx_deliver", stdout=StringIO(), stderr=StringIO())
    assert len(one.messages) == 1
    assert statuses() == ["sent", "failed"]


@pytest.mark.parametrize("flaw", [UnicodeError("label too long"), RecursionError("too deep")])
def test_a_domain_that_our_own_code_stumbles_over(site, monkeypatch, caplog, flaw):
    """Its mail waits by its schedule, with the reason on record, and its neighbours go."""
    site.server("mx.one.example", "127.0.0.101")
    names = ("a.example", "odd.example", "z.example")
    for name in names:
        site.domain(name, "mx.one.example")
    route = Router.route

    def stumbling(self, domain, **options):
        if domain == "odd.example":
            raise flaw
        return route(self, domain, **options)

    monkeypatch.setattr(Router, "route", stumbling)
    for _ in range(2):
        send(*(f"a@{name}" for name in names))
    deliver()
    assert statuses() == ["sent", "deferred", "sent", "sent", "queued", "sent"]
    assert attempts("odd.example") == [("deferred", "dns_error", "resolve", "")]
    assert str(flaw) in Delivery.objects.get(status="deferred").reply
    assert Route.objects.get(domain="odd.example").state == "paused"
    assert caplog.records[0].exc_info[1] is flaw
