"""Mail that goes wrong beside mail that does not: refused senders, and what kills the worker."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import chunk as chunk_module
from django_smtpx.delivery import course
from django_smtpx.delivery.chunk import Chunk
from django_smtpx.models import Attempt, Delivery, Route
from django_smtpx.smtp.pool import default_pool
from django_smtpx.smtp.transport import Transport
from django_smtpx.testing import ScriptedServer, real_queue
from tests.delivery.passing import BEGAN, Clock
from tests.factories import composed

pytestmark = pytest.mark.django_db

NOT_OWNED = "553 5.7.1 Sender address rejected: not owned by user u"
NOT_OURS = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
NOT_NOW = "450 4.1.8 <bad@example.com>: Sender address rejected: Domain not found"

BY_REVERSE_PATH = {"MAIL": {"bad@*": NOT_OWNED}}
BY_FROM_HEADER = {"EOD": lambda talk, arg: NOT_OURS if b"From: bad@" in talk.content else None}


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    leave_process()


def leave_process():
    """Forget what only the process knew."""
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""
    return Clock(monkeypatch)


def store(*senders, priority=0):
    """Store a mail of each sender, in this order, at once."""
    mails = []
    for number, sender in enumerate(senders):
        mail = composed((f"{number}-{sender}",), sender=sender, from_header=sender)
        content = mail.content.replace(b"From: from@example.com", b"From: " + sender.encode())
        mails.append(
            ("default", composed((f"{number}-{sender}",), sender=sender, from_header=sender,
                                 content=content, message_id=mail.message_id, priority=priority))
        )  # fmt: skip
    ledger.store(mails)


def of(sender):
    """Return the deliveries of a sender."""
    return Delivery.objects.filter(message__envelope_sender=sender)


@pytest.mark.parametrize("options", [{}, {"pipelining": False}, {"chunking_window": 4}])
@pytest.mark.parametrize("script", [BY_REVERSE_PATH, BY_FROM_HEADER], ids=["mail", "eod"])
def test_one_refused_sender(clock, script, options):
    """It rests alone, after one attempt or so; all others' mail goes in the same drain."""
    others = [f"{name}@example.com" for name in "abcde"]
    store(*["bad@example.com", *others] * 40)
    chunking = "chunking_window" in options
    with ScriptedServer(script, chunking=chunking) as server, real_queue(server, **options):
        delivery.drain(get_mailer("default"))
        for sender in others:
            assert set(of(sender).values_list("status", "attempt_count")) == {("sent", 1)}
        assert len(server.messages) == 200
    refused = of("bad@example.com")
    assert Counter(refused.values_list("status", flat=True)).keys() <= {"deferred", "queued"}
    # As many as were under way when the first of them was refused.
    assert 1 <= Attempt.objects.exclude(outcome="sent").count() <= (4 if chunking else 2)
    assert set(refused.values_list("next_attempt_at", "step")) == {(None, 0)}
    assert not refused.filter(parked_at=None).exists()
    assert [route.sender for route in Route.objects.exclude(state="open")] == [
        "MAIL FROM <bad@example.com>" if script is BY_REVERSE_PATH else "From bad@example.com"
    ]


@pytest.mark.parametrize("script", [BY_REVERSE_PATH, BY_FROM_HEADER], ids=["mail", "eod"])
def test_a_refused_sender_with_the_most_urgent_mail(clock, script):
    """Claim upon claim that is all of a refused sender does not keep the others back."""
    store(*["bad@example.com"] * 250, priority=9)
    store(*["good@example.com"] * 30)
    with ScriptedServer(script) as server, real_queue(server):
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 30
        assert len(server.rejected) + Attempt.objects.filter(phase="mail").count() <= 2
        assert len(server.sessions) <= 2
        # And what is stored from then on is not tried at all.
        before = Attempt.objects.count()
        store(*["bad@example.com", "good@example.com"] * 5)
        delivery.drain(get_mailer("default"))
        assert Attempt.objects.count() == before + 5
    assert not of("good@example.com").exclude(status="sent").exists()


def test_a_sender_that_is_refused_for_now(clock):
    """Nobody has to do anything: one message probes after a quarter of an hour, and all goes."""
    refuse_twice = {"RCPT": {"*-bad@*": NOT_NOW}}
    store(*["bad@example.com", "good@example.com"] * 25)
    with ScriptedServer(refuse_twice) as server, real_queue(server):
        delivery.drain(get_mailer("default"))
        assert not of("good@example.com").exclude(status="sent").exists()
        tried = Attempt.objects.exclude(outcome="sent").count()
        assert tried <= 2
        for _ in range(6 * 14):
            clock.sweep_and_drain()
        assert Attempt.objects.exclude(outcome="sent").count() == tried
        for _ in range(6 * 3):
            clock.sweep_and_drain()
        assert Attempt.objects.exclude(outcome="sent").count() == tried + 1
        server.on("RCPT", None, match="*-bad@*")
        clock.forward(minutes=60)
        for _ in range(6 * 3):
            clock.sweep_and_drain()
        assert len(server.messages) == 50
    assert not Delivery.objects.exclude(status="sent").exists()
    assert not Delivery.objects.filter(step__gt=0).exists()


class Killed(BaseException):
    """SIGKILL: nothing of what the process does after that takes effect."""


