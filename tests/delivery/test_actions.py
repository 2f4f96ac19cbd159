"""Each action of the contract, from the server's answer to the rows and to what goes next."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import course
from django_smtpx.mailer import Way
from django_smtpx.models import Attempt, Delivery, Route, Suppression
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Reply, ScriptedServer, deliver, real_queue
from tests.delivery.passing import Clock
from tests.factories import statuses

pytestmark = pytest.mark.django_db

REPUTATION = "421 4.7.0 Our system has detected that this message is suspicious due to the very low reputation of the sending domain"
THROTTLED = "454 Throttling failure: Maximum sending rate exceeded."
MINUTE = timedelta(minutes=1)
NO_STORAGE = "452 4.3.1 Insufficient system storage"
NOT_OWNED = "Sender address rejected: not owned by user u"
NOT_OURS = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def send(to="a@example.com", sender="from@example.com", **kwargs):
    """Queue a mail and return its row."""
    message = EmailMessage("Subject", "Body", sender, [to] if isinstance(to, str) else to, **kwargs)
    message.send()
    return message.smtpx


def attempts():
    """Return outcome, category and action of every attempt, in order."""
    return list(Attempt.objects.order_by("pk").values_list("outcome", "category", "action"))


def later(**by):
    """Move all that rests or waits to so much earlier, as if that time had passed."""
    for model, field in ((Route, "paused_until"), (Delivery, "next_attempt_at")):
        for row in model.objects.exclude(**{field: None}):
            model.objects.filter(pk=row.pk).update(**{field: getattr(row, field) - timedelta(**by)})


def in_minutes(time):
    """Return how many minutes from now, rounded."""
    return round((time - timezone.now()) / timedelta(minutes=1), 1)


def test_none():
    """What was taken is done."""
    with ScriptedServer() as server, real_queue(server):
        send()
        deliver()
    assert attempts() == [("sent", "ok", "none")]
    assert Attempt.objects.get().rule == ""


def test_retry():
    """A full mailbox is tried again by the schedule, alone: what is behind it goes."""
    with ScriptedServer({"RCPT": {"full@*": "452 4.2.2 over quota"}}) as server, real_queue(server):
        send("full@example.com")
        send("b@example.com")
        deliver()
    assert statuses() == ["deferred", "sent"]
    assert attempts()[0] == ("deferred", "mailbox_full", "retry")
    assert 0.7 <= in_minutes(Delivery.objects.first().next_attempt_at) <= 1.3
    assert Attempt.objects.first().rule
    assert not Route.objects.exclude(state="open").exists()


def test_fail():
    """What is refused for good has failed, and is on no list."""
    with ScriptedServer({"EOD": "550 5.7.1 spam"}) as server, real_queue(server, suppression=True):
        send()
        deliver()
    assert statuses() == ["failed"]
    assert not Suppression.objects.exists()


def test_suppress():
    """An address that does not exist fails, goes on the list, and is not sent to again."""
    gone = {"RCPT": {"gone@*": "550 5.1.1 No such user"}}
    with ScriptedServer(gone) as server, real_queue(server, suppression=True):
        send("gone@example.com")
        deliver()
        send(["gone@example.com", "b@example.com"])
        deliver()
        assert [message.recipients for message in server.messages] == [("b@example.com",)]
    assert statuses() == ["failed", "suppressed", "sent"]
    assert attempts()[0] == ("failed", "mailbox_unknown", "suppress")
    assert Suppression.objects.get().address == "gone@example.com"


def test_split():
    """Those that were too many go in the next transaction, on the same connection."""
    with ScriptedServer(rcpt_limit=10) as server, real_queue(server):
        send([f"{number}@example.com" for number in range(25)])
        deliver()
        assert [len(message.recipients) for message in server.messages] == [10, 10, 5]
        assert len(server.sessions) == 1
    assert set(statuses()) == {"sent"}
    assert set(Delivery.objects.values_list("step", flat=True)) == {0}


def test_reconnect():
    """The same host gets the mail over a fresh connection, now."""
    nested = {"MAIL": ["503 5.5.1 Error: nested MAIL command"]}
    with ScriptedServer(nested) as server, real_queue(server):
        send()
        deliver()
        assert len(server.sessions) == 2
    assert statuses() == ["sent"]
    assert attempts() == [("deferred", "protocol_error", "reconnect"), ("sent", "ok", "none")]


def test_reconnect_ends():
    """A server that wants a fresh connection each time is left for the schedule."""
    nested = {"MAIL": "503 5.5.1 Error: nested MAIL command"}
    with ScriptedServer(nested) as server, real_queue(server):
        send()
        deliver()
        assert len(server.sessions) == 2
    assert statuses() == ["deferred"]
    assert Delivery.objects.get().next_attempt_at > timezone.now()


@pytest.fixture
def two_hosts():
    """Two servers on one port, at two addresses of this machine."""
    with ScriptedServer() as first, ScriptedServer(host="127.0.0.2", port=first.port) as second:
        yield first, second, {"host": [first.host, second.host], "port": first.port}


def test_next_host(two_hosts):
    """A host without room is left alone for a while, and the other one gets the mail at once."""
    first, second, options = two_hosts
    first.on("MAIL", NO_STORAGE)
    with real_queue(security="none", **options):
        for name in "abc":
            send(f"{name}@example.com")
        deliver()
    assert statuses() == ["sent"] * 3
    assert (len(first.messages), len(second.messages)) == (0, 3)
    assert len(first.sessions) == 1
    assert attempts()[0] == ("deferred", "server_busy", "next_host")
    assert set(Delivery.objects.values_list("step", flat=True)) == {0}
    route = Route.objects.exclude(state="open").get()
    assert (route.host, route.state, in_minutes(route.paused_until)) == (first.host, "paused", 1.0)


def test_next_host_is_probed(two_hosts):
    """When its rest is over one drain tries the host again, and it is the first once more."""
    first, _, options = two_hosts
    first.on("GREETING", ["421 4.3.2 shutting down"])
    with real_queue(security="none", idle_timeout=0, **options):
        send("a@example.com")
        deliver()
        assert len(first.messages) == 0
        assert all(attempt.rule for attempt in Attempt.objects.filter(outcome="deferred"))
        later(minutes=1)
        send("b@example.com")
        deliver()
        assert len(first.messages) == 1
    assert not Route.objects.exclude(state="open").exists()


def test_next_host_where_all_are_busy(two_hosts):
    """No host is asked twice: the mail waits for its schedule then."""
    first, second, options = two_hosts
    for server in (first, second):
        server.on("MAIL", NO_STORAGE)
    with real_queue(security="none", **options):
        send()
        deliver()
    assert len(first.sessions) + len(second.sessions) == 2
    row = Delivery.objects.get()
    assert (row.status, row.attempt_count, row.step) == ("deferred", 2, 1)
    assert row.next_attempt_at > timezone.now()


def test_nothing_moves_to_another_host_behind_the_dot(two_hosts):
    """Once the content was sent, this host's answer is waited for, and so is the schedule."""
    first, second, options = two_hosts
    first.on("EOD", NO_STORAGE)
    with real_queue(security="none", **options):
        send()
        deliver()
        assert second.messages == ()
    assert statuses() == ["deferred"]
    assert Delivery.objects.get().next_attempt_at > timezone.now()


