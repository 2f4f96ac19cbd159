"""A drain that ends at any of its calls, to the database or to the network, and what is left then.

Whatever it was that ended it: after a while everything is settled, nothing is
lost, nothing is said that is not so, and what went twice has an attempt that
says that its outcome was not known.
"""

from __future__ import annotations

import gc
from collections import Counter
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import chunk, draining
from django_smtpx.mailer import Way
from django_smtpx.models import (
    Attempt,
    Content,
    Delivery,
    Message,
    RateWindow,
    Route,
    Slot,
    Suppression,
)
from django_smtpx.smtp.pool import default_pool
from django_smtpx.smtp.transport import Transport
from django_smtpx.testing import Close, ScriptedServer, real_queue
from tests.factories import stored

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
    # What is gone closes nothing: the system does.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MAILS = [
    ("a@example.com", "no@example.com"),
    ("b@example.com", "many@example.com"),
    ("c@example.com",),
]
NETWORK = ("send", "receive", "readable", "ready")
ROUNDS = 10
# What the database says of a transaction, not what is asked of it.
UNSAID = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA")


def script():
    """Refuse one, put one off at first, and hang up behind the second mail's dot."""
    return {
        "RCPT": {"no@*": "550 5.1.1 No", "many@*": ["452 4.5.3 Too many recipients"]},
        "EOD": [None, Close()],
    }


@pytest.fixture(autouse=True)
def _collected():
    """Let the sockets that a dead process left open be found here, where that is no fault."""
    yield
    gc.collect()


class Killed(BaseException):
    """SIGKILL: nothing of what the process does after that takes effect."""


class Stop(Exception):
    """A soft time limit: raised once, and what is done after that counts."""


class Calls:
    """Counts the calls of a drain, and ends it at one of them: before it is made, or behind it."""

    def __init__(self, error, at, *, behind=False, for_ever=False, network=True):
        self.error = error
        self.at = at
        self.behind = behind
        self.for_ever = for_ever
        self.network = network
        self.count = 0
        self.reached = False

    def call(self, do, *args):
        """Make a call of the drain."""
        self.count += 1
        if self.reached and self.for_ever:
            raise self.error
        if self.count != self.at:
            return do(*args)
        self.reached = True
        if self.behind:
            do(*args)
        if isinstance(self.error, Killed):
            if connection.in_atomic_block:
                connection.connection.rollback()
            connection.close()
        raise self.error

    def execute(self, run, sql, *args):
        """Run a statement of the drain."""
        return run(sql, *args) if sql.startswith(UNSAID) else self.call(run, sql, *args)

    def watch(self, patch):
        """Put this between the drain and what it calls."""
        if self.network:
            for name in NETWORK:
                patch.setattr(Transport, name, self._through(getattr(Transport, name)))
        # Django itself does not survive any other exception in there.
        if not isinstance(self.error, Stop):
            commit = self._through(BaseDatabaseWrapper._commit)
            patch.setattr(BaseDatabaseWrapper, "_commit", commit)
        return connection.execute_wrapper(self.execute)

    def _through(self, method):
        return lambda *args: self.call(method, *args)


def drain_until_it_ends(calls, monkeypatch):
    """Run one drain to where ``calls`` ends it, and leave the process behind."""
    with monkeypatch.context() as patch, calls.watch(patch):
        patch.setattr(draining.time, "sleep", lambda seconds: None)
        try:
            delivery.drain(get_mailer("default"), stops=(Stop,))
        except (Killed, Stop, OperationalError) as error:
            # Its frames hold what a process that is gone does not.
            error.__traceback__ = None
    leave_process()


def leave_process():
    """Forget what only the process knew."""
    default_pool.close()
    pacing.forget_resting()


def come_to_rest():
    """Let time pass, and the sweep and the next drains do their work, until nothing waits."""
    for _ in range(ROUNDS):
        waiting = Delivery.objects.filter(status__in=("queued", "deferred", "sending"))
        if not waiting.exists():
            return
        passed = timezone.now() - timedelta(days=1)
        waiting.filter(status="sending").update(lease_expires_at=passed)
        waiting.exclude(next_attempt_at=None).update(next_attempt_at=passed)
        Route.objects.exclude(paused_until=None).update(paused_until=passed)
        Slot.objects.update(expires_at=passed)
        delivery.run_until_idle()
        leave_process()
    pytest.fail("It does not come to rest.")


def taken_by(server):
    """Count how often the server took, or may have taken, a message for a recipient."""
    return Counter(
        (received.parsed()["Message-ID"], recipient)
        for received in server.messages
        for recipient in received.recipients
    )


