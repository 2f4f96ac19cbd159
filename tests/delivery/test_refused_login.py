"""A login that is refused: it alarms, it does not bounce, and it is not tried again and again."""

from __future__ import annotations

from collections import Counter

import pytest

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.models import Attempt, Delivery, RefusedCredential, Route
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.delivery.passing import Clock
from tests.factories import composed, statuses

pytestmark = pytest.mark.django_db

LOGIN = {"username": "u", "allow_plaintext_auth": True, "auth": ["PLAIN"]}
WRONG, RIGHT = LOGIN | {"password": "wrong"}, LOGIN | {"password": "right"}


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    forget_process()


def forget_process():
    """Be another process from now on."""
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""
    return Clock(monkeypatch)


@pytest.fixture
def logins(clock):
    """The times of all logins, in minutes."""
    return []


@pytest.fixture
def server(clock, logins):
    """A server that knows one password, and notes when it was asked."""

    def note(conversation, arg):
        logins.append(clock.passed().total_seconds() / 60)

    script = {"AUTH": note}
    with ScriptedServer(script, users={"u": "right"}, require_auth=True, record=False) as running:
        yield running


def store(count):
    """Store so many mails at once."""
    ledger.store([("default", composed((f"{number}@example.com",))) for number in range(count)])


def work(clock, minutes):
    """Let time pass, with a sweep at each interval, and drains that mail wakes as well."""
    end = clock.passed().total_seconds() + minutes * 60
    while clock.passed().total_seconds() < end - 1:
        clock.sweep_and_drain()
        if clock.passed().total_seconds() % 60 == 0:
            delivery.drain(get_mailer("default"))


def until_sent(clock, most):
    """Let time pass until all is sent, for so many sweeps at most; return how many it took."""
    for sweeps in range(1, most + 1):
        clock.sweep_and_drain()
        if not Delivery.objects.exclude(status="sent").exists():
            return sweeps
    pytest.fail(f"Not sent after {most} sweeps: {Counter(statuses())}")


def mended_after(clock, logins, server, minutes):
    """Have mail behind a refused login for so long; look at it, and then mend the password."""
    count = Delivery.objects.count()
    with real_queue(server, **WRONG):
        work(clock, minutes)
        assert not Delivery.objects.filter(status__in=("sent", "failed", "unknown")).exists()
        assert Delivery.objects.filter(attempt_count=0).count() >= count - len(logins)
        assert not Delivery.objects.filter(step__gt=0).exists()
        assert Attempt.objects.count() == len(logins)
        assert Route.objects.get().state == "held"
    tried = len(logins)
    forget_process()
    with real_queue(server, **RIGHT):
        sweeps = until_sent(clock, 30)
    assert server.message_count == count
    assert Attempt.objects.count() == tried + count
    assert Route.objects.get().state == "open"
    return sweeps


def test_a_queue_costs_one_login(clock, logins, server):
    """One in the first quarter of an hour, and all goes within a sweep or two once it is mended."""
    store(150)
    assert mended_after(clock, logins, server, 14.5) <= 2
    assert [minute for minute in logins if minute <= 14.5] == logins[:1]


def test_it_is_probed_rarely(clock, logins, server):
    """After a quarter of an hour once, and then each hour: by one message, with no other harm."""
    store(30)
    mended_after(clock, logins, server, 80)
    assert [round(minute) for minute in logins] == [0, 15, 75, 80]


def test_mail_that_comes_meanwhile_waits_as_well(clock, logins, server):
    """What is stored behind a refused login rests with the other mail, and goes with it."""
    store(5)
    with real_queue(server, **WRONG):
        for _ in range(10):
            work(clock, 1)
            store(5)
            delivery.drain(get_mailer("default"))
        assert len(logins) == 1
    mended_after(clock, logins, server, 1)


def test_a_wrong_password_long_after_a_right_one(clock, logins, server, caplog):
    """It holds and alarms, whatever worked before it."""
    store(3)
    with real_queue(server, **RIGHT):
        # An outage that is over: what worked then is on record.
        Route.objects.create(mailer="default", state="paused", paused_until=clock.now)
        Route.objects.update(consecutive_failures=1, category="unreachable")
        clock.sweep_and_drain()
        assert set(statuses()) == {"sent"}
    forget_process()
    clock.forward(days=3)
    logins.clear()
    store(50)
    with real_queue(server, **WRONG):
        work(clock, 14)
        assert len(logins) == 1
        route = Route.objects.get()
        assert (route.state, route.category) == ("held", "auth_failed")
        assert "ERROR" in {record.levelname for record in caplog.records}
        waiting = Delivery.objects.exclude(status="sent")
        assert set(waiting.values_list("next_attempt_at", flat=True)) >= {route.paused_until}
        assert not waiting.filter(parked_at=None).exists()
    forget_process()
    with real_queue(server, **RIGHT):
        assert until_sent(clock, 30) <= 2