def test_next_host_with_a_single_host():
    """A busy host gets three messages to say so, and then the mailer rests with all its mail."""
    with ScriptedServer({"MAIL": NO_STORAGE}) as server, real_queue(server):
        for number in range(10):
            send(f"{number}@example.com")
        deliver()
    assert Attempt.objects.count() == 3
    route = Route.objects.get()
    assert (route.state, route.category) == ("paused", "server_busy")
    assert set(statuses()) == {"deferred", "queued"}
    assert Delivery.objects.filter(parked_at=None).count() == 3


def test_a_busy_host_rests_ever_longer(monkeypatch):
    """One probe tells that it is busy still: nothing else is asked, nor woken and put away again."""
    clock = Clock(monkeypatch)
    with ScriptedServer({"MAIL": NO_STORAGE}) as server, real_queue(server):
        for number in range(10):
            send(f"{number}@example.com")
        tried = []
        while clock.passed() < timedelta(minutes=40):
            before = Attempt.objects.count()
            clock.sweep_and_drain()
            tried += [round(clock.passed() / MINUTE)] * (Attempt.objects.count() - before)
    assert tried == [0, 0, 0, 1, 3, 8, 23]


def test_all_of_two_busy_hosts_rest_ever_longer(monkeypatch, two_hosts):
    """A probe that goes on to the other host, and finds it as busy, opens nothing."""
    clock = Clock(monkeypatch)
    first, second, options = two_hosts
    first.on("MAIL", NO_STORAGE)
    second.on("MAIL", NO_STORAGE)
    with real_queue(security="none", **options):
        for number in range(10):
            send(f"{number}@example.com")
        while clock.passed() < timedelta(minutes=40):
            clock.sweep_and_drain()
        assert Route.objects.get(host="").consecutive_failures >= 4
    assert Attempt.objects.count() < 20