def untruths(server, *, at_rest):
    """Return each delivery whose rows do not say what happened to it."""
    taken = taken_by(server)
    found = []
    for row in Delivery.objects.select_related("message"):
        count = taken.pop((row.message.message_id, row.recipient), 0)
        numbers, outcomes = [], []
        for number, outcome in row.attempts.order_by("number").values_list("number", "outcome"):
            numbers.append(number)
            outcomes.append(outcome)
        unknown = outcomes.count("unknown")
        true = numbers == list(range(1, row.attempt_count + 1)) and outcomes.count("sent") <= 1
        if row.status == "sent":
            true &= 1 <= count <= 1 + unknown
        elif row.status == "sending":
            true &= not at_rest and (row.marked or count <= unknown)
        elif row.status == "failed":
            true &= row.recipient == "no@example.com" and count == 0
        else:
            true &= count <= unknown
        if at_rest:
            doubtful = row.message.deliveries.filter(status="unknown").exists()
            true &= (row.message.settled_at is None) == doubtful
        if get_mailer("default").on_unknown == "hold":
            true &= count <= 1
        if not true:
            found.append((row.recipient, row.status, count, outcomes))
    return found + list(taken)


PLAIN = {"messages_per_connection": 2}
WINDOW = {"messages_per_connection": 3, "chunking_window": 3}
"""All mails are under way at once."""

AT_MOST_ONCE = {"messages_per_connection": 2, "on_unknown": "hold"}
"""What may have been taken is never sent again."""

PACED = {"messages_per_connection": 2, "rate": "1000/s", "suppression": True}
"""Contents are counted, and an address goes on the list."""


ON_AND_ON = {"messages_per_connection": 5}
"""A session goes from chunk to chunk, of a mail or two each."""

FAR_AHEAD = {"messages_per_connection": 5, "chunking_window": 2}
"""As does one that sends contents ahead."""


def each_call(monkeypatch, error, options=PLAIN, **how):
    """End a drain at its first call, its second, and so on, and look at what is left of it."""
    chunking = "chunking_window" in options
    if options in (ON_AND_ON, FAR_AHEAD):
        monkeypatch.setattr(chunk, "MAX_MESSAGES", 2 if chunking else 1)
    at, reached = 0, True
    while reached:
        at += 1
        for model in (Suppression, Attempt, Content, Delivery, Message, Route, Slot, RateWindow):
            model.objects.all().delete()
        with (
            ScriptedServer(script(), chunking=chunking) as server,
            real_queue(server, **options),
        ):
            for recipients in MAILS:
                stored(*recipients)
            calls = Calls(error, at, **how)
            drain_until_it_ends(calls, monkeypatch)
            reached = calls.reached
            assert untruths(server, at_rest=False) == [], f"at call {at}"
            come_to_rest()
            assert untruths(server, at_rest=True) == [], f"at call {at}"
    assert at > 30


@pytest.mark.parametrize(
    "options",
    [PLAIN, WINDOW, AT_MOST_ONCE, PACED, ON_AND_ON, FAR_AHEAD],
    ids=["plain", "window", "at most once", "paced", "on and on", "far ahead"],
)
def test_killed_at_each_call(monkeypatch, options):
    """A worker may die at any instruction."""
    each_call(monkeypatch, Killed(), options, for_ever=True)


@pytest.mark.parametrize(
    "options",
    [PLAIN, WINDOW, ON_AND_ON, FAR_AHEAD],
    ids=["plain", "window", "on and on", "far ahead"],
)
def test_stopped_at_each_call(monkeypatch, options):
    """A soft time limit may fall anywhere."""
    each_call(monkeypatch, Stop(), options)


@pytest.mark.parametrize("options", [PLAIN, ON_AND_ON], ids=["plain", "on and on"])
def test_the_database_loses_an_answer_at_each_call(monkeypatch, options):
    """What was written may come back as an error, and is not written twice."""
    each_call(monkeypatch, OperationalError("gone"), options, behind=True, network=False)


@pytest.mark.parametrize("options", [PLAIN, FAR_AHEAD], ids=["plain", "far ahead"])
def test_the_database_is_gone_from_each_call_on(monkeypatch, options):
    """The database may go away, with the mail that is under way still on the wire."""
    each_call(monkeypatch, OperationalError("gone"), options, for_ever=True, network=False)


def test_what_ends_by_itself_leaves_nothing_behind(monkeypatch):
    """A drain that nothing ends keeps no row, lease or slot."""
    with ScriptedServer(script()) as server, real_queue(server, idle_timeout=0):
        for recipients in MAILS:
            stored(*recipients)
        drain_until_it_ends(Calls(Killed(), 0), monkeypatch)
        assert untruths(server, at_rest=False) == []
        assert not Delivery.objects.filter(status="sending").exists()
        assert not Delivery.objects.exclude(lease_token=None).exists()
        assert pacing.has_free_slot(Way(get_mailer("default")), ledger.now())
        assert not Slot.objects.exclude(token=None).exists()