def test_the_server_changes_its_mind(clock, logins, server):
    """Where the password is mended on the server's side, the next probe finds out by itself."""
    store(150)
    with real_queue(server, **WRONG):
        work(clock, 5)
        server.users = {"u": "wrong"}
        work(clock, 5)
        assert len(logins) == 1
        work(clock, 6.5)
        assert set(statuses()) == {"sent"}
    assert [round(minute) for minute in logins][:2] == [0, 15]
    assert not RefusedCredential.objects.exists()


def test_old_and_new_workers_at_once(clock, logins, server):
    """In a rolling deploy the old password is tried no more often, and the mail goes by the new one."""
    store(200)
    with real_queue(server, **WRONG):
        work(clock, 1)
        assert len(logins) == 1
    sent = 0
    for _ in range(20):
        with real_queue(server, **WRONG):
            clock.sweep_and_drain()
            delivery.drain(get_mailer("default"))
            forget_process()
        assert server.message_count == sent
        with real_queue(server, **RIGHT):
            store(3)
            clock.sweep_and_drain()
            delivery.drain(get_mailer("default"))
            sent = server.message_count
            forget_process()
    assert server.message_count == 200 + 20 * 3
    assert set(statuses()) == {"sent"}
    refused = Attempt.objects.filter(category="auth_failed").count()
    assert refused == 1
    assert Route.objects.get().state == "open"


def test_hints_that_old_workers_take(clock, logins, server):
    """A new worker sends the mail even where old ones take all hints, and every turn to sweep."""
    store(130)
    with real_queue(server, **WRONG):
        work(clock, 1)
        forget_process()
    for _ in range(4):
        with real_queue(server, **WRONG):
            # The new worker's reopening is found by this sweep, and its hint is taken by an old one.
            clock.sweep_and_drain()
            forget_process()
        with real_queue(server, **RIGHT):
            ours = []
            assert not delivery.sweep(pytest.fail, here=ours.append)
            assert ours == ["default"]
            delivery.sweep(pytest.fail, here=lambda name: delivery.drain(get_mailer(name)))
            forget_process()
    assert set(statuses()) == {"sent"}
    assert Attempt.objects.filter(category="auth_failed").count() == 1


def test_no_drain_is_kept_here_for_nothing(clock, logins, server):
    """Without a refused password elsewhere the hints do: also once the old one is long gone."""
    store(3)
    with real_queue(server, **WRONG):
        work(clock, 1)
        assert not delivery.sweep(pytest.fail, here=pytest.fail)
    forget_process()
    with real_queue(server, **RIGHT):
        clock.forward(minutes=15)
        assert not pacing.refused_elsewhere({"default": get_mailer("default")}, clock.now)
        delivery.sweep(lambda name: None, here=pytest.fail)
        assert not pacing.refused_elsewhere({}, clock.now)


def test_help_is_called_once_there_is_a_session(clock, logins, server):
    """Many drains at once are not sent to a door that may be closed to all of them."""
    store(150)
    woken = []
    with real_queue(server, **WRONG):
        delivery.drain(get_mailer("default"), wake=lambda: woken.append(1))
        assert not woken
        clock.forward(minutes=16)
    with real_queue(server, **RIGHT):
        clock.sweep_and_drain()
        assert set(statuses()) == {"sent"}
        store(150)
        delivery.drain(get_mailer("default"), wake=lambda: woken.append(1))
        assert woken == [1]


@pytest.mark.exhaustive
@pytest.mark.timeout(180)
def test_ten_thousand(clock, logins, server):
    """Ten thousand mails behind a 535: one login, no failure, and all of them sent when it is mended."""
    store(10_000)
    mended_after(clock, logins, server, 14.5)
    assert [minute for minute in logins if minute <= 14.5] == logins[:1]
    assert Counter(statuses()) == {"sent": 10_000}
    assert Attempt.objects.filter(outcome="failed").count() == 0
