"""Mail straight to domains in ``"now"`` mode: what is raised, and what is on record."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from django.db import transaction
from django.utils import timezone

from django_smtpx import pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import knocking, routing
from django_smtpx.delivery.exchanging import exchange
from django_smtpx.ledger import PolicyStore
from django_smtpx.models import Attempt, Delivery, Route
from django_smtpx.mx.mta_sts import Policy, Stored
from django_smtpx.mx.policy_host import Unavailable
from django_smtpx.mx.route import Router
from django_smtpx.smtp import Envelope, ResolveError, SMTPError, TLSError, UnsupportedFeature
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import KEYWORDS
from tests.delivery.mxsite import MXSite, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "mx.one.example"
ADDRESS = "127.0.0.101"


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def site(tmp_path):
    """A site that delivers at once, with one domain."""
    with MXSite(tmp_path, mode="now") as site:
        site.domain("one.example", HOST)
        yield site


def test_each_domain_gets_its_own(site):
    """And one that does not exist fails alone."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.policy("one.example", "enforce", HOST)
    send("a@one.example", "b@nowhere.example", "c@one.example")
    assert [message.recipients for message in server.messages] == [
        ("a@one.example", "c@one.example")
    ]
    assert statuses() == ["sent", "failed", "sent"]
    row = Delivery.objects.get(domain="nowhere.example")
    assert (row.category, row.phase) == ("domain_unknown", "resolve")
    sent = Attempt.objects.filter(outcome="sent")
    assert set(sent.values_list("host", "ip", "tls_verified_by")) == {(HOST, ADDRESS, "pkix")}
    assert not Route.objects.exclude(state="open").exists()


def test_a_domain_that_takes_no_mail(site):
    """It is raised, and says so."""
    site.dns.gives("no.example", "MX", "0 .")
    with pytest.raises(ResolveError, match="null MX") as caught:
        send("a@no.example")
    assert (caught.value.enhanced_code, caught.value.temporary) == ("5.1.10", False)
    assert statuses() == ["failed"]


def test_a_policy_that_is_not_met(site):
    """It is raised, nothing has left, and the next mail finds the destination resting."""
    server = site.server(HOST, ADDRESS, certificate="other.example")
    site.policy("one.example", "enforce", HOST)
    with pytest.raises(TLSError, match="MTA-STS policy"):
        send("a@one.example")
    assert not server.messages
    with pytest.raises(SMTPError, match="rests until"):
        send("b@one.example")
    assert statuses() == ["failed", "failed"]


def test_within_a_transaction(site):
    """What was found of a policy is written when the transaction is through."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.policy("one.example", "enforce", HOST)
    with transaction.atomic():
        send("a@one.example")
    assert len(server.messages) == 1
    assert statuses() == ["sent"]


def test_a_dead_host_rests_for_other_domains(site):
    """The second mail does not knock again."""
    site.host("dead.example", "127.0.0.109")
    for domain in ("two.example", "three.example"):
        site.domain(domain, "dead.example")
    with pytest.raises(SMTPError, match="No connection"):
        send("a@two.example")
    with pytest.raises(SMTPError, match=r"The host dead.example rests until"):
        send("b@three.example")
    assert not Route.objects.filter(domain="three.example").exclude(state="open").exists()


@pytest.fixture
def knocks(monkeypatch):
    """The addresses that connections are tried to, in order."""
    tried = []
    connect_ex = socket.socket.connect_ex

    def noting(sock, address):
        if sock.type == socket.SOCK_STREAM:
            tried.append(address[0])
        return connect_ex(sock, address)

    monkeypatch.setattr(socket.socket, "connect_ex", noting)
    return tried


@pytest.fixture
def dead_first(site):
    """Two domains whose preferred server does not answer, and the other one does."""
    site.host("dead.example", "127.0.0.109")
    for domain in ("two.example", "three.example"):
        site.domain(domain, "dead.example", "b.example")
    return site.server("b.example", "127.0.0.102")


def resting():
    """Return the hosts that rest."""
    return list(Route.objects.exclude(state="open").values_list("host", flat=True))


def test_a_dead_first_host_within_transactions(site, dead_first, knocks):
    """It is knocked at once in all, and rests as soon as the first transaction is through."""
    with transaction.atomic():
        send("a@two.example")
        send("b@three.example")
        assert resting() == []
    assert resting() == ["dead.example"]
    knocking.forget()  # as another process
    with transaction.atomic():
        send("c@two.example")
    assert knocks.count("127.0.0.109") == 1
    assert len(dead_first.messages) == 3
    assert statuses() == ["sent"] * 3


def test_a_dead_first_host_and_a_transaction_that_fails(site, dead_first, knocks):
    """What was found out is not found out anew, though nothing could be written."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send("a@two.example")
            raise ZeroDivisionError
    assert resting() == []
    assert knocks.count("127.0.0.109") == 1
    assert len(dead_first.messages) == 2


