"""What somebody on the way could try, so that mail leaves in clear or to the wrong server."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from django_smtpx import pacing
from django_smtpx.models import Attempt
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import deliver
from tests.delivery.mxsite import MXSite, later, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db

HOST = "mx.one.example"
DOMAIN = "one.example"
OTHERS = "3 1 1 " + "ab" * 32
KEYWORDS = ["PIPELINING", "REQUIRETLS", "8BITMIME"]


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def site(tmp_path):
    """A site that looks for TLSA records, and for no other policy."""
    with MXSite(tmp_path, mta_sts=False) as site:
        site.domain(DOMAIN, HOST)
        yield site


def own_record(site, usage=3):
    """Return the TLSA record of the server's certificate, as the DNS has it."""
    certificate = load_pem_x509_certificate(site.certificate.cert_chain_pems[0].bytes())
    record = TLSA(usage, 1, 1, b"").of(certificate.public_bytes(Encoding.DER))
    return f"{usage} 1 1 {record.data.hex()}"


def publish(site, *records, **how):
    """Let the server have TLSA records."""
    site.dns.gives(f"_{site.port}._tcp.{HOST}", "TLSA", *records, **{"ad": True, **how})


def said(server):
    """Return the verbs that a server has heard, in clear or not."""
    return {command.verb for session in server.sessions for command in session.commands}


def latest():
    """Return the latest attempt."""
    return Attempt.objects.latest("pk")


def refused_for_good(server):
    """Try a few times, as what happened before may be remembered; no mail leaves."""
    for _ in range(3):
        deliver()
        later()
    assert statuses() == ["deferred"]
    assert not server.messages
    assert "MAIL" not in said(server)


def test_the_right_certificate(site):
    """A certificate that only the records know, and that is nobody's by name, does."""
    server = site.server(HOST, "127.0.0.101", certificate="strange.example")
    publish(site, own_record(site))
    send(f"a@{DOMAIN}")
    deliver()
    assert len(server.messages) == 1
    assert (latest().tls_verified_by, latest().tls[:4]) == ("dane", "TLSv")


def test_the_wrong_certificate(site):
    """One that this machine trusts, for the very name, does not help against the records."""
    server = site.server(HOST, "127.0.0.101", certificate=HOST)
    publish(site, OTHERS)
    send(f"a@{DOMAIN}")
    refused_for_good(server)
    attempt = latest()
    assert (attempt.category, attempt.phase, attempt.tls_verified_by) == (
        "tls_error",
        "starttls",
        "",
    )
    assert "matches no TLSA records (3 1 1 abababababababab...;" in attempt.transcript


def test_no_starttls(site):
    """A server that seems to know no TLS, where there are records, gets nothing."""
    server = site.server(HOST, "127.0.0.101")
    publish(site, OTHERS)
    send(f"a@{DOMAIN}")
    refused_for_good(server)
    assert latest().phase == "starttls"


def test_no_starttls_beside_unusable_records(site):
    """Records that nobody can use ask for TLS all the same."""
    server = site.server(HOST, "127.0.0.101")
    publish(site, f"1 1 1 {'ab' * 32}")
    send(f"a@{DOMAIN}")
    refused_for_good(server)


def test_unusable_records(site):
    """They are content with any certificate."""
    server = site.server(HOST, "127.0.0.101", certificate="strange.example")
    publish(site, f"1 1 1 {'ab' * 32}")
    send(f"a@{DOMAIN}")
    deliver()
    assert len(server.messages) == 1
    assert (latest().tls_verified_by, latest().tls[:4]) == ("", "TLSv")


def test_records_that_are_kept_from_us(site):
    """A lookup that fails puts the mail off, and the server is not even connected to."""
    server = site.server(HOST, "127.0.0.101", certificate=HOST)
    publish(site, rcode="SERVFAIL")
    send(f"a@{DOMAIN}")
    refused_for_good(server)
    assert not server.sessions
    attempt = latest()
    assert (attempt.category, attempt.phase) == ("dns_error", "resolve")


def test_a_second_server_without_records(site):
    """Where the first one does not hold, the next is gone to as its own records have it."""
    first = site.server(HOST, "127.0.0.101", certificate=HOST)
    second = site.server("b.one.example", "127.0.0.102", certificate="b.one.example")
    site.dns._replies[DOMAIN, "MX"].clear()
    site.domain(DOMAIN, HOST, "b.one.example")
    publish(site, OTHERS)
    send(f"a@{DOMAIN}")
    deliver()
    assert "MAIL" not in said(first)
    assert len(second.messages) == 1
    assert latest().host == "b.one.example"


@pytest.mark.parametrize("mode", ["queue", "now"])
def test_requiretls_where_the_servers_may_be_anybodys(tmp_path, mode):
    """Verified TLS with a server that nobody names for certain is not enough (RFC 8689 section
    4.2.1), also where a connection to it is open already for other mail.
    """
    with MXSite(tmp_path, mta_sts=False, security="starttls", mode=mode) as site:
        server = site.server(HOST, "127.0.0.101", certificate=HOST, keywords=KEYWORDS)
        site.dns.gives(DOMAIN, "MX", f"10 {HOST}.")
        send(f"a@{DOMAIN}")
        if mode == "now":
            with pytest.raises(OSError, match="needs REQUIRETLS"):
                send(f"b@{DOMAIN}", require_tls=True)
        else:
            send(f"b@{DOMAIN}", require_tls=True)
            deliver()
        assert [message.recipients for message in server.messages] == [(f"a@{DOMAIN}",)]
    assert statuses() == ["sent", "failed"]
    attempt = latest()
    assert (attempt.category, attempt.enhanced_code) == ("unsupported", "5.7.30")


def test_requiretls_where_the_servers_are_known(tmp_path):
    """With DNSSEC, verified TLS and the extension, it goes with the others."""
    with MXSite(tmp_path, mta_sts=False, security="starttls") as site:
        server = site.server(HOST, "127.0.0.101", certificate=HOST, keywords=KEYWORDS)
        site.domain(DOMAIN, HOST)
        send(f"a@{DOMAIN}")
        send(f"b@{DOMAIN}", require_tls=True)
        deliver()
        assert len(server.messages) == 2
        assert len(server.sessions) == 1
    assert statuses() == ["sent", "sent"]
