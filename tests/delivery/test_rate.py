"""The option ``rate``, from the mailer's options to what a server gets to see."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import connection
from django.test import TransactionTestCase

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.ledger import clock as ledger_clock
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Attempt, Delivery, RateWindow, Route
from django_smtpx.pace import Rate, Window
from django_smtpx.pacing import meter as module
from django_smtpx.pacing.meter import Limit, Meter
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.delivery.passing import BEGAN, Clock
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db

THROTTLED = "454 Throttling failure: Maximum sending rate exceeded."


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""
    return Clock(monkeypatch)


def stamping(clock, **script):
    """Return a server, and the times at which contents came."""
    times = []

    def stamp(conversation, arg):
        times.append(clock.seconds())

    return ScriptedServer({"EOD": stamp, **script}), times


def store(count):
    """Store so many mails."""
    for number in range(count):
        stored(f"{number}@example.com")


def fullest(times, seconds):
    """Return how many of ``times`` the fullest window of that length holds."""
    return max(bisect_left(times, at + seconds) - number for number, at in enumerate(times))


def counted(rate="1/s"):
    """Return how many contents are on record for the default mailer."""
    window = Window.load(RateWindow.objects.get().counts, Rate.parse(rate))
    return sum(number for _, number in window.counts)


def test_so_many_a_day(clock):
    """A day's number goes at once, the next one a day later, and none of it is left unused."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="48/d"):
        store(48 * 4)
        while "queued" in statuses():
            clock.sweep_and_drain()
            turn = pacing.opens_at(Way(get_mailer("default")), clock.now)
            # Sweeps that have nothing to wake are left out.
            clock.now = max(clock.now, turn - timedelta(seconds=15))
    assert set(statuses()) == {"sent"}
    assert fullest(times, 86400) == 48
    assert 3 * 86400 <= times[-1] - times[0] <= 3 * 86400 / 0.95


def test_mail_that_comes_over_the_day_slides_with_it(clock):
    """What left in the morning makes room in the next morning, not at midnight."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="24/d"):
        for hour in range(48):
            store(1 if hour < 24 else 2)
            clock.now = clock.now.replace(minute=0, second=0) + timedelta(hours=1)
            clock.sweep_and_drain()
            clock.sweep_and_drain()
    assert fullest(times, 86400) == 24
    assert len(times) >= 0.95 * 48


def test_what_must_wait_for_long_is_given_back_untouched(clock):
    """A drain whose turn is more than ten seconds away ends, and nothing has happened to its mail."""
    server, _ = stamping(clock)
    with server, real_queue(server, rate="2/m"):
        store(5)
        before = list(Delivery.objects.order_by("pk").values())
        assert delivery.drain(get_mailer("default")) == 2
        assert not clock.slept
        after = list(Delivery.objects.order_by("pk").values())
        (session,) = server.sessions
        assert session.verbs.count("MAIL") == session.verbs.count("DATA") == 2
        assert pacing.has_free_slot(Way(get_mailer("default")), clock.now)
    assert after[2:] == before[2:]
    assert Attempt.objects.count() == 2
    assert counted() == 2


def test_its_successor_comes_in_time(clock):
    """The sweep wakes the mailer within ten seconds of its turn: not before, and not one later."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="2/m"):
        store(6)
        delivery.drain(get_mailer("default"))
        turn = pacing.opens_at(Way(get_mailer("default")), clock.now)
        while not (woken := clock.sweep()):
            assert clock.now < turn
        assert woken == ["default"]
        assert turn - timedelta(seconds=10) <= clock.now <= turn
        assert delivery.drain(get_mailer("default")) == 2
        assert times[2] - turn.timestamp() < 0.1
        while len(times) < 6:
            clock.sweep_and_drain()
    assert fullest(times, 60) == 2
    assert times[-1] - times[0] <= 120 / 0.95


