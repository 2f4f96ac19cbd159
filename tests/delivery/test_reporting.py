"""Reports on TLS go where a domain wants them, once, and say what was counted."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
from datetime import UTC, date, datetime

import pytest

from django_smtpx import ledger
from django_smtpx.delivery.report_mail import ReportMail
from django_smtpx.delivery.reporting import Reporter, Sent, reports
from django_smtpx.ledger import tls_results
from django_smtpx.models import Message, TLSReport
from django_smtpx.mx.answers import Answer
from django_smtpx.mx.tlsrpt import PolicyFacts, Sender, Session
from django_smtpx.smtp.errors import ConnectError, ResolveError
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from django_smtpx.testing.certificates import make_certificate
from tests.mx.web import Web, response

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SENDER = Sender(organization="Sender Ltd", contact="tls@sender.example", domain="sender.example")
ID = "20261121.example.com@sender.example"
HOST = "reports.example"


@pytest.fixture(autouse=True)
def _nothing_booked():
    """Begin and end with nothing counted in memory."""
    tls_results._buffer.start_clean()
    yield
    tls_results._buffer.start_clean()


def count(*domains, failure=""):
    """Count a session with a server of each domain."""
    for domain in domains:
        policy = PolicyFacts(type="sts", domain=domain, lines=("version: STSv1",))
        session = Session(policy=policy, host=f"mx.{domain}", failure=failure)
        ledger.book_tls_session(session, now=lambda: NOON)
    ledger.flush_tls_sessions()


class World:
    """The DNS, with one record for reports, and a mailer that keeps what it is given."""

    def __init__(self, *uris):
        self.records = (f"v=TLSRPTv1; rua={','.join(uris)}",) if uris else ()
        self.mails = []
        self.taken = 1
        self.error = None

    def txt(self, name):
        """Return the record."""
        assert name == "_smtp._tls.example.com"
        if isinstance(self.records, Exception):
            raise self.records
        return Answer(name=name, canonical=name, records=self.records)

    def addresses(self, host):
        """Return where the test's web server is."""
        assert host == HOST
        return Answer(name=host, canonical=host, records=("127.0.0.1",))

    def mail(self, message):
        """Keep a mail."""
        if self.error is not None:
            raise self.error
        self.mails.append(message)
        return self.taken

    def send(self, **options):
        """Send the report on example.com."""
        (report,) = reports(DAY, SENDER, "example.com")
        return Reporter(self, self.mail, **options).send(report)


@pytest.fixture
def counted():
    """A session with a server of example.com, and one that failed."""
    count("example.com")
    count("example.com", failure="certificate-expired")


# -- which -----------------------------------------------------------------------------------------


def test_a_report_for_each_domain_of_the_day():
    """Or for one of them alone."""
    count("b.example", "a.example")
    assert [one.domain for one in reports(DAY, SENDER)] == ["a.example", "b.example"]
    assert [one.domain for one in reports(DAY, SENDER, "b.example")] == ["b.example"]
    assert list(reports(DAY, SENDER, "c.example")) == []
    assert list(reports(date(2026, 11, 20), SENDER)) == []


# -- by mail ---------------------------------------------------------------------------------------


def test_a_report_by_mail_arrives_whole(counted):
    """Through the outbox, in the form of RFC 8460 section 5.3, and the bytes are those of the file."""
    (report,) = reports(DAY, SENDER)
    with ScriptedServer() as server, real_queue(server):
        from django_smtpx.backend import EmailBackend

        mail = ReportMail(report, ["tls@example.com"])
        assert EmailBackend(mailer="default").send_messages([mail]) == 1
        deliver()
        (got,) = server.messages
    assert (got.sender, got.recipients) == ("tls@sender.example", ("tls@example.com",))
    parsed = email.message_from_bytes(got.content, policy=email.policy.default)
    assert parsed["Subject"] == (
        f"Report Domain: example.com Submitter: sender.example Report-ID: <{ID}>"
    )
    assert parsed["From"] == "tls@sender.example"
    assert parsed["To"] == "tls@example.com"
    assert parsed["TLS-Report-Domain"] == "example.com"
    assert parsed["TLS-Report-Submitter"] == "sender.example"
    assert parsed["TLS-Required"] == "No"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Message-ID"]
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "tlsrpt"
    text, attached = parsed.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert "Sessions that failed:                  1" in text.get_content().splitlines()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached["Content-Transfer-Encoding"] == "base64"
    assert attached.get_filename() == f"{report.file_name}.gz"
    said = json.loads(gzip.decompress(attached.get_content()))
    assert said == report.as_dict()
    assert said["report-id"] == ID


