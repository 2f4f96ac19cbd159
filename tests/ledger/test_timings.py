"""How long phases took: counted in memory, and added to the rows by one statement now and then."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.mail import EmailMessage
from django.db import OperationalError, connection, transaction

from django_smtpx import ledger
from django_smtpx.config import get_mailer
from django_smtpx.delivery import drain
from django_smtpx.ledger import timings
from django_smtpx.ledger.timings import Timed
from django_smtpx.models import PHASE_WITHIN, Timing
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_counted():
    """Begin and end with nothing in memory, and write when asked to."""
    timings._buffer.start_clean()
    yield
    timings._buffer.start_clean()
    default_pool.close()


def replies():
    """Return how many waits of each phase are on record, by mailer and phase."""
    found = {}
    for one in ledger.timed_in_all():
        key = one.mailer, one.phase
        found[key] = found.get(key, 0) + one.replies
    return found


def test_waits_are_added_to_what_is_there(django_assert_num_queries):
    """By mailer, phase and bucket; counting costs no statement, and writing one for all."""
    with django_assert_num_queries(0):
        ledger.time_phases("default", {"mail": 0.25, "eod": 2.0})
        ledger.time_phases("default", {"mail": 0.2})
    with django_assert_num_queries(1):
        assert ledger.flush_timings() == 2
    ledger.time_phases("default", {"mail": 0.15, "eod": 1000.0})
    with django_assert_num_queries(1):
        assert ledger.flush_timings(at_once=True) == 2
    mail, eod, late = 1 + PHASE_WITHIN.index(0.25), 1 + PHASE_WITHIN.index(2.5), len(PHASE_WITHIN)
    assert ledger.timed_in_all() == [
        Timed("default", "eod", eod, 1, 2.0),
        Timed("default", "eod", late + 1, 1, 1000.0),
        Timed("default", "mail", mail, 3, pytest.approx(0.6)),
    ]


def test_mailers_that_differ_in_case_are_two():
    """Whatever the collation takes for the same."""
    for name in ("a", "A", ""):
        ledger.time_phases(name, {"mail": 0.1})
    ledger.flush_timings()
    assert sorted(one.mailer for one in ledger.timed_in_all()) == ["", "A", "a"]


def test_one_process_writes_now_and_then(monkeypatch, django_assert_num_queries):
    """A worker with a mail each second has not one more statement for each."""
    ledger.time_phases("default", {"mail": 0.1})
    assert ledger.flush_timings() == 1
    ledger.time_phases("default", {"mail": 0.1})
    with django_assert_num_queries(0):
        assert ledger.flush_timings() == 0
    monkeypatch.setattr(timings._buffer, "_due_at", 0.0)
    assert ledger.flush_timings() == 1
    assert replies() == {("default", "mail"): 2}


def test_a_database_that_is_away_keeps_nobody_waiting(monkeypatch, caplog):
    """What could not be written is written the next time, and nothing twice."""
    monkeypatch.setattr(timings, "_ROWS", 2)
    add = timings._add
    calls = []

    def fail(timed, using):
        calls.append(len(timed))
        if len(calls) == 2:
            raise OperationalError("gone")
        add(timed, using)

    monkeypatch.setattr(timings, "_add", fail)
    ledger.time_phases("default", {"connect": 1, "ehlo": 1, "mail": 1, "rcpt": 1, "data": 1})
    assert ledger.flush_timings() == 2
    assert "could not be written" in caplog.text
    assert ledger.flush_timings(at_once=True) == 3
    assert calls == [2, 2, 2, 1]
    assert set(replies().values()) == {1}
    assert len(replies()) == 5


@pytest.mark.django_db(transaction=True)
def test_inside_a_callers_transaction_nothing_is_written():
    """It could be rolled back, and would keep others from writing."""
    ledger.time_phases("default", {"mail": 0.1})
    with transaction.atomic():
        assert ledger.flush_timings(at_once=True) == 0
    assert ledger.flush_timings() == 1


@pytest.mark.django_db(transaction=True)
def test_many_processes_add_to_the_same_at_once():
    """No wait is lost between two, and none of them is chosen to fail for the other."""
    barrier = threading.Barrier(4)
    timed = [Timed("default", phase, 1, 1, 0.5) for phase in ("data", "eod", "mail", "rcpt")]

    def write():
        barrier.wait()
        try:
            for _ in range(5):
                timings._add(timed, "default")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        for one in [workers.submit(write) for _ in range(4)]:
            one.result()
    assert [(one.replies, one.seconds) for one in ledger.timed_in_all()] == [(20, 10.0)] * 4


def test_a_drain_writes_what_it_waited_for():
    """At its end, and each phase as often as there was one."""
    with ScriptedServer() as server, real_queue(server):
        for _ in range(3):
            EmailMessage("Subject", "Body", "from@example.com", ["a@example.com"]).send()
        assert drain(get_mailer("default")) == 3
        name = get_mailer("default").name
    once, thrice = ("resolve", "connect", "greeting", "ehlo"), ("mail", "rcpt", "data", "eod")
    assert replies() == {(name, phase): 1 for phase in once} | {
        (name, phase): 3 for phase in thrice
    }
    assert Timing.objects.filter(seconds__lt=0).count() == 0


def test_a_session_that_cannot_be_had_is_waited_for_too():
    """A host that does not answer is what one looks for."""
    with real_queue(host="127.0.0.1", port=1):
        EmailMessage("Subject", "Body", "from@example.com", ["a@example.com"]).send()
        drain(get_mailer("default"))
    assert replies() == {("default", "connect"): 1}


@pytest.mark.django_db(transaction=True)
def test_mail_that_is_sent_at_once_counts():
    """The process that sends it writes, once its attempt is committed."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        EmailMessage("Subject", "Body", "from@example.com", ["a@example.com"]).send()
    assert replies()["default", "eod"] == 1
