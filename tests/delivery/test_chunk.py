"""A few jobs on one session."""

from __future__ import annotations

from collections import deque
from uuid import uuid4

import pytest
from django.db import OperationalError

from django_smtpx import ledger
from django_smtpx.delivery import chunk as chunk_module
from django_smtpx.delivery.chunk import Chunk
from django_smtpx.delivery.jobs import jobs_of
from django_smtpx.mailer import Mailer
from django_smtpx.models import Content, Delivery
from django_smtpx.smtp import Outcome
from tests.factories import booking, claimed, result, statuses, stored

MAILER = Mailer(name="default", hosts=())

pytestmark = pytest.mark.django_db


class Session:
    """Stands in for the wire: says what it is told to, after asking what a session asks."""

    interrupted = ()

    def __init__(self, during=None):
        self.during = during

    def transact(self, envelopes, watch):
        """Send each envelope that may be sent."""
        for envelope in envelopes:
            if self.during is not None:
                self.during(watch)
            if not watch.may_send(envelope):
                return
            yield Outcome(envelope, tuple(result(r) for r in envelope.recipients))


def make(count=3, **changes):
    """Store and claim so many mails; return the lease, the jobs and the chunk of them."""
    for number in range(count):
        stored(f"{number}@example.com")
    lease, rows = claimed()
    pending = deque(jobs_of(rows))
    calls = {
        "envelope": lambda job, content: job.envelope(content, MAILER),
        "book": lambda outcome, job: [booking(row) for row in job.rows],
        "settle": lambda *what: ledger.settle_and_mark(lease, *what)[1],
        "keep_alive": lambda: None,
        **changes,
    }
    return lease, pending, Chunk(lease, pending, **calls)


def test_all_are_marked_sent_and_settled():
    """A job leaves the queue when its outcome is written."""
    _, pending, chunk = make()
    assert chunk.mark()
    assert Delivery.objects.filter(marked=True).count() == 3
    assert (chunk.send(Session()), chunk.sent) == (3, 3)
    assert not pending
    assert statuses() == ["sent"] * 3


def test_no_more_are_marked_than_is_allowed_at_once(monkeypatch):
    """What comes next is marked when what was marked has been begun, and is settled with it."""
    monkeypatch.setattr(chunk_module, "MAX_MESSAGES", 2)
    at_once = []

    def look(watch):
        at_once.append((statuses().count("sent"), Delivery.objects.filter(marked=True).count()))

    _, pending, chunk = make(5)
    chunk.mark()
    assert chunk.send(Session(during=look)) == 5
    assert at_once == [(0, 2), (0, 2), (2, 2), (2, 2), (4, 1)]
    assert statuses() == ["sent"] * 5
    assert not pending


def test_no_more_go_than_the_session_may_carry():
    """A session's own limit ends the chunk, however much is marked at once."""
    _, pending, chunk = make(3, most=2)
    chunk.mark()
    assert chunk.send(Session()) == 2
    assert len(pending) == 1
    assert Delivery.objects.filter(marked=True).count() == 0


def test_no_more_is_marked_where_the_drain_has_something_else_to_do(monkeypatch):
    """It is asked each time before more is marked."""
    monkeypatch.setattr(chunk_module, "MAX_MESSAGES", 1)
    answers = iter([True, False])
    _, pending, chunk = make(4, go_further=lambda: next(answers))
    chunk.mark()
    assert chunk.send(Session()) == 2
    assert [row.recipient for job in pending for row in job.rows] == [
        "2@example.com",
        "3@example.com",
    ]


def test_a_lease_that_is_lost_meanwhile_ends_it(monkeypatch):
    """Nothing of what could not be marked is sent, and what is known is written."""
    monkeypatch.setattr(chunk_module, "MAX_MESSAGES", 1)
    parts = []

    def lose(bookings, rows, meanwhile):
        if bookings:
            Delivery.objects.filter(pk=rows[0].pk).update(lease_token=uuid4())
        return ledger.settle_and_mark(parts[0], bookings, rows)[1]

    lease, _, chunk = make(3, settle=lose)
    parts.append(lease)
    chunk.mark()
    assert chunk.send(Session()) == 1
    assert chunk.lost
    assert statuses() == ["sent", "sending", "sending"]


def test_what_has_no_content_fails_and_is_not_sent():
    """A mail whose content was purged is settled, and its neighbours go."""
    stored("gone@example.com")
    Content.objects.all().delete()
    _, pending, chunk = make(1)
    assert chunk.mark()
    assert chunk.send(Session()) == 1
    assert statuses() == ["failed", "sent"]
    assert not pending


def test_what_is_known_is_written_each_second():
    """After a second of sending nothing more is begun before what is known is written."""
    times = iter([0.0, 0.0, 0.5, 0.6, 0.9, 1.0, 1.5])
    written = []
    _, pending, chunk = make(3, clock=lambda: next(times, 1.6))
    chunk.mark()
    chunk.send(Session(during=lambda watch: written.append(statuses().count("sent"))))
    assert written == [0, 0, 2]
    assert not pending