def test_a_dead_first_host_of_a_mailer_without_a_name(site, dead_first, knocks):
    """Nothing is on record of such a one, and it knocks once all the same."""
    nameless = replace(get_mailer("default"), name="")
    for _ in range(3):
        envelope = Envelope("me@sender.example", ("a@two.example",), b"Subject: Hi\r\n\r\nHi\r\n")
        came = exchange(nameless, envelope, at=timezone.now())
        assert came.error is None
        default_pool.close()
    assert resting() == []
    assert knocks.count("127.0.0.109") == 1
    assert len(dead_first.messages) == 3


def test_the_only_host_is_tried_whatever_is_remembered(site, knocks):
    """Where there is no other one it may answer again."""
    site.host("late.example", "127.0.0.109")
    site.domain("four.example", "late.example")
    with pytest.raises(SMTPError, match="No connection"), transaction.atomic():
        send("a@four.example")
    server = site.server("late.example", "127.0.0.109")
    with transaction.atomic():
        send("a@four.example")
    assert len(server.messages) == 1


@pytest.mark.parametrize("through", [True, False])
def test_a_policy_host_that_is_away_within_transactions(site, monkeypatch, through):
    """It is asked once, though what came of it could not be written yet, or never."""
    asked = []

    def fetch(domain):
        asked.append(domain)
        raise Unavailable("the web server is away")

    monkeypatch.setattr("django_smtpx.mx.policy_host.PolicyHosts", lambda *_, **__: fetch)
    server = site.server(HOST, ADDRESS, certificate="other.example")
    site.dns.gives("_mta-sts.one.example", "TXT", '"v=STSv1; id=2;"')
    kept = Policy("one.example", "enforce", ("mx.other.example",), 86400, "1")
    PolicyStore().put(Stored(domain="one.example", policy=kept, fetched_at=time.time()))
    for _ in range(2):
        with suppress(ZeroDivisionError), transaction.atomic():
            for _ in range(2):
                with pytest.raises(SMTPError):
                    send("a@one.example")
            if not through:
                raise ZeroDivisionError
    assert asked == ["one.example"]
    assert not server.messages
    stored = PolicyStore().get("one.example")
    assert (stored.tried_id, stored.policy) == ("2" if through else "", kept)


def test_requiretls(site):
    """It goes where it may, and is refused where it may not, without a word about other mail."""
    server = site.server(HOST, ADDRESS, certificate=HOST, keywords=[*KEYWORDS, "REQUIRETLS"])
    send("a@one.example", require_tls=True)
    assert len(server.messages) == 1
    site.server("plain.example", "127.0.0.102", certificate="plain.example")
    site.domain("two.example", "plain.example")
    with pytest.raises(UnsupportedFeature, match="REQUIRETLS"):
        send("a@two.example", require_tls=True)
    send("b@two.example")
    assert statuses() == ["sent", "failed", "sent"]


def test_the_other_family(site):
    """Both tries are on record, and the recipient has one end."""
    first, second = site.server(HOST, ADDRESS, "::1")
    first.on("RCPT", {"a@one.example": "550 5.7.1 no reverse DNS"})
    send("a@one.example", "b@one.example")
    assert [message.recipients for message in first.messages] == [("b@one.example",)]
    assert [message.recipients for message in second.messages] == [("a@one.example",)]
    assert statuses() == ["sent", "sent"]
    rows = Attempt.objects.filter(delivery__recipient="a@one.example").order_by("number")
    assert list(rows.values_list("outcome", "ip")) == [("deferred", ADDRESS), ("sent", "::1")]


def test_the_other_family_refuses_too(site):
    """The refusal is raised, once."""
    for server in site.server(HOST, ADDRESS, "::1"):
        server.on("RCPT", "550 5.7.1 no")
    with pytest.raises(SMTPError):
        send("a@one.example")
    assert statuses() == ["failed"]
    assert Attempt.objects.count() == 2


def test_the_other_family_where_the_hosts_are_not_to_be_found_any_more(site, monkeypatch):
    """What was answered is on record: nobody's mail is in doubt, or sent twice, for that."""
    first, second = site.server(HOST, ADDRESS, "::1")

    def nobody_can_say(*_, **__):
        raise ResolveError("Nobody can say", phase="resolve", category="dns_error")

    def refused(conversation, argument):
        monkeypatch.setattr(routing.Routes, "route", nobody_can_say)
        return "550 5.7.1 no reverse DNS"

    first.on("RCPT", {"a@one.example": refused})
    send("a@one.example", "b@one.example")
    assert [message.recipients for message in first.messages] == [("b@one.example",)]
    assert not second.sessions
    assert statuses() == ["failed", "sent"]


def test_a_domain_that_our_own_code_stumbles_over(site, monkeypatch):
    """What others have answered is on record, and nobody's mail is in doubt."""
    server = site.server(HOST, ADDRESS)
    route = Router.route

    def stumbling(self, domain, **options):
        if domain == "odd.example":
            raise ValueError("odd")
        return route(self, domain, **options)

    monkeypatch.setattr(Router, "route", stumbling)
    send("a@one.example", "b@odd.example")
    assert [message.recipients for message in server.messages] == [("a@one.example",)]
    assert statuses() == ["sent", "failed"]