def test_a_short_wait_is_waited_for_in_place(clock):
    """14/s is 14 each second, and not what one sweep finds."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="14/s"):
        store(14 * 7)
        assert delivery.drain(get_mailer("default")) == 14 * 7
        assert len(server.sessions) == 1
    assert fullest(times, 1) == 14
    assert times[-1] - times[0] <= 6 / 0.95
    assert set(Delivery.objects.values_list("attempt_count", flat=True)) == {1}


def test_what_is_refused_before_its_content_counts_for_nothing(clock):
    """Recipients that are refused leave the rate to the others."""
    server, times = stamping(clock, RCPT={"no@*": "550 5.1.1 No such user"})
    with server, real_queue(server, rate="3/h"):
        for name in ("no", "a", "no", "no", "b", "no", "c", "d"):
            stored(f"{name}@example.com")
        delivery.drain(get_mailer("default"))
        assert len(times) == 3
    assert Counter(statuses()) == {"failed": 4, "sent": 3, "queued": 1}
    assert counted() == 3


@pytest.mark.parametrize("taken_by_others", [1, 3])
def test_a_turn_that_others_took_is_no_failure_of_the_server(monkeypatch, taken_by_others):
    """A content that is kept back at its 354 ends its session, and rests nobody."""
    admit = Meter.admit
    kept_back = iter(range(taken_by_others))

    def outrun(self, before_waiting, **kwargs):
        return next(kept_back, None) is None and admit(self, before_waiting, **kwargs)

    monkeypatch.setattr(Meter, "admit", outrun)
    with ScriptedServer() as server, real_queue(server, rate="100/s"):
        store(3)
        deliver()
        assert len(server.messages) == 3
        assert len(server.sessions) == 1 + taken_by_others
    assert statuses() == ["sent"] * 3
    assert not Route.objects.filter(consecutive_failures__gt=0).exists()
    assert set(Delivery.objects.values_list("attempt_count", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_now_mode_counts_and_does_not_wait(clock):
    """Whoever sends at once is counted, beyond the rate too, and the queue waits for it."""
    server, times = stamping(clock)
    with server:
        with real_queue(server, mode="now", rate="2/h"):
            for number in range(3):
                message = EmailMessage("S", "B", "a@example.com", [f"{number}@example.com"])
                assert message.send() == 1
        assert not clock.slept
        assert counted() == 3
        with real_queue(server, rate="2/h"):
            store(1)
            assert delivery.drain(get_mailer("default")) == 0
            clock.forward(minutes=59)
            assert delivery.drain(get_mailer("default")) == 0
            clock.forward(minutes=3)
            assert delivery.drain(get_mailer("default")) == 1
    assert len(times) == 4


def test_a_server_that_asks_for_less_than_the_rate(clock):
    """While a slowdown lasts the lower one of the two counts, and then the rate again."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="10/s"):
        Route.objects.create(mailer="default", slow_limit=2.0, slow_step=0.4, slow_since=clock.now)
        store(40)
        while len(times) < 40:
            clock.sweep_and_drain()
        assert fullest(times, 1) <= 10
        assert fullest(times, 10) <= 20
        clock.forward(hours=2)
        store(30)
        delivery.drain(get_mailer("default"))
        freed = times[40:]
    assert fullest(freed, 1) == 10
    assert freed[-1] - freed[0] <= 2 / 0.95