def test_reconnect_for_ever(monkeypatch):
    """A server that wants a fresh connection for each mail is not connected to for each mail."""
    clock = Clock(monkeypatch)
    said = ["503 5.5.1 Error: nested MAIL command"]
    broken = {"MAIL": lambda conversation, arg: said[0]}
    with ScriptedServer(broken) as server, real_queue(server):
        for number in range(50):
            send(f"{number}@example.com")
        clock.sweep_and_drain()
        assert len(server.sessions) == 6
        assert Route.objects.get().category == "protocol_error"
        while clock.passed() < timedelta(minutes=40):
            clock.sweep_and_drain()
        assert len(server.sessions) == 6 + 2 * 4
        said[0] = None
        while clock.passed() < timedelta(minutes=60):
            clock.sweep_and_drain()
    assert set(statuses()) == {"sent"}


def test_slow():
    """Half of what went until now may go from now on, the message later; nothing else waits long."""
    with ScriptedServer({"EOD": [None] * 40 + [THROTTLED]}) as server, real_queue(server):
        for number in range(41):
            send(f"{number}@example.com")
        deliver()
    route = Route.objects.get()
    assert route.state == "open"
    assert 10 < route.slow_limit <= 21
    assert statuses().count("deferred") == 1
    assert attempts()[-1] == ("deferred", "rate_limited", "slow")


def test_slow_paces_what_follows():
    """What is over the halved rate is not sent before its time."""
    at = timezone.now()
    with ScriptedServer() as server, real_queue(server):
        Route.objects.create(mailer="default", slow_limit=1 / 60, slow_step=0.001, slow_since=at)
        for number in range(3):
            send(f"{number}@example.com")
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["sent", "queued", "queued"]
    assert Delivery.objects.filter(attempt_count__gt=0).count() == 1


def test_pause():
    """The way rests until a probe succeeds; what is behind burns no attempt."""
    with ScriptedServer({"EOD": [Reply(REPUTATION)] * 2}) as server, real_queue(server):
        for number in range(5):
            send(f"{number}@example.com")
        deliver()
        assert attempts() == [("deferred", "reputation", "pause")]
        assert Route.objects.get().state == "paused"
        later(minutes=3)
        deliver()
        assert len(attempts()) == 2
        assert in_minutes(Route.objects.get().paused_until) == 2.0
        later(minutes=6)
        deliver()
        assert len(server.messages) == 5
    assert set(statuses()) == {"sent"}
    assert Route.objects.get().state == "open"
    assert Delivery.objects.filter(attempt_count__gt=1).count() <= 2