class Poison:
    """One message that kills whoever handles it, where ``dies`` says."""

    def __init__(self, monkeypatch, recipient):
        self.monkeypatch = monkeypatch
        self.recipient = recipient
        self.deaths = 0
        self.dead = False

    def before_it_is_marked(self, patch):
        """Kill the worker as it reads the content."""
        contents = ledger.contents

        def read(rows):
            rows = list(rows)
            self.die_of(row.recipient for row in rows)
            return contents(rows)

        patch.setattr(chunk_module.ledger, "contents", read)

    def as_it_leaves(self, patch):
        """Kill the worker with the content on its way."""
        may_send = Chunk.may_send

        def leave(run, envelope):
            self.die_of(envelope.recipients)
            return may_send(run, envelope)

        patch.setattr(Chunk, "may_send", leave)

    def die_of(self, recipients):
        """Die if the poison is among them."""
        if self.recipient in recipients:
            self.deaths += 1
            self.dead = True
            raise Killed

    @contextmanager
    def process(self, dies):
        """Be a process that dies of it: from then on nothing it does takes effect."""
        self.dead = False

        def execute(run, *args):
            if self.dead:
                raise Killed
            return run(*args)

        def send(method):
            def through(*args):
                if self.dead:
                    raise Killed
                return method(*args)

            return through

        with self.monkeypatch.context() as patch, connection.execute_wrapper(execute):
            dies(self, patch)
            for name in ("send", "receive"):
                patch.setattr(Transport, name, send(getattr(Transport, name)))
            try:
                yield
            except Killed as error:
                error.__traceback__ = None
        leave_process()


def live_on(clock, poison, dies, hours=14):
    """Let time pass until nothing waits: each worker that dies is followed by another one."""
    end = clock.now + timedelta(hours=hours)
    waiting = Delivery.objects.filter(status__in=("queued", "deferred", "sending"))
    while waiting.exists() and clock.now < end:
        with poison.process(dies):
            woken = clock.sweep()
            for name in woken:
                delivery.drain(get_mailer(name))
        if not woken:
            # Either nothing is due, or the slots of those who died have not run out yet.
            pairs = waiting.values_list("next_attempt_at", "lease_expires_at")
            times = [time for pair in pairs for time in pair if time is not None]
            clock.now = max(clock.now, min(times, default=clock.now))
    return Counter(Delivery.objects.values_list("status", flat=True))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", [0, 25, 59])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_message_that_kills_before_it_is_marked(clock, monkeypatch, place):
    """It fails, with the reason, after three workers; its neighbours go once each.

    Those who were claimed with it wait for two leases; nobody else waits at all.
    """
    store(*["a@example.com", "b@example.com"] * 70)
    poison = Poison(monkeypatch, Delivery.objects.order_by("pk")[place].recipient)
    with ScriptedServer() as server, real_queue(server):
        assert live_on(clock, poison, Poison.before_it_is_marked) == {"sent": 139, "failed": 1}
        taken = Counter(recipient for mail in server.messages for recipient in mail.recipients)
    row = Delivery.objects.get(status="failed")
    assert row.recipient == poison.recipient
    assert "died 3 times" in row.reply
    assert poison.deaths == 3
    assert poison.recipient not in taken
    settled = list(Delivery.objects.order_by("pk").values_list("settled_at", flat=True))
    settled.remove(row.settled_at)
    assert max(settled[course.BATCH :]) - BEGAN <= timedelta(seconds=30)
    assert max(settled) - BEGAN <= 2 * timedelta(seconds=300) + timedelta(seconds=60)
    for recipient, count in taken.items():
        unknown = Attempt.objects.filter(delivery__recipient=recipient, outcome="unknown").count()
        assert count <= 1 + unknown


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", [0, 25, 59])
@pytest.mark.parametrize("on_unknown", ["retry", "hold"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_message_that_kills_as_it_leaves(clock, monkeypatch, place, on_unknown):
    """It is unknown after three workers (or one), with the reason; no neighbour waits for it."""
    store(*["a@example.com", "b@example.com", "c@example.com"] * 20)
    poison = Poison(monkeypatch, Delivery.objects.order_by("pk")[place].recipient)
    with ScriptedServer() as server, real_queue(server, on_unknown=on_unknown):
        statuses = live_on(clock, poison, Poison.as_it_leaves)
        taken = Counter(recipient for mail in server.messages for recipient in mail.recipients)
    row = Delivery.objects.get(recipient=poison.recipient)
    assert row.status == "unknown"
    assert "died" in row.reply
    # A worker that dies leaves 20 messages at most of which it is not known whether they went.
    if on_unknown == "hold":
        assert poison.deaths == 1
        assert set(statuses) == {"sent", "unknown"}
        assert statuses["unknown"] <= 20
        assert max(taken.values()) == 1
    else:
        assert poison.deaths == 3
        assert statuses == {"sent": 59, "unknown": 1}
        assert sum(taken.values()) <= 59 + 2 * 20
    for recipient, count in taken.items():
        unknown = Attempt.objects.filter(delivery__recipient=recipient, outcome="unknown").count()
        assert count <= 1 + unknown
    # Neighbours that were not begun are sent by the first worker that follows.
    beyond = Delivery.objects.filter(pk__gt=row.pk + 20, status="sent")
    assert not beyond.filter(attempt_count__gt=1).exists()