def test_a_rate_that_is_lower_than_what_the_server_asks_for(clock):
    """A slowdown above the rate does not loosen it."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="2/s"):
        Route.objects.create(
            mailer="default", slow_limit=50.0, slow_step=10.0, slow_since=clock.now
        )
        store(10)
        delivery.drain(get_mailer("default"))
    assert len(times) == 10
    assert fullest(times, 1) == 2


def test_a_server_that_slows_a_mailer_with_a_rate(clock):
    """Its refusal halves what went until now, within the same drain, and the rate still holds."""
    server, times = stamping(clock)
    with server, real_queue(server, rate="20/s"):
        store(60)
        server.on("RCPT", THROTTLED, match="40@example.com")
        delivery.drain(get_mailer("default"))
        route = Route.objects.get()
        assert route.slow_limit is not None
        before, after = times[:40], times[40:]
    assert fullest(before, 1) == 20
    assert Delivery.objects.get(recipient="40@example.com").category == "rate_limited"
    assert fullest(after, 1) <= max(1, 1.05 * route.slow_limit + 1)


@pytest.fixture
def slow_database(monkeypatch):
    """Let each grant be on record only so many seconds after it was asked for."""

    def begin(clock, seconds):
        swap = module._swap

        def slowly(*args):
            clock.forward(seconds=seconds)
            return swap(*args)

        monkeypatch.setattr(module, "_swap", slowly)

    return begin


@pytest.mark.parametrize("seconds", [0.015, 0.04, 0.1, 0.2])
def test_a_grant_that_comes_too_late_is_none(clock, slow_database, seconds):
    """A content never leaves by a grant that had run out before the database had it on record."""
    slow_database(clock, seconds)
    limit = Limit("default", "", Rate.parse("14/s"))
    meters = [Meter((limit,), clock.seconds, sleep=clock.sleep) for _ in range(3)]
    times = []
    while clock.passed() < timedelta(seconds=30):
        for one in meters:
            assert one.admit()
            assert clock.seconds() < one._until
            times.append(clock.seconds())
    assert fullest(times, 1) <= 14


@pytest.mark.parametrize(
    ("waits", "asked", "off"),
    [([0.001], 1, 0.0005), ([0.3, 0.001], 2, 0.0005), ([0.3, 0.02, 0.04, 0.001], 3, 0.01)],
)
def test_workers_go_by_one_clock(monkeypatch, waits, asked, off):
    """A worker that has to connect before it can ask for the time is not ahead of the others."""
    boot = [1000.0]
    left = iter(waits)

    def database_now(using):
        # The clock is read as the wait ends: that is the farthest from when it began.
        boot[0] += next(left)
        return BEGAN + timedelta(seconds=boot[0])

    monkeypatch.setattr(ledger_clock, "boottime", lambda: boot[0])
    monkeypatch.setattr(ledger_clock, "database_now", database_now)
    time = ledger_clock.Reading.take("default")
    boot[0] += 5
    ahead = (time.now() - BEGAN).total_seconds() - boot[0]
    assert ahead == pytest.approx(off)
    assert len(list(left)) == len(waits) - asked


def test_nothing_is_begun_beyond_what_may_leave(clock):
    """What is under way and not counted yet comes before what follows it."""
    limit = Limit("default", "", Rate.parse("5/h"))
    meter = Meter((limit,), clock.seconds, sleep=clock.sleep)
    assert meter.admit()
    assert meter.soon(3)
    assert not meter.soon(4)
    assert not meter.soon(400)
    assert meter.admit()
    assert meter.soon(2)
    assert not meter.soon(3)


class Contention(TransactionTestCase):
    """Workers that ask at once, each on a connection of its own."""

    WORKERS = 4
    COUNT = 150

    def test_they_never_take_more_than_there_is(self):
        """Of a full window each content is granted once, whoever else asks in the same moment."""
        granted, failures = Counter(), []
        limit = Limit("default", "", Rate(self.COUNT, 86400))
        together = threading.Barrier(self.WORKERS)

        def work(number):
            try:
                time = ledger.reading()
                meter = Meter((limit,), lambda: time.now().timestamp())
                # The first is for each, however few processors there are; then they ask at once.
                granted[number] += meter.admit()
                together.wait(timeout=60)
                # Some is given back on the way, as by drains that end.
                while meter.admit():
                    granted[number] += 1
                    if granted[number] % 7 == 0:
                        meter.close()
                meter.close()
            except Exception as error:  # noqa: BLE001 (shown by the test)
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(self.WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert sum(granted.values()) == self.COUNT
        assert min(granted.values()) > 0
        window = Window.load(RateWindow.objects.get().counts, limit.rate)
        assert sum(number for _, number in window.counts) == self.COUNT

    def test_those_who_do_not_wait_are_all_counted(self):
        """Contents that leave whatever the rate says are not counted over each other."""
        way = Way(Mailer(name="default", hosts=(), rate=Rate(10, 86400)))
        failures = []

        def work():
            try:
                for _ in range(10):
                    pacing.count(way, 1, ledger.now())
            except Exception as error:  # noqa: BLE001 (shown by the test)
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(self.WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        window = Window.load(RateWindow.objects.get().counts, Rate(10, 86400))
        assert sum(number for _, number in window.counts) == 10 * self.WORKERS