def test_a_refused_recipient_proves_nothing_about_reputation():
    """A way that was closed after the content is opened by a message that is taken."""
    script = {"EOD": [Reply(REPUTATION)], "RCPT": {"no@*": "550 5.1.1 no"}}
    with ScriptedServer(script) as server, real_queue(server):
        send("a@example.com")
        deliver()
        send("no@example.com")
        Delivery.objects.filter(recipient="no@example.com").update(priority=1)
        Route.objects.update(paused_until=timezone.now())
        deliver()
        assert Route.objects.get().state == "paused"
    assert statuses() == ["deferred", "failed"]


def test_hold_of_the_mailer():
    """An exhausted quota holds all of its mail; a probe after 15 minutes, then hourly."""
    quota = "454 Throttling failure: Daily message quota exceeded."
    with ScriptedServer({"EOD": [quota, quota]}) as server, real_queue(server):
        for number in range(4):
            send(f"{number}@example.com")
        deliver()
        route = Route.objects.get()
        assert (route.state, route.category) == ("held", "quota_exhausted")
        assert in_minutes(route.paused_until) == 15.0
        assert Delivery.objects.filter(parked_at=None).count() == 0
        later(minutes=17)
        deliver()
        assert in_minutes(Route.objects.get().paused_until) == 60.0
        later(minutes=70)
        deliver()
    assert statuses() == ["sent"] * 4
    assert Delivery.objects.filter(step__gt=0).count() == 0


def test_hold_of_the_mailer_by_another_host_would_not_help(two_hosts):
    """A refused login is one login: the other host would count it against the account."""
    first, second, options = two_hosts
    for server in (first, second):
        server.users = {"u": "right"}
    login = {"username": "u", "password": "wrong", "allow_plaintext_auth": True}
    with real_queue(security="none", **login, **options):
        send()
        deliver()
    assert len(first.sessions) + len(second.sessions) == 1
    assert Route.objects.get().state == "held"


def after_content(conversation, arg):
    """Refuse a From header, as servers do that look into the content."""
    return NOT_OURS if b"From: bad@" in conversation.content else None


@pytest.mark.parametrize(
    ("script", "sender"),
    [
        ({"MAIL": {"bad@*": f"553 5.7.1 {NOT_OWNED}"}}, "MAIL FROM <bad@example.com>"),
        ({"EOD": after_content}, "From bad@example.com"),
    ],
)
def test_hold_of_a_sender(script, sender):
    """A sender that may not be used here rests alone; every other sender's mail goes."""
    with ScriptedServer(script) as server, real_queue(server):
        for number in range(6):
            send(f"{number}@example.com", "bad@example.com" if number % 2 else "good@example.com")
        deliver()
        assert len(server.messages) == 3
    held = Delivery.objects.filter(message__envelope_sender="bad@example.com")
    assert set(held.values_list("status", "next_attempt_at")) <= {
        ("deferred", None),
        ("queued", None),
    }
    assert held.count() == 3
    route = Route.objects.exclude(state="open").get()
    assert (route.sender, route.state, route.paused_until) == (sender, "held", None)
    assert Attempt.objects.filter(action="hold").count() <= 2


def test_a_held_sender_is_resumed():
    """When a person says so, its mail goes, and it is as young as before."""
    refused = {"MAIL": {"bad@*": [f"553 5.7.1 {NOT_OWNED}"]}}
    with ScriptedServer(refused) as server, real_queue(server):
        for number in range(3):
            send(f"{number}@example.com", "bad@example.com")
        deliver()
        assert server.messages == ()
        call_command("smtpx_retry", "--category", "sender_rejected", verbosity=0)
        deliver()
        assert len(server.messages) == 3
    assert set(statuses()) == {"sent"}


