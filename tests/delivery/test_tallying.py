"""What came of sessions with a domain's servers is counted, once each, and of no report's own."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction

from django_smtpx import ledger, pacing
from django_smtpx.delivery import tallying
from django_smtpx.delivery.reporting import reports
from django_smtpx.ledger import tls_results
from django_smtpx.models import TLSResult
from django_smtpx.mx.tlsrpt import Sender
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import deliver
from tests.delivery.mxsite import MXSite, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db
HOST, IP = "mx.one.example", "127.0.0.101"
SENDER = Sender(organization="Sender", contact="a@sender.example", domain="sender.example")


@pytest.fixture(autouse=True)
def _fresh_process():
    tls_results._buffer.start_clean()
    yield
    default_pool.close()
    pacing.forget_resting()
    tls_results._buffer.start_clean()


@pytest.fixture
def site(tmp_path):
    """A site with one domain, whose MX is at one address."""
    with MXSite(tmp_path, dane=False) as site:
        site.domain("one.example", HOST)
        yield site


def counted():
    """Return what was counted: the policy, the server, the failure, and how often."""
    fields = ("policy_type", "host", "ip", "failure", "counts", "count")
    return sorted(TLSResult.objects.values_list(*fields))


def test_sessions_count_and_mails_do_not(site):
    """Many mails over one connection are one session, with TLS or without."""
    site.server(HOST, IP, certificate=HOST)
    site.server("mx.two.example", "127.0.0.102")
    site.domain("two.example", "mx.two.example")
    for number in range(3):
        send(f"{number}@one.example", f"{number}@two.example")
    deliver()
    assert set(statuses()) == {"sent"}
    assert counted() == [
        ("no-policy-found", HOST, IP, "", True, 1),
        ("no-policy-found", "mx.two.example", "127.0.0.102", "starttls-not-supported", True, 1),
    ]


def test_a_session_under_a_policy(site):
    """It counts for the policy, in the words of which the report names it."""
    site.server(HOST, IP, certificate=HOST)
    site.policy("one.example", "enforce", HOST)
    send("a@one.example")
    deliver()
    assert counted() == [("sts", HOST, IP, "", True, 1)]
    (report,) = reports(TLSResult.objects.get().day, SENDER)
    (policy,) = report.as_dict()["policies"]
    assert policy["policy"]["mx-host"] == [HOST]
    assert "mode: enforce" in policy["policy"]["policy-string"]


def test_a_certificate_for_another_name(site):
    """No mail goes, and the domain can learn why."""
    server = site.server(HOST, IP, certificate="other.example")
    site.policy("one.example", "enforce", HOST)
    send("a@one.example")
    deliver()
    assert not server.messages
    assert counted() == [("sts", HOST, IP, "certificate-host-mismatch", True, 1)]


def test_a_policy_that_is_only_tested(site):
    """The mail goes all the same, and what would have kept it is counted, once."""
    server = site.server(HOST, IP, certificate="other.example")
    site.policy("one.example", "testing", HOST)
    send("a@one.example")
    deliver()
    assert len(server.messages) == 1
    assert counted() == [("sts", HOST, IP, "certificate-host-mismatch", True, 1)]


def test_a_policy_that_names_none_of_the_servers(site):
    """There is no session at all, and that is a failure, too."""
    site.server(HOST, IP, certificate=HOST)
    site.policy("one.example", "enforce", "mx.elsewhere.example")
    send("a@one.example")
    deliver()
    (row,) = counted()
    assert (row[0], row[1], row[3:]) == ("sts", HOST, ("validation-failure", True, 1))


@pytest.mark.parametrize("source", [None, "127.0.0.1"])
def test_the_address_that_we_came_from(tmp_path, monkeypatch, source):
    """The one that the mailer binds, or that the system chooses; of failures, too."""
    monkeypatch.setattr(tallying, "public_address_towards", "to {}".format)
    with MXSite(tmp_path, dane=False, source_address=source) as site:
        site.domain("one.example", HOST)
        site.domain("two.example", "mx.two.example")
        site.server(HOST, IP, certificate=HOST)
        site.server("mx.two.example", "127.0.0.102", certificate="other.example")
        site.policy("two.example", "enforce", "mx.two.example")
        send("a@one.example", "b@two.example")
        deliver()
    rows = TLSResult.objects.order_by("domain").values_list("sending_ip", flat=True)
    assert list(rows) == ([source] * 2 if source else [f"to {IP}", "to 127.0.0.102"])


def test_a_server_that_is_away_has_not_failed_at_tls(site):
    """Nothing is counted of it."""
    site.host(HOST, "127.0.0.103")
    site.policy("one.example", "enforce", HOST)
    send("a@one.example")
    deliver()
    assert set(statuses()) == {"deferred"}
    assert counted() == []


@pytest.mark.parametrize("mode", ["queue", "now"])
@pytest.mark.parametrize("name", [HOST, "other.example"])
def test_mail_that_goes_whatever_tls_there_is(tmp_path, mode, name):
    """A report is such mail: a session for it is not in the next one, whether TLS held or not."""
    with MXSite(tmp_path, dane=False, mode=mode) as site:
        site.domain("one.example", HOST)
        server = site.server(HOST, IP, certificate=name)
        site.policy("one.example", "enforce", HOST)
        send("a@one.example", headers={"TLS-Required": "No"})
        deliver()
        assert len(server.messages) == 1
        default_pool.close()
        ledger.flush_tls_sessions()
        assert counted() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [False, True])
def test_mail_that_is_sent_at_once(tmp_path, inside):
    """Its sessions count as those of a worker do, once the caller's transaction is through."""
    with MXSite(tmp_path, dane=False, mode="now") as site:
        site.domain("one.example", HOST)
        site.server(HOST, IP, certificate=HOST)
        with transaction.atomic() if inside else nullcontext():
            send("a@one.example")
            assert len(counted()) == (0 if inside else 1)
        assert counted() == [("no-policy-found", HOST, IP, "", True, 1)]


def test_a_mailer_that_submits_counts_nothing(site):
    """Its server is the site's own affair."""
    from django_smtpx.testing import ScriptedServer, real_queue

    with ScriptedServer() as server, real_queue(server):
        send("a@one.example")
        deliver()
        assert len(server.messages) == 1
    ledger.flush_tls_sessions()
    assert counted() == []


def test_from_a_session_to_the_report_that_tells_of_it(site):
    """Counted, reported the day after to whom the DNS names, delivered, and not counted again."""
    server = site.server(HOST, IP, certificate=HOST)
    site.dns.gives("_smtp._tls.one.example", "TXT", '"v=TLSRPTv1; rua=mailto:tls@one.example"')
    send("a@one.example")
    deliver()
    before = ledger.now().date() - timedelta(days=1)
    TLSResult.objects.update(day=before)
    default_pool.close()
    out = StringIO()
    call_command("smtpx_tlsrpt", contact="tls@sender.example", stdout=out)
    assert out.getvalue().splitlines() == [
        "one.example: 1 sessions as wanted, 0 failed.",
        "  sent to mailto:tls@one.example",
    ]
    deliver()
    report = server.messages[1]
    assert report.recipients == ("tls@one.example",)
    assert b'Content-Type: multipart/report; report-type="tlsrpt"' in report.content
    ledger.flush_tls_sessions()
    assert set(TLSResult.objects.values_list("day", flat=True)) == {before}
