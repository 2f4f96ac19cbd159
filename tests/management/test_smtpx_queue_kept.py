"""``smtpx_queue``: what keeps mail that is due, also where no drain has met it yet."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from django_smtpx import ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.mailer import Way
from django_smtpx.models import Delivery, RateWindow, Route
from django_smtpx.smtp import AuthenticationError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import stored

pytestmark = pytest.mark.django_db

OTHERS = {"straight": {"transport": "mx"}, "free": {"host": "127.0.0.1"}}
HOUR = timedelta(hours=1)
REFUSED = AuthenticationError(
    "not authorized", phase="auth", code=535, reply="No", category="auth_failed", action="hold"
)


@pytest.fixture(autouse=True)
def _site():
    credential = {"username": "user", "password": "secret", "use_tls": True}
    with real_queue(host="127.0.0.1", port=1, rate="2/d", mailers=OTHERS, **credential):
        yield


def run(*args, **options):
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("smtpx_queue", *args, stdout=out, **options)
    return out.getvalue()


def answer(*args):
    """Return what it says in JSON."""
    return json.loads(run("--format", "json", *args))


def groups(*args):
    """Return what each group waits for, until when, and how many there are."""
    found = answer(*args)["groups"]
    return [
        (one["mailer"], one["domain"], one["wait"], one["until"], one["count"]) for one in found
    ]


def use_up(name="default", domain="", count=2):
    """Let so many contents leave, and return until when the rate is used up."""
    way = Way(get_mailer(name), domain)
    pacing.count(way, count, ledger.now())
    return pacing.opens_at(way, ledger.now())


def slow_down(name, domain=""):
    """Let a destination bear one content a minute, which has left; return when the next may."""
    at = ledger.now()
    Route.objects.create(
        mailer=name, domain=domain, slow_limit=1 / 60, slow_step=1 / 600, slow_since=at
    )
    way = Way(get_mailer(name), domain)
    slowdown = pacing.slowdown_of(Route.objects.get(mailer=name, domain=domain))
    (limit,) = (
        one
        for one in pacing.limits_on(way, slowdown, at.timestamp())
        if one.rate != way.mailer.rate
    )
    pacing.Meter([limit], at.timestamp).admit()
    return pacing.opens_at(way, at)


def set_back(to, **values):
    """Let the delivery to an address rest."""
    values = {"lane": Delivery.Lane.IDLE, "parked_at": ledger.now(), **values}
    assert Delivery.objects.filter(recipient=to).update(**values) == 1


def test_a_rate_that_is_used_up_is_said_with_until_when():
    """Mail that is due waits for its turn then, and the line below has the rate."""
    stored("a@one.example", "b@one.example")
    assert groups() == [("default", "one.example", "ready", None, 2)]
    assert "due now" in run()
    assert answer()["hints"] == []
    until = use_up()
    assert groups() == [("default", "one.example", "rate", until.isoformat(), 2)]
    (hint,) = answer()["hints"]
    assert "2/d" in hint
    shown = f"{until:%Y-%m-%d %H:%M:%S}"
    assert shown in hint
    assert "due now" not in run()
    assert run().count(shown) == 2


def test_what_a_drain_leaves_behind_is_told():
    """After the rate's two of four mails the others wait for it, and behind a pause they rest."""
    with ScriptedServer() as server, real_queue(server, rate="2/d"):
        for number in range(4):
            stored(f"{number}@one.example")
        call_command("smtpx_deliver", stdout=StringIO())
        default_pool.close()
        until = pacing.opens_at(Way(get_mailer("default")), ledger.now())
        assert groups() == [("default", "one.example", "rate", until.isoformat(), 2)]
        call_command("smtpx_pause", "default", stdout=StringIO())
        assert groups() == [("default", "one.example", "rest", None, 2)]
        call_command("smtpx_resume", "default", stdout=StringIO())
        assert groups() == [("default", "one.example", "rate", until.isoformat(), 2)]


def test_a_rate_keeps_what_is_due_alone():
    """What is scheduled, is tried again later, or is another mailer's waits for what it did."""
    later = ledger.now() + HOUR
    stored("a@one.example", send_at=later)
    stored("b@two.example", mailer="free")
    use_up()
    assert groups() == [
        ("default", "one.example", "scheduled", later.isoformat(), 1),
        ("free", "two.example", "ready", None, 1),
    ]
    assert answer()["hints"] == []


def test_a_look_at_a_rate_writes_nothing():
    """Who only looks makes no window."""
    stored("a@one.example")
    run()
    assert not RateWindow.objects.exists()


def test_a_destination_that_asked_for_less_is_a_rate():
    """Straight mail to it waits for its turn, and that to another destination does not."""
    stored("a@one.example", "b@one.example", "c@two.example", mailer="straight")
    until = slow_down("straight", "one.example")
    assert groups() == [
        ("straight", "one.example", "rate", until.isoformat(), 2),
        ("straight", "two.example", "ready", None, 1),
    ]
    (hint,) = answer()["hints"]
    assert "straight (one.example)" in hint


def test_hosts_that_asked_for_less_are_a_rate():
    """Behind hosts the mailer as a whole is slowed down, whichever domain its mail is for."""
    stored("a@one.example", mailer="free")
    until = slow_down("free")
    assert groups() == [("free", "one.example", "rate", until.isoformat(), 1)]


def test_the_later_of_two_limits_counts():
    """Who is slowed down and has used up a rate of a day waits for the day."""
    stored("a@one.example")
    slow_down("default")
    until = use_up()
    assert groups() == [("default", "one.example", "rate", until.isoformat(), 1)]