def test_a_temporary_refusal_of_a_sender_is_probed():
    """A 4yz says that it passes: one message in 15 minutes goes to see, and opens for the rest."""
    busy = "450 4.1.8 <bad@example.com>: Sender address rejected: Domain not found"
    with ScriptedServer({"RCPT": [busy, busy]}) as server, real_queue(server, pipelining=False):
        for number in range(4):
            send(f"{number}@example.com", "bad@example.com")
        deliver()
        assert len(attempts()) == 1
        assert in_minutes(Route.objects.get(sender__gt="").paused_until) == 15.0
        later(minutes=16)
        deliver()
        assert len(attempts()) == 2
        later(minutes=61)
        deliver()
    assert statuses() == ["sent"] * 4


def test_a_probe_that_says_nothing_of_the_sender(monkeypatch):
    """While probes of a held sender are greylisted, one goes in a quarter of an hour, not more."""
    clock = Clock(monkeypatch)
    said = [f"450 4.7.1 <from@example.com>: Sender address rejected: {NOT_OWNED}"]
    greylisted = "450 4.2.0 Greylisted, please try again"
    first = {"RCPT": lambda conversation, arg: said.pop() if said else greylisted}
    with ScriptedServer(first) as server, real_queue(server):
        for number in range(20):
            send(f"{number}@example.com")
        while clock.passed() < timedelta(hours=2):
            clock.sweep_and_drain()
    assert Route.objects.get().sender
    assert Attempt.objects.count() <= 9


def test_hold_of_a_delivery_alone():
    """What is about nothing else waits for a person, and holds nobody up."""
    bare = {"DATA": ["521 5.5.2 mx.example.com Error: bare <LF> received"]}
    with ScriptedServer(bare) as server, real_queue(server, pipelining=False):
        send("a@example.com")
        send("b@example.com")
        deliver()
    assert statuses() == ["deferred", "sent"]
    row = Delivery.objects.first()
    assert (row.next_attempt_at, row.settled_at, row.parked_at) == (None, None, None)
    assert not Route.objects.exclude(state="open").exists()


def test_a_paused_domain_parks_its_mail_alone():
    """What a person paused rests; the mailer's other mail goes."""
    with ScriptedServer() as server, real_queue(server):
        Route.objects.create(mailer="default", domain="slow.example", state="held")
        send("a@slow.example")
        send("b@example.com")
        deliver()
        assert [message.recipients for message in server.messages] == [("b@example.com",)]
    row = Delivery.objects.first()
    assert (row.status, row.next_attempt_at, row.attempt_count) == ("queued", None, 0)
    assert row.parked_at is not None


def test_one_connection_too_many():
    """Who is told of too many connections has one fewer from now on; the others go on."""
    too_many = {"GREETING": ["421 4.7.0 Error: too many connections from 127.0.0.1"]}
    with ScriptedServer(too_many) as server, real_queue(server, max_connections=4):
        other = pacing.take_slot(Way(get_mailer("default")), ledger.now(), 4)
        send()
        deliver()
        route = Route.objects.get()
        assert route.state == "open"
        assert 3 <= route.concurrency < 4
        pacing.free_slot(other, ledger.now())
    assert statuses() == ["sent"]
    assert attempts() == [("deferred", "rate_limited", "slow"), ("sent", "ok", "none")]


def test_too_many_connections_for_ever():
    """While others have connections, and each one more is refused, no more are tried than slots."""
    too_many = {"GREETING": "421 4.7.0 Error: too many connections from 127.0.0.1"}
    with ScriptedServer(too_many) as server, real_queue(server, max_connections=4):
        way, at = Way(get_mailer("default")), ledger.now()
        others = [pacing.take_slot(way, at, 4) for _ in range(4)]
        pacing.free_slot(next(slot for slot in others if slot.number == 0), at)
        send()
        for _ in range(10):
            delivery.drain(way.mailer)
        assert len(server.sessions) == 1
        assert Route.objects.get().state == "open"
        assert statuses() == ["deferred"]


