"""Mail straight to domains, and the TLS that policies, messages and accidents make of it.

In each test a server that is not to have the mail would take it, were it given any.
"""

from __future__ import annotations

import ssl

import pytest

from django_smtpx import pacing
from django_smtpx.delivery import families
from django_smtpx.models import Attempt, Delivery, Route, TLSResult
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import KEYWORDS, deliver
from tests.delivery.mxsite import MXSite, later, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db

HOST = "mx.one.example"
ADDRESS = "127.0.0.101"


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def site(tmp_path):
    """A site whose resolver validates, with one domain."""
    with MXSite(tmp_path) as site:
        site.domain("one.example", HOST)
        yield site


def attempts():
    """Return the attempts, in order: outcome, category, phase and how TLS was verified."""
    rows = Attempt.objects.order_by("pk")
    return list(rows.values_list("outcome", "category", "phase", "tls_verified_by"))


def nothing_was_sent(server):
    """Say that a server got no command of a transaction, in TLS or in clear."""
    said = {verb for session in server.sessions for verb in session.verbs}
    return not server.messages and not said.intersection(("MAIL", "RCPT", "DATA", "BDAT"))


# -- MTA-STS -------------------------------------------------------------------------------------


def test_an_enforced_policy(site):
    """A certificate that holds for the host's name, and the rows say so."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.policy("one.example", "enforce", HOST)
    send("a@one.example")
    deliver()
    assert len(server.messages) == 1
    assert attempts() == [("sent", "ok", "eod", "pkix")]


@pytest.mark.parametrize("certificate", ["other.example", None])
def test_an_enforced_policy_that_is_not_met(site, certificate):
    """A certificate for another name, or no TLS at all: the mail waits, and nothing has left."""
    server = site.server(HOST, ADDRESS, certificate=certificate)
    site.policy("one.example", "enforce", HOST)
    for _ in range(2):
        send("a@one.example")
        deliver()
        later()
    assert nothing_was_sent(server)
    assert set(attempts()) == {("deferred", "tls_error", "starttls", "")}
    assert "the MTA-STS policy of one.example (enforce)" in Delivery.objects.first().reply
    assert Route.objects.get(domain="one.example").category == "tls_error"
    assert not Route.objects.filter(host__gt="").exists()


def test_an_enforced_policy_names_others(site):
    """A host that it does not name is not even connected to."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.policy("one.example", "enforce", "mx.other.example")
    send("a@one.example")
    deliver()
    assert not server.sessions
    assert attempts() == [("deferred", "tls_error", "resolve", "")]
    assert "mx.other.example" in Delivery.objects.get().reply


def test_another_domain_behind_the_same_host(site):
    """What one domain's policy wants of a host is not held against the mail of another."""
    server = site.server(HOST, ADDRESS, certificate="other.example")
    site.domain("two.example", HOST)
    site.policy("one.example", "enforce", HOST)
    send("a@one.example", "b@two.example")
    deliver()
    assert [message.recipients for message in server.messages] == [("b@two.example",)]
    send("c@one.example", "d@two.example")
    deliver()
    assert sum(len(message.recipients) for message in server.messages) == 2
    assert Delivery.objects.filter(domain="one.example", status="sent").count() == 0


def test_a_policy_that_is_only_tested(site):
    """What does not hold is on record, and the mail goes as without a policy."""
    server = site.server(HOST, ADDRESS, certificate="other.example")
    site.policy("one.example", "testing", HOST)
    for number in range(3):
        send(f"{number}@one.example")
    deliver()
    assert len(server.messages) == 3
    assert attempts() == [
        ("deferred", "tls_error", "starttls", ""),
        *[("sent", "ok", "eod", "")] * 3,
    ]
    assert len(server.sessions) == 2
    assert set(statuses()) == {"sent"}


def test_a_policy_that_is_only_tested_and_met(site):
    """Then it is verified."""
    site.server(HOST, ADDRESS, certificate=HOST)
    site.policy("one.example", "testing", HOST)
    send("a@one.example")
    deliver()
    assert attempts() == [("sent", "ok", "eod", "pkix")]


def test_what_a_domain_is_told(site):
    """Each session counts once, with what was wrong by its policy."""
    site.server(HOST, ADDRESS, certificate="other.example")
    site.domain("two.example", HOST)
    # A host of its own: a session that somebody else's mail has opened is not counted again.
    site.server("mx.three.example", "127.0.0.103", certificate="other.example")
    site.domain("three.example", "mx.three.example")
    site.policy("one.example", "enforce", HOST)
    site.policy("two.example", "testing", HOST)
    site.policy("four.example", "enforce", "mx.other.example")
    site.domain("four.example", HOST)
    for domain in ("one", "two", "three", "four"):
        send(f"a@{domain}.example")
        send(f"b@{domain}.example")
    send("c@one.example", headers={"TLS-Required": "No"})
    deliver()
    told = TLSResult.objects.order_by("domain").values_list("domain", "failure", "count")
    assert list(told) == [
        ("four.example", "validation-failure", 1),
        ("one.example", "certificate-host-mismatch", 1),
        ("three.example", "", 1),
        ("two.example", "certificate-host-mismatch", 1),
    ]


