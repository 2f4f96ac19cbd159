"""What a drain asks of the database before and behind the mail that it sends."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import claims as claims_module
from django_smtpx.delivery.claims import Claims
from django_smtpx.ledger import clock
from django_smtpx.ledger.clock import Reading
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Delivery
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db(transaction=True)

Lane = Delivery.Lane


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def looks(monkeypatch):
    """Return what each look found, in order."""
    found = []
    look = ledger.ready_lanes

    def watched(*args):
        found.append(look(*args))
        return found[-1]

    monkeypatch.setattr(ledger, "ready_lanes", watched)
    return found


def drained():
    """Drain, and return the statements that took, without those about transactions and those that
    read the clock: on a machine with much to do it is read again.
    """
    with CaptureQueriesContext(connection) as queries:
        delivery.drain(get_mailer("default"))
    words = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
    told = [one["sql"] for one in queries if one["sql"].startswith(words)]
    return [sql for sql in told if not sql.startswith(clock._NOW[connection.vendor])]


def claims(linger=0.0):
    """Return the claims of a course of the mailer."""
    return Claims(Way(Mailer(name="default", hosts=())), lambda: 0.0, linger)


def recipients(claimed):
    """Return who is on the rows of a claim."""
    return None if claimed is None else [row.recipient for row in claimed[1]]


def test_a_drain_that_finds_no_mail_asks_for_no_more():
    """Two statements: one for mail of another transport, and one for any of its own."""
    with ScriptedServer() as server, real_queue(server):
        drained()
        assert len(drained()) == 2


def test_a_drain_that_finds_no_mail_writes_what_others_have_timed(monkeypatch):
    """Nobody else of this process may come for long."""
    flushed = []
    monkeypatch.setattr(ledger, "flush_timings", lambda: flushed.append(True))
    with ScriptedServer() as server, real_queue(server):
        assert delivery.drain(get_mailer("default")) == 0
    assert flushed == [True]


def test_a_drain_of_a_single_mail_takes_few_statements():
    """Most are: as many as hints find one mail each."""
    with ScriptedServer() as server, real_queue(server):
        stored()
        drained()
        stored()
        most = 16 if connection.vendor == "postgresql" else 21
        assert len(drained()) <= most
        assert len(server.messages) == 2


def test_what_is_found_is_claimed_and_nothing_else(monkeypatch):
    """A lane that was seen to be without mail costs no claim."""
    lanes = []
    claim = ledger.claim

    def watched(*args, **values):
        lanes.append(values["lane"])
        return claim(*args, **values)

    monkeypatch.setattr(ledger, "claim", watched)
    stored("retry@example.com").deliveries.update(lane=Lane.AGAIN, attempt_count=1)
    ours = claims()
    assert ours.has_some()
    assert recipients(ours.claim(10)) == ["retry@example.com"]
    assert lanes == [Lane.AGAIN]
    assert not ours.has_some()


def test_a_claim_that_is_full_is_followed_by_another_without_a_look(looks):
    """Whether there is more is seen by the claim itself."""
    for number in range(3):
        stored(f"{number}@example.com")
    ours = claims()
    assert ours.has_some()
    assert len(recipients(ours.claim(2))) == 2
    assert ours.has_some()
    assert len(looks) == 1
    assert len(recipients(ours.claim(2))) == 1
    assert not ours.has_some()
    assert looks == [{Lane.READY}, set()]


def test_mail_that_cannot_be_claimed_is_not_looked_for_again_and_again(looks):
    """What has expired, or what another is about to take, is seen, and is not to be had."""
    stored(expires_at=timezone.now() - timedelta(seconds=1))
    ours = claims()
    assert ours.has_some()
    assert ours.claim(10) is None
    assert not ours.has_some()
    assert looks == [{Lane.READY}]
    with ScriptedServer() as server, real_queue(server):
        assert delivery.drain(get_mailer("default")) == 0


@pytest.mark.parametrize("comes", [True, False])
def test_hints_that_were_coalesced_are_waited_for_once(monkeypatch, looks, comes):
    """At the end or at the beginning, whichever is first without mail."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if comes:
            stored()

    monkeypatch.setattr(claims_module, "time", SimpleNamespace(sleep=sleep))
    ours = claims(linger=0.1)
    assert ours.has_some() is comes
    if comes:
        assert recipients(ours.claim(10)) == ["to@example.com"]
    assert not ours.has_some()
    assert waits == [0.1]
    assert looks == ([set(), {Lane.READY}, set()] if comes else [set(), set()])


def test_a_drain_that_finds_no_slot_does_not_wait_for_hints(monkeypatch):
    """Others are at work, and look again themselves; this process has more to do."""
    waits = []
    monkeypatch.setattr(claims_module, "time", SimpleNamespace(sleep=waits.append))
    with ScriptedServer() as server, real_queue(server, max_connections=1):
        mailer = get_mailer("default")
        slot = pacing.take_slot(Way(mailer), ledger.now(), 1)
        assert delivery.drain(mailer, linger=0.1) == 0
        assert waits == []
        pacing.free_slot(slot, ledger.now())
        assert delivery.drain(mailer, linger=0.1) == 0
        assert waits == [0.1]


def test_suspects_are_claimed_one_by_one_before_the_others():
    """Until there are no more; then it is seen what there is besides."""
    for number in range(2):
        stored(f"{number}@example.com").deliveries.update(lane=Lane.ALONE)
    stored("new@example.com")
    ours = claims()
    assert ours.has_some()
    found = []
    while ours.has_suspects():
        found.append(recipients(ours.claim_suspect()))
    assert found == [["0@example.com"], ["1@example.com"], None]
    assert ours.has_some()
    assert recipients(ours.claim(10)) == ["new@example.com"]


def test_all_goes_in_one_drain():
    """Suspects, what is new, and what was tried before."""
    with ScriptedServer() as server, real_queue(server):
        stored("retry@example.com").deliveries.update(lane=Lane.AGAIN, attempt_count=1)
        stored("alone@example.com").deliveries.update(lane=Lane.ALONE)
        stored("new@example.com")
        assert delivery.drain(get_mailer("default")) == 3
        names = [one.recipients[0].partition("@")[0] for one in server.messages]
    assert names == ["alone", "new", "retry"]
    assert statuses() == ["sent"] * 3


def test_a_lease_begins_by_a_reading_that_is_fresh(monkeypatch):
    """The database's clock is asked once a second; by an old reading no lease begins."""
    taken = []
    ask = ledger.reading
    monkeypatch.setattr(ledger, "reading", lambda: taken.append(ask()) or taken[-1])
    monkeypatch.setattr(Reading, "fresh", lambda reading: True)
    for number in range(3):
        stored(f"{number}@example.com")
    ours = claims()
    first, _ = ours.claim(1)
    second, _ = ours.claim(1)
    assert len(taken) == 1
    monkeypatch.setattr(Reading, "fresh", lambda reading: False)
    ours.claim(1)
    assert len(taken) == 2
    rows = Delivery.objects.filter(lease_token__in=[first.token, second.token])
    now = ledger.now()
    for expires in rows.values_list("lease_expires_at", flat=True):
        assert abs((expires - now).total_seconds() - first.seconds) < 5
    assert first.valid()