def test_a_report_is_stored_once(counted):
    """Whatever becomes of the row that says so: the outbox knows its key."""
    (report,) = reports(DAY, SENDER)
    with real_queue(host="127.0.0.1", port=1):
        from django_smtpx.backend import EmailBackend

        backend = EmailBackend(mailer="default")
        for address in ("a@example.com", "a@example.com", "b@example.com"):
            backend.send_messages([ReportMail(report, [address])])
    assert Message.objects.count() == 2
    assert Message.objects.first().tags == ["tlsrpt"]


def test_each_place_gets_it_once(counted):
    """Also where one of several could not be reached the first time."""
    world = World("mailto:a@b.example", "mailto:c%40@d.example", "mailto:e@f.example?subject=x")
    first, bad, last = world.send()
    assert (first, last) == (
        Sent("mailto:a@b.example", "sent"),
        Sent("mailto:e@f.example?subject=x", "sent"),
    )
    assert bad.outcome == "failed"
    assert [mail.to for mail in world.mails] == [["a@b.example"], ["e@f.example"]]
    assert [one.outcome for one in world.send()] == ["before", "failed", "before"]
    assert len(world.mails) == 2
    assert sorted(TLSReport.objects.values_list("target", flat=True)) == [
        "mailto:a@b.example",
        "mailto:e@f.example?subject=x",
    ]


def test_a_mail_that_was_not_taken_goes_later(counted):
    """A mailer that raises, or fails silently, has not sent it."""
    world = World("mailto:a@b.example")
    world.error = ConnectError("nobody there")
    assert world.send() == [Sent("mailto:a@b.example", "failed", "nobody there")]
    world.error, world.taken = None, 0
    assert world.send()[0].outcome == "failed"
    world.taken = 1
    assert world.send() == [Sent("mailto:a@b.example", "sent")]


def test_what_is_none_of_a_report_is_raised(counted):
    """And the next one may try at once."""
    world = World("mailto:a@b.example")
    world.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        world.send()
    world.error = None
    assert world.send()[0].outcome == "sent"


# -- where nobody wants it -------------------------------------------------------------------------


def test_a_domain_without_a_record(counted):
    """It gets none, and nothing is kept of that."""
    assert World().send() == [Sent("", "unwanted")]
    assert not TLSReport.objects.exists()


def test_a_record_that_cannot_be_read(counted):
    """Two records, a name server that is silent, or a place that is none."""
    world = World("mailto:a@b.example")
    world.records *= 2
    assert world.send()[0].text == (
        "there are 2 TXT records for reports on TLS, and one is allowed"
    )
    world.records = ResolveError("nobody could say")
    assert world.send() == [Sent("", "failed", "nobody could say")]
    (sent,) = World("http://a.example").send()
    assert (sent.target, sent.outcome) == ("http://a.example", "failed")
    assert world.mails == []


# -- to a web server -------------------------------------------------------------------------------


def test_a_report_to_a_web_server(counted, tmp_path):
    """The compressed JSON is posted to whoever shows a certificate for the name."""
    made = make_certificate(tmp_path, HOST)
    with Web(made.ssl_context, response(status="201 Created")) as server:
        world = World(f"https://{HOST}:{server.port}/tls?x=1")
        (sent,) = world.send(ca_file=made.ca_file)
        assert sent.outcome == "sent"
        assert world.send(ca_file=made.ca_file)[0].outcome == "before"
        (asked,) = server.asked
    head, _, body = asked.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /tls?x=1 HTTP/1.1\r\n")
    assert b"Content-Type: application/tlsrpt+gzip\r\n" in head + b"\r\n"
    (report,) = reports(DAY, SENDER)
    assert json.loads(gzip.decompress(body)) == report.as_dict()


def test_a_web_server_that_does_not_take_it(counted, tmp_path):
    """Nothing is followed; the next run tries again."""
    made = make_certificate(tmp_path, HOST)
    moved = response(status="302 Found", Location="https://elsewhere.example/")
    with Web(made.ssl_context, moved) as server:
        world = World(f"https://{HOST}:{server.port}/")
        (sent,) = world.send(ca_file=made.ca_file)
        assert sent.text == f"{HOST} answered with the status 302"
        (sent,) = world.send()
        assert "certificate" in sent.text
        server.answer = response()
        assert world.send(ca_file=made.ca_file)[0].outcome == "sent"
    assert TLSReport.objects.get().failure == ""