@pytest.mark.parametrize("domain", ["", "one.example"])
@pytest.mark.parametrize("mailer", ["default", "straight"])
@pytest.mark.parametrize("length", [None, HOUR])
def test_a_pause_counts_from_the_moment_it_is_made(mailer, domain, length):
    """No drain has put the mail away yet, and it rests all the same."""
    stored("a@one.example", "b@one.example", "c@two.example", mailer=mailer)
    at = ledger.now()
    until = None if length is None else at + length
    pacing.pause(mailer, at, domain=domain, until=until, reason="the provider is moving")
    said = None if until is None else until.isoformat()
    elsewhere = ("ready", None) if domain else ("rest", said)
    assert groups() == [
        (mailer, "one.example", "rest", said, 2),
        (mailer, "two.example", *elsewhere, 1),
    ]
    assert len(answer()["hints"]) == 1
    assert set(Delivery.objects.values_list("parked_at", flat=True)) == {None}


def test_a_rest_comes_before_a_rate():
    """What is closed does not wait for a turn."""
    stored("a@one.example")
    use_up()
    pacing.pause("default", ledger.now(), until=None, reason="")
    assert groups() == [("default", "one.example", "rest", None, 1)]
    assert len(answer()["hints"]) == 1


def test_what_rests_already_is_one_group_with_what_is_new():
    """Where a drain has put away some of it, the others are the same."""
    stored("a@one.example", "b@one.example")
    until = ledger.now() + HOUR
    pacing.pause("default", ledger.now(), until=until, reason="")
    set_back("a@one.example", next_attempt_at=until)
    assert groups() == [("default", "one.example", "rest", until.isoformat(), 2)]


def test_a_longer_pause_counts_for_what_rests_already():
    """What was put away for less goes no earlier than its mailer."""
    stored("a@one.example")
    until = ledger.now() + 2 * HOUR
    set_back("a@one.example", next_attempt_at=until - HOUR)
    pacing.pause("default", ledger.now(), until=until, reason="")
    assert groups() == [("default", "one.example", "rest", until.isoformat(), 1)]
    pacing.pause("default", ledger.now(), until=None, reason="")
    assert groups() == [("default", "one.example", "rest", None, 1)]


def test_a_refused_login_holds_until_its_probe():
    """And what another password may try at once is due."""
    stored("a@one.example")
    until = pacing.book_failure(Way(get_mailer("default")), REFUSED, ledger.now())
    assert groups() == [("default", "one.example", "rest", until.isoformat(), 1)]
    with real_queue(host="127.0.0.1", port=1, username="user", password="new", use_tls=True):
        assert groups() == [("default", "one.example", "ready", None, 1)]


def test_a_pause_that_is_over_keeps_nothing():
    """The next drain goes, whether or not the row says so yet."""
    stored("a@one.example")
    past = ledger.now() - HOUR
    Route.objects.create(mailer="default", state="paused", paused_until=past)
    assert groups() == [("default", "one.example", "ready", None, 1)]


def test_a_mailer_that_is_gone_may_be_paused():
    """Nobody knows its rate, and its pause is on record."""
    stored("a@one.example", mailer="old")
    pacing.pause("old", ledger.now(), until=None, reason="")
    assert groups() == [("old", "one.example", "rest", None, 1)]


def test_ended_mail_is_kept_by_nothing():
    """A status that has ended is counted as it is, whatever is closed."""
    stored("a@one.example")
    Delivery.objects.update(status="failed", lane=Delivery.Lane.OUT)
    pacing.pause("default", ledger.now(), until=None, reason="")
    assert groups("--status", "failed") == [("default", "one.example", "ended", None, 1)]


def test_what_two_pauses_keep_rests_until_the_later_one():
    """A domain that is held does not go with its mailer."""
    stored("a@one.example", "b@two.example", "c@two.example")
    at = ledger.now()
    pacing.pause("default", at, until=at + 2 * HOUR, reason="")
    pacing.pause("default", at, domain="one.example", until=None, reason="")
    pacing.pause("default", at, domain="two.example", until=at + HOUR, reason="")
    assert groups() == [
        ("default", "two.example", "rest", (at + 2 * HOUR).isoformat(), 2),
        ("default", "one.example", "rest", None, 1),
    ]


def test_a_hold_that_became_a_pause_ends_for_what_rests_too():
    """What was put away without an end comes back when the pause is over."""
    stored("a@one.example")
    set_back("a@one.example", next_attempt_at=None)
    until = ledger.now() + HOUR
    pacing.pause("default", ledger.now(), until=until, reason="")
    assert groups() == [("default", "one.example", "rest", until.isoformat(), 1)]


def test_it_asks_as_often_of_many_domains_and_mailers_as_of_one(django_assert_max_num_queries):
    """What keeps mail is asked for all of it together."""
    for name in ("default", "straight", "free"):
        for number in range(10):
            stored(f"a@d{number}.example", mailer=name)
            pacing.pause(name, ledger.now(), domain=f"d{number}.example", until=None, reason="")
        stored("a@slow.example", mailer=name)
        Route.objects.create(mailer=name, state="paused", paused_until=ledger.now() - HOUR)
    slow_down("straight", "slow.example")
    use_up()
    waiting, at = ledger.census(ledger.Selection(), ledger.now()), ledger.now()
    known = {name: get_mailer(name) for name in ("default", *OTHERS)}
    with django_assert_max_num_queries(3):
        kept, limits = pacing.kept(waiting, known, at)
    waits = Counter(one.wait for one in kept)
    assert waits == {ledger.Wait.REST: 30, ledger.Wait.RATE: 2, ledger.Wait.READY: 1}
    assert len(limits) == 2