# -- DANE ----------------------------------------------------------------------------------------


def tlsa(site, *, digest=None, ad=True):
    """Let the host have a record for its key."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    pem = site.certificate.cert_chain_pems[0].bytes()
    der = load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    record = TLSA(3, 1, 1, b"").of(der)
    data = digest or record.data.hex()
    site.dns.gives(f"_{site.port}._tcp.{HOST}", "TLSA", f"3 1 1 {data}", ad=ad)


def test_tlsa_records(site):
    """The certificate is judged by them, whoever issued it and for whatever name."""
    server = site.server(HOST, ADDRESS, certificate="whatever.example")
    tlsa(site)
    send("a@one.example")
    deliver()
    assert len(server.messages) == 1
    assert attempts() == [("sent", "ok", "eod", "dane")]


def test_tlsa_records_that_do_not_match(site):
    """The mail waits, also where an authority vouches for the certificate."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    tlsa(site, digest="00" * 32)
    site.policy("one.example", "enforce", HOST)
    send("a@one.example")
    deliver()
    assert nothing_was_sent(server)
    assert attempts() == [("deferred", "tls_error", "starttls", "")]
    assert "TLSA" in Delivery.objects.get().reply


def test_tlsa_records_and_a_server_without_tls(site):
    """Nothing goes in clear."""
    site.context(HOST)
    server = site.server(HOST, ADDRESS)
    tlsa(site)
    send("a@one.example")
    deliver()
    assert nothing_was_sent(server)
    assert attempts() == [("deferred", "tls_error", "starttls", "")]


def test_tlsa_records_that_nobody_can_look_up(site):
    """The mail waits: whoever hides them could be between."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.dns.gives(f"_{site.port}._tcp.{HOST}", "TLSA", rcode="SERVFAIL")
    send("a@one.example")
    deliver()
    assert not server.sessions
    assert attempts() == [("deferred", "dns_error", "resolve", "")]


def test_tlsa_records_that_are_not_validated(site):
    """They count for nothing: anybody could have made them up."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    tlsa(site, digest="00" * 32, ad=False)
    send("a@one.example")
    deliver()
    assert len(server.messages) == 1
    assert attempts() == [("sent", "ok", "eod", "")]


# -- what the message says -----------------------------------------------------------------------

REQUIRETLS = [*KEYWORDS, "REQUIRETLS"]


def test_requiretls(site):
    """A validated exchanger, a certificate for its name, and a server that promises the same."""
    server = site.server(HOST, ADDRESS, certificate=HOST, keywords=REQUIRETLS)
    send("a@one.example", require_tls=True)
    deliver()
    (message,) = server.messages
    assert "REQUIRETLS" in str(message.mail_params)
    assert attempts() == [("sent", "ok", "eod", "pkix")]


def test_requiretls_beside_other_mail(site):
    """Each goes as it wants to, over sessions of its own where it has to."""
    server = site.server(HOST, ADDRESS, certificate="other.example", keywords=REQUIRETLS)
    send("strict@one.example", require_tls=True)
    for number in range(3):
        send(f"{number}@one.example")
    deliver()
    assert [message.recipients[0][0] for message in server.messages] == ["0", "1", "2"]
    strict = Delivery.objects.get(recipient="strict@one.example")
    assert (strict.status, strict.category, strict.step) == ("deferred", "tls_error", 1)
    assert "REQUIRETLS" in strict.reply
    assert not Route.objects.exclude(state="open").exists()


def test_requiretls_that_the_server_does_not_know(site):
    """It is final, once every host has been asked (RFC 8689 section 4.2.1)."""
    first = site.server(HOST, ADDRESS, certificate=HOST)
    second = site.server("b.example", "127.0.0.102", certificate="b.example")
    site.domain("two.example", HOST, "b.example")
    send("a@two.example", require_tls=True)
    send("b@two.example")
    deliver()
    assert not second.messages
    assert len(first.messages) == 1
    assert len(second.sessions) == 1
    row = Delivery.objects.get(recipient="a@two.example")
    assert (row.status, row.category, row.enhanced_code) == ("failed", "unsupported", "5.7.30")


def test_requiretls_and_another_host_that_knows_it(site):
    """The first host that can have it gets it, and the other one does not rest for that."""
    first = site.server(HOST, ADDRESS, certificate=HOST)
    second = site.server("b.example", "127.0.0.102", certificate="b.example", keywords=REQUIRETLS)
    site.domain("two.example", HOST, "b.example")
    send("a@two.example", require_tls=True)
    deliver()
    assert len(second.messages) == 1
    assert not Route.objects.exclude(state="open").exists()
    send("b@one.example")
    deliver()
    assert [message.recipients for message in first.messages] == [("b@one.example",)]