def test_what_was_sent_ahead_is_written_each_second_as_it_is_answered():
    """Though nothing more is begun meanwhile, and no single answer is long awaited."""
    now = [0.0]
    written = []

    class Ahead(Session):
        def transact(self, envelopes, watch):
            for envelope in [one for one in envelopes if watch.may_send(one)]:
                written.append(statuses().count("sent"))
                now[0] += 0.6
                yield Outcome(envelope, tuple(result(r) for r in envelope.recipients))

    _, _, chunk = make(5, clock=lambda: now[0])
    chunk.mark()
    assert chunk.send(Ahead()) == 5
    assert written == [0, 0, 2, 2, 4]


def test_a_long_wait_writes_renews_and_gives_back():
    """While a reply is awaited, what is known is written and what was not begun goes back."""
    kept = []
    times = iter([0.0, 0.0])
    _, pending, chunk = make(3, keep_alive=lambda: kept.append(1), clock=lambda: next(times, 20.0))
    chunk.mark()
    assert chunk.send(Session(during=lambda watch: watch.waiting(6.0))) == 1
    assert kept
    assert not pending
    assert statuses() == ["sent", "queued", "queued"]


def test_a_database_that_fails_meanwhile_stops_the_feed(caplog):
    """The reply under way is read, and nothing more is sent."""

    def fail():
        raise OperationalError("gone")

    times = iter([0.0, 0.0])
    _, pending, chunk = make(2, keep_alive=fail, clock=lambda: next(times, 20.0))
    chunk.mark()
    assert chunk.send(Session(during=lambda watch: watch.waiting(1.0))) == 1
    assert len(pending) == 1
    assert "cannot be written to" in caplog.text


def test_nothing_goes_once_the_drain_has_closed():
    """When the mailer is held meanwhile, not even what was sent ahead may have its content."""
    answers = iter([True, True, False])
    _, pending, chunk = make(3, go_on=lambda: next(answers, False))
    chunk.mark()
    assert chunk.send(Session()) == 1
    assert len(pending) == 2


def test_content_that_may_have_left_is_in_doubt():
    """Between the permission and the outcome a job is in doubt, and not before or after."""
    _, pending, chunk = make(1)
    chunk.mark()
    job = pending[0]
    assert not chunk.in_doubt(job)
    assert chunk.may_send(job.envelope(b"x", MAILER))
    assert chunk.in_doubt(job)
    chunk.send(Session())
    assert not chunk.in_doubt(job)


class Window(Session):
    """Sends some contents before the first of them is answered."""

    def __init__(self, width, then):
        super().__init__()
        self.width = width
        self.then = then

    def transact(self, envelopes, watch):
        """Ask for several contents, then see what happens while they are unanswered."""
        under_way = [envelope for envelope, _ in zip(envelopes, range(self.width), strict=False)]
        assert all(watch.may_send(envelope) for envelope in under_way)
        outcomes = [Outcome(each, tuple(result(r) for r in each.recipients)) for each in under_way]
        self.then(self, watch, outcomes)
        yield from outcomes


def test_a_long_wait_gives_back_what_is_not_under_way():
    """Of several contents under way each is kept, and only those behind them go back."""
    _, pending, chunk = make(5)
    assert chunk.mark()
    waits = Window(3, lambda session, watch, outcomes: watch.waiting(6.0))
    assert chunk.send(waits) == 3
    assert not pending
    assert sorted(statuses()) == ["queued", "queued", "sent", "sent", "sent"]


def test_a_long_wait_gives_back_what_was_found_unfit_behind():
    """A mail that cannot be sent to this server has its result unheard, where it went back."""
    _, pending, chunk = make(3)
    assert chunk.mark()

    class Unfit(Session):
        def transact(self, envelopes, watch):
            first, second = next(envelopes), next(envelopes)
            assert watch.may_send(first)
            watch.waiting(6.0)
            yield Outcome(first, (result(first.recipients[0]),))
            yield Outcome(second, (result(second.recipients[0], "failed", action="fail"),))

    assert chunk.send(Unfit()) == 1
    assert not pending
    assert sorted(statuses()) == ["queued", "queued", "sent"]


def test_a_stop_with_several_contents_under_way():
    """What is known of each of them is written, in their order."""
    _, pending, chunk = make(4)
    assert chunk.mark()

    def stop(session, watch, outcomes):
        session.interrupted = tuple(outcomes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chunk.send(Window(3, stop))
    assert (chunk.done, len(pending)) == (3, 1)
    assert not chunk.in_doubt(pending[0])
    assert sorted(statuses())[-3:] == ["sent"] * 3