def test_a_hold_that_cannot_be_written(monkeypatch):
    """What became of the mail is on record all the same, and nothing of it is sent twice."""
    busy = mock.Mock(side_effect=OperationalError("deadlock"))
    monkeypatch.setattr(pacing, "hold_sender", busy)
    refused = {"RCPT": {"b@*": f"553 5.7.1 <from@example.com>: {NOT_OWNED}"}}
    with ScriptedServer(refused) as server, real_queue(server):
        send(["a@example.com", "b@example.com"])
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 1
    assert busy.called
    assert statuses() == ["sent", "deferred"]
    held = Delivery.objects.get(status="deferred")
    assert (in_minutes(held.next_attempt_at), held.step) == (1.0, 0)


@pytest.mark.django_db(transaction=True)
def test_now_mode_counts_and_raises():
    """In now mode a held sender is refused at once, unsent, and contents count against the rate."""
    refused = {"MAIL": {"bad@*": f"553 5.7.1 {NOT_OWNED}"}}
    with ScriptedServer(refused) as server, real_queue(server, mode="now", rate="1/h"):
        with pytest.raises(OSError, match="not owned"):
            send("a@example.com", "bad@example.com")
        with pytest.raises(OSError, match="is held"):
            send("b@example.com", "bad@example.com")
        send("c@example.com")
        send("d@example.com")
        assert len(server.messages) == 2
        assert len(server.sessions) <= 2
    assert statuses() == ["failed", "failed", "sent", "sent"]


@pytest.mark.django_db(transaction=True)
def test_now_mode_opens_a_way_by_what_shows_that_it_is_sound():
    """A refused recipient says nothing of a quota, and a host that is busy still is busy."""
    said = {"RCPT": {"gone@*": "550 5.1.1 No such user", "busy@*": NO_STORAGE}}
    with ScriptedServer(said) as server, real_queue(server, mode="now"):
        way, at = Way(get_mailer("default")), ledger.now()
        exceeded = SMTPError("no", phase="mail", category="quota_exhausted", action="hold")
        pacing.book_failure(way, exceeded, at - timedelta(minutes=20))
        with pytest.raises(SMTPError):
            send("gone@example.com")
        assert Route.objects.get().state == "held"
        Route.objects.update(state="paused", category="server_busy")
        with pytest.raises(SMTPError):
            send("busy@example.com")
        assert Route.objects.get().state == "paused"
        send("a@example.com")
        assert Route.objects.get().state == "open"


@pytest.mark.django_db(transaction=True)
def test_now_mode_leaves_out_a_paused_domain():
    """Its recipients fail, unsent and each with the reason; the others get the mail."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        Route.objects.create(
            mailer="default", domain="slow.example", state="held", pause_reason="they asked for it"
        )
        send(["a@slow.example", "b@example.com"])
        with pytest.raises(OSError, match=r"slow\.example.*they asked for it"):
            send("c@slow.example")
        assert [message.recipients for message in server.messages] == [("b@example.com",)]
    assert statuses() == ["failed", "sent", "failed"]
    assert "they asked for it" in Delivery.objects.get(recipient="a@slow.example").reply


def test_a_hold_by_a_person_reaches_a_drain_under_way(monkeypatch):
    """What was not claimed yet rests from the next claim on."""
    monkeypatch.setattr(course, "BATCH", 2)
    with ScriptedServer() as server, real_queue(server):
        for number in range(5):
            send(f"{number}@example.com")
        original = course.Course._send

        def held(run, *args):
            original(run, *args)
            Route.objects.get_or_create(mailer="default", defaults={"state": "held"})

        monkeypatch.setattr(course.Course, "_send", held)
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 2
    assert Delivery.objects.filter(next_attempt_at=None, parked_at__isnull=False).count() == 3