def test_requiretls_where_the_exchangers_are_anybodys(tmp_path):
    """Without DNSSEC and without a policy nobody knows whose servers these are."""
    with MXSite(tmp_path, trusted=False) as site:
        site.domain("one.example", HOST)
        server = site.server(HOST, ADDRESS, certificate=HOST, keywords=REQUIRETLS)
        send("a@one.example", require_tls=True)
        send("b@one.example")
        deliver()
        assert [message.recipients for message in server.messages] == [("b@one.example",)]
        row = Delivery.objects.get(recipient="a@one.example")
        assert (row.status, row.category, row.phase) == ("failed", "unsupported", "resolve")


NO = {"headers": {"TLS-Required": "No"}}


@pytest.mark.parametrize("named", [HOST, "mx.other.example"])
def test_tls_required_no(site, named):
    """No policy keeps such a message, and nothing else goes along with it."""
    server = site.server(HOST, ADDRESS, certificate="other.example")
    site.policy("one.example", "enforce", named)
    send("a@one.example", **NO)
    send("b@one.example")
    deliver()
    assert [message.recipients for message in server.messages] == [("a@one.example",)]
    assert Delivery.objects.get(recipient="b@one.example").status == "deferred"


def test_tls_required_no_and_tlsa_records(site):
    """They are a policy, too, and so is that nobody can look them up."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    tlsa(site, digest="00" * 32)
    send("a@one.example", **NO)
    deliver()
    assert len(server.messages) == 1


def test_tls_required_no_where_records_are_hidden(site):
    """It goes where other mail waits."""
    server = site.server(HOST, ADDRESS, certificate=HOST)
    site.dns.gives(f"_{site.port}._tcp.{HOST}", "TLSA", rcode="SERVFAIL")
    send("a@one.example", **NO)
    send("b@one.example")
    deliver()
    assert [message.recipients for message in server.messages] == [("a@one.example",)]


# -- accidents -----------------------------------------------------------------------------------


def test_opportunistic_tls_that_fails(site):
    """Where nobody asks for TLS the mail goes in clear, but not at the first failure."""
    context = site.context(HOST)
    context.set_ciphers("AES128-SHA")
    context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_2
    server = site.server(HOST, ADDRESS, ssl_context=context)
    send("a@one.example")
    deliver()
    assert nothing_was_sent(server)
    assert attempts() == [("deferred", "tls_error", "starttls", "")]
    later()
    send("b@one.example")
    deliver()
    assert len(server.messages) == 2
    assert {message.tls for message in server.messages} == {False}
    assert set(statuses()) == {"sent"}


NO_PTR = (
    "550 5.7.1 [2001:db8::1] Our system has detected that this message does not meet IPv6 sending "
    "guidelines regarding PTR records and authentication."
)


@pytest.mark.parametrize(
    ("verb", "reply", "category", "phase"),
    [
        ("RCPT", "550 5.7.1 no reverse DNS", "sender_auth", "rcpt"),
        ("MAIL", "550 5.7.1 Sender address rejected: not owned by you", "sender_rejected", "mail"),
        ("EOD", NO_PTR, "sender_auth", "eod"),
    ],
    ids=["RCPT", "MAIL", "content"],
)
def test_the_other_family(site, verb, reply, category, phase):
    """What a policy refuses over the one is tried over the other, once, and remembered."""
    first, second = site.server(HOST, ADDRESS, "::1")
    first.on(verb, reply)
    send("a@one.example")
    send("b@one.example")
    deliver()
    assert {message.recipients for message in second.messages} == {
        ("b@one.example",), ("a@one.example",),
    }  # fmt: skip
    assert not first.messages
    # With PIPELINING the second one was on its way when the first one was refused.
    refused = [row for row in attempts() if row[0] == "deferred"]
    assert set(refused) == {("deferred", category, phase, "")}
    assert len(refused) <= 2
    assert not Route.objects.exclude(state="open").exists()
    assert set(statuses()) == {"sent"}
    send("c@one.example")
    deliver()
    assert len(second.messages) == 3
    assert len(first.sessions) == 1


def test_both_families_refuse(site):
    """It is final then, and nothing goes on for ever."""
    first, second = site.server(HOST, ADDRESS, "::1")
    for server in (first, second):
        server.on("RCPT", "550 5.7.1 we do not like you")
    send("a@one.example")
    deliver()
    families.forget()
    later()
    deliver()
    assert statuses() == ["failed"]
    assert [row[0] for row in attempts()] == ["deferred", "failed"]


def test_a_greeting_that_refuses_one_family(site):
    """The other one is tried at once."""
    first, second = site.server(HOST, ADDRESS, "::1")
    first.on("CONNECT", "554 5.7.1 no reverse DNS")
    send("a@one.example")
    send("b@one.example")
    deliver()
    assert len(second.messages) == 2
    assert len(second.sessions) == 1
    assert set(statuses()) == {"sent"}
