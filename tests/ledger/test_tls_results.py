"""Counts of TLS sessions: grouped, written apart from any delivery, and never in its way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import tls_results
from django_smtpx.ledger.tls_results import SENDING
from django_smtpx.models import TLSReport, TLSResult
from django_smtpx.mx.tlsrpt import Counted, PolicyFacts, Session

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
STS = PolicyFacts(type="sts", domain="example.com", lines=("version: STSv1",), mx=("*.a.example",))
GOOD = Session(policy=STS, host="mx.a.example", ip="192.0.2.1", sending_ip="198.51.100.7")
BAD = Session(policy=STS, host="mx.a.example", failure="certificate-expired", reason="a\0b")


@pytest.fixture(autouse=True)
def _nothing_booked():
    """Begin and end with nothing counted in memory."""
    tls_results._buffer.start_clean()
    yield
    tls_results._buffer.start_clean()


def book(*sessions, at=NOON):
    """Count sessions at a time."""
    ledger.book_tls_session(*sessions, now=lambda: at)


def test_sessions_that_are_alike_are_one_row(django_assert_num_queries):
    """Counting costs no statement, and writing one for each group that is there already."""
    with django_assert_num_queries(0):
        for _ in range(3):
            book(GOOD)
        book(BAD, GOOD)
    assert ledger.flush_tls_sessions() == 2
    with django_assert_num_queries(2):
        book(GOOD, BAD)
        assert ledger.flush_tls_sessions() == 2
    with django_assert_num_queries(0):
        assert ledger.flush_tls_sessions() == 0
    assert set(ledger.tls_counted(DAY, "example.com")) == {Counted(GOOD, 5), Counted(BAD, 2)}
    assert (
        TLSResult.objects.get(failure="certificate-expired").reason == "a\N{REPLACEMENT CHARACTER}b"
    )


def test_each_difference_makes_a_row_of_its_own():
    """By day, policy, server, address, failure and whether it counts."""
    other = PolicyFacts(type="sts", domain="example.com", lines=("version: STSv1", "mode: none"))
    alike = [
        GOOD,
        Session(policy=other, host=GOOD.host, ip=GOOD.ip, sending_ip=GOOD.sending_ip),
        Session(policy=STS, host="b.a.example", ip=GOOD.ip, sending_ip=GOOD.sending_ip),
        Session(policy=STS, host=GOOD.host, ip="192.0.2.2", sending_ip=GOOD.sending_ip),
        Session(policy=STS, host=GOOD.host, ip=GOOD.ip),
        Session(policy=STS, failure="sts-policy-invalid", counts=True),
        Session(policy=STS, failure="sts-policy-invalid", counts=False),
    ]
    book(*alike)
    book(GOOD, at=NOON + timedelta(days=1))
    assert ledger.flush_tls_sessions() == 8
    assert {one.session for one in ledger.tls_counted(DAY, "example.com")} == set(alike)
    assert ledger.tls_counted(DAY + timedelta(days=1), "example.com") == (Counted(GOOD, 1),)
    assert ledger.tls_domains(DAY) == ["example.com"]
    assert ledger.tls_domains(DAY - timedelta(days=1)) == []


def test_the_day_is_that_of_utc():
    """Whatever the clock on the wall shows."""
    east = datetime(2026, 11, 22, 1, tzinfo=UTC)
    book(GOOD, at=east)
    ledger.flush_tls_sessions()
    assert TLSResult.objects.get().day == date(2026, 11, 22)


def test_a_site_can_do_without(settings):
    """Then nothing is counted; and a setting that cannot be read breaks no delivery."""
    for value in (False, "yes"):
        settings.SMTPX_TLSRPT = value
        book(GOOD)
    assert ledger.flush_tls_sessions() == 0
    assert not TLSResult.objects.exists()


def fail_with(monkeypatch, error):
    """Let the next statement that writes a count fail."""
    add = tls_results._add

    def fail(*args):
        monkeypatch.setattr(tls_results, "_add", add)
        raise error

    monkeypatch.setattr(tls_results, "_add", fail)


def test_a_database_that_is_away_keeps_nobody_waiting(monkeypatch, caplog):
    """What could not be written is written the next time, and nothing twice."""
    book(GOOD, BAD)
    fail_with(monkeypatch, OperationalError("database is locked"))
    assert ledger.flush_tls_sessions() == 0
    assert "could not be written" in caplog.text
    book(GOOD)
    assert ledger.flush_tls_sessions() == 2
    assert set(ledger.tls_counted(DAY, "example.com")) == {Counted(GOOD, 2), Counted(BAD, 1)}


def test_a_row_that_cannot_be_written_does_not_stop_the_others(monkeypatch, caplog):
    """It is left out, once."""
    book(GOOD, BAD)
    fail_with(monkeypatch, DataError("too long"))
    assert ledger.flush_tls_sessions() == 1
    assert "left out" in caplog.text
    assert ledger.flush_tls_sessions() == 0


def test_memory_has_a_bound(monkeypatch):
    """While nothing can be written, no more than so many groups are kept."""
    monkeypatch.setattr(tls_results, "MOST", 2)
    book(*(Session(policy=STS, host=f"{n}.example") for n in range(5)))
    book(Session(policy=STS, host="0.example"))
    assert ledger.flush_tls_sessions() == 2
    assert sorted(one.times for one in ledger.tls_counted(DAY, "example.com")) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_inside_a_callers_transaction_nothing_is_written():
    """It could be rolled back, and would keep others from writing."""
    book(GOOD)
    with transaction.atomic():
        assert ledger.flush_tls_sessions() == 0
    assert ledger.flush_tls_sessions() == 1


@pytest.mark.django_db(transaction=True)
def test_many_processes_count_the_same_at_once():
    """No session is lost between two that write the first row of a day."""
    barrier = threading.Barrier(4)
    key = tls_results._Key(DAY, GOOD)

    def write():
        barrier.wait()
        try:
            for _ in range(5):
                tls_results._add(key, 1, "default")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        for one in [workers.submit(write) for _ in range(4)]:
            one.result()
    assert ledger.tls_counted(DAY, "example.com") == (Counted(GOOD, 20),)


# -- reports that have gone ------------------------------------------------------------------------


def begin(target="mailto:a@b.example", at=NOON, domain="example.com"):
    """Take a report on."""
    return ledger.begin_tls_report(DAY, domain, target, "id", at)


def test_a_report_goes_once():
    """To each place; whoever comes later has nothing to do."""
    row = begin()
    ledger.end_tls_report(row, NOON)
    assert begin(at=NOON + timedelta(days=1)) is None
    assert begin("https://b.example") is not None
    assert begin(domain="example.org") is not None
    assert TLSReport.objects.get(pk=row.pk).sent_at == NOON


def test_a_report_that_failed_goes_later():
    """At once, if it is known that it did not go."""
    ledger.end_tls_report(begin(), NOON, "500 Oops")
    again = begin()
    assert (again.failure, again.sent_at) == ("", None)
    ledger.end_tls_report(again, NOON)
    assert begin() is None


def test_a_report_on_its_way_is_left_alone():
    """Until whoever had it must have died."""
    assert begin() is not None
    assert begin(at=NOON + SENDING - timedelta(seconds=1)) is None
    assert begin(at=NOON + SENDING) is not None
    assert begin(at=NOON + SENDING) is None


def test_the_retention_takes_counts_and_reports():
    """With the log, by their day."""
    book(GOOD)
    book(GOOD, at=NOON + timedelta(days=5))
    ledger.flush_tls_sessions()
    begin()
    ledger.purge(NOON + timedelta(days=7), timedelta(days=1), timedelta(days=6))
    assert [row.day for row in TLSResult.objects.all()] == [date(2026, 11, 26)]
    assert not TLSReport.objects.exists()


def test_a_row_names_itself():
    """For whoever looks at it in a shell."""
    book(GOOD, BAD)
    ledger.flush_tls_sessions()
    said = sorted(map(str, TLSResult.objects.all()))
    assert said[1] == "2026-11-21 example.com mx.a.example ok: 1"
    assert str(begin()) == "2026-11-21 example.com: mailto:a@b.example"
    assert timezone.is_aware(TLSReport.objects.get().tried_at)
