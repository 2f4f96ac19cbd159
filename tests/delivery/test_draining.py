"""One drain, end to end, against a server on a real socket."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.mail import EmailMessage, send_mail
from django.db import OperationalError
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import course, draining
from django_smtpx.mailer import Way
from django_smtpx.models import Attempt, Delivery, Message, Route, Slot
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import (
    Close,
    Delay,
    MidContent,
    Reply,
    Reset,
    ScriptedServer,
    deliver,
    real_queue,
)
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def send(*to, **kwargs):
    """Queue a mail and return its row."""
    message = EmailMessage("Subject", "Body", "from@example.com", list(to), **kwargs)
    message.send()
    return message.smtpx


def attempts():
    """Return outcome, category, phase and code of every attempt, in order."""
    rows = Attempt.objects.order_by("pk")
    return list(rows.values_list("outcome", "category", "phase", "code"))


def actions():
    """Return what was done about every attempt, in order."""
    return list(Attempt.objects.order_by("delivery", "number").values_list("action", flat=True))


def test_a_mail_goes_all_the_way():
    """What was sent arrives byte for byte, and the rows say so."""
    with ScriptedServer() as server, real_queue(server):
        message = send("a@example.com", "b@example.com")
        assert server.messages == ()
        deliver()
        (received,) = server.messages
    assert received.content == message.content
    assert received.recipients == ("a@example.com", "b@example.com")
    assert statuses() == ["sent", "sent"]
    assert attempts() == [("sent", "ok", "eod", 250)] * 2
    message.refresh_from_db()
    assert message.settled_at is not None


def test_many_mails_share_a_connection():
    """A batch costs one connection, whatever the chunks."""
    with ScriptedServer() as server, real_queue(server):
        for number in range(45):
            send(f"{number}@example.com")
        deliver()
        assert len(server.messages) == 45
        assert len(server.sessions) == 1
    assert set(statuses()) == {"sent"}


def test_one_refused_is_not_all_refused():
    """Each recipient has its own verdict."""
    script = {"RCPT": {"no@*": "550 5.1.1 No such user", "later@*": "450 4.2.1 Busy"}}
    with ScriptedServer(script) as server, real_queue(server):
        send("yes@example.com", "no@example.com", "later@example.com")
        deliver()
        assert server.messages[0].recipients == ("yes@example.com",)
    assert statuses() == ["sent", "failed", "deferred"]
    no, later = Delivery.objects.order_by("pk")[1:]
    assert (no.phase, no.code, no.enhanced_code, no.reply) == ("rcpt", 550, "5.1.1", "No such user")
    assert no.category == "mailbox_unknown"
    assert later.next_attempt_at > timezone.now()
    assert later.lane == Delivery.Lane.IDLE


def test_a_deferred_mail_is_sent_later():
    """Greylisted first, it goes when its time has come, with the same bytes."""
    script = {"RCPT": ["450 4.7.1 Greylisted for 1 second"]}
    with ScriptedServer(script) as server, real_queue(server):
        message = send("a@example.com")
        deliver()
        assert statuses() == ["deferred"]
        Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        deliver()
        assert server.messages[0].content == message.content
    assert attempts() == [
        ("deferred", "greylisted", "rcpt", 450),
        ("sent", "ok", "eod", 250),
    ]
    assert Delivery.objects.get().attempt_count == 2


def test_too_many_recipients_go_in_the_next_transaction_at_once():
    """The accepted go now, the rest at once, and none of them loses a step."""
    script = {"RCPT": {"c@*": ["452 4.5.3 Too many recipients"]}}
    with ScriptedServer(script) as server, real_queue(server):
        send("a@example.com", "b@example.com", "c@example.com")
        deliver()
        assert [m.recipients for m in server.messages] == [
            ("a@example.com", "b@example.com"),
            ("c@example.com",),
        ]
    row = Delivery.objects.get(recipient="c@example.com")
    assert (row.status, row.attempt_count, row.step) == ("sent", 2, 0)


def test_too_many_recipients_for_all_does_not_loop():
    """A server that says it to every recipient is tried again by the schedule, not at once."""
    with ScriptedServer({"RCPT": "452 4.5.3 Too many recipients"}) as server, real_queue(server):
        send("a@example.com", "b@example.com")
        deliver()
        assert server.messages == ()
    assert statuses() == ["deferred", "deferred"]
    assert Attempt.objects.count() == 2


def test_lost_after_the_dot_is_unknown_and_sent_again():
    """With on_unknown=retry the same bytes go again, and the log says why."""
    with ScriptedServer({"EOD": [Close()]}) as server, real_queue(server):
        message = send("a@example.com")
        deliver()
        row = Delivery.objects.get()
        assert (row.status, row.category, row.unknowns) == ("deferred", "unknown_outcome", 1)
        Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        deliver()
        assert server.messages[-1].content == message.content
    assert attempts() == [
        ("unknown", "unknown_outcome", "eod", None),
        ("sent", "ok", "eod", 250),
    ]
    assert actions() == ["retry", "none"]


def test_lost_after_the_dot_three_times_is_held():
    """The first two attempts say that it goes again by itself, the third that it does not."""
    with ScriptedServer({"EOD": Close()}) as server, real_queue(server):
        send("a@example.com")
        for _ in range(4):
            Delivery.objects.filter(status="deferred").update(
                next_attempt_at=timezone.now() - timedelta(seconds=1)
            )
            deliver()
        assert len(server.messages) == 3
    assert statuses() == ["unknown"]
    assert actions() == ["retry", "retry", "hold"]


def test_lost_after_the_dot_is_held_when_asked():
    """With on_unknown=hold nobody sends it again by himself."""
    with ScriptedServer({"EOD": [Close()]}) as server, real_queue(server, on_unknown="hold"):
        send("a@example.com")
        deliver()
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["unknown"]
    assert attempts() == [("unknown", "unknown_outcome", "eod", None)]
    assert actions() == ["hold"]


def test_lost_before_the_dot_was_not_delivered():
    """A connection that breaks within the content leaves no doubt."""
    with ScriptedServer({"DATA": [MidContent(10, Reset())]}) as server, real_queue(server):
        EmailMessage("S", "line\n" * 2_000_000, None, ["a@example.com"]).send()
        deliver()
        assert server.messages == ()
    (attempt,) = Attempt.objects.all()
    assert attempt.outcome == "deferred"
    assert attempt.category == "disconnected"


def test_quit_and_disconnect_after_the_250_are_noise():
    """The 250 decides; what the server does then changes nothing."""
    with ScriptedServer({"EOD": Reply("250 2.0.0 ok", then=Reset())}) as server, real_queue(server):
        send("a@example.com")
        send("b@example.com")
        deliver()
        assert len(server.messages) == 2
    assert statuses() == ["sent", "sent"]


def test_421_costs_the_others_no_attempt():
    """The mail that met the 421 is deferred, the others go over a fresh connection."""
    script = {"MAIL": [None, Reply("421 4.3.2 Shutting down", then=Close())]}
    with ScriptedServer(script) as server, real_queue(server):
        for name in "abc":
            send(f"{name}@example.com")
        deliver()
        assert {m.recipients for m in server.messages} >= {("a@example.com",), ("c@example.com",)}
    row = Delivery.objects.get(recipient="c@example.com")
    assert (row.status, row.attempt_count) == ("sent", 1)
    assert Delivery.objects.get(recipient="b@example.com").attempt_count >= 1


def test_nobody_listens():
    """A mailer whose server is away rests, with one attempt and the others untouched."""
    with real_queue(host="127.0.0.1", port=1):
        send("a@example.com")
        send("b@example.com")
        deliver()
    assert statuses() == ["deferred", "queued"]
    assert attempts() == [("deferred", "unreachable", "connect", None)]
    first, second = Delivery.objects.order_by("pk")
    route = Route.objects.get()
    assert (route.state, route.category) == ("paused", "unreachable")
    assert first.next_attempt_at == second.next_attempt_at == route.paused_until
    assert first.parked_at is not None
    assert (first.step, second.attempt_count) == (0, 0)


def test_a_resting_mailer_sends_nothing_and_burns_nothing():
    """While it rests there is no connection and no attempt."""
    with ScriptedServer() as server, real_queue(server):
        Route.objects.create(
            mailer="default",
            state=Route.State.PAUSED,
            paused_until=timezone.now() + timedelta(hours=1),
        )
        send("a@example.com")
        assert deliver() == 0
        assert server.sessions == ()
    row = Delivery.objects.get()
    assert (row.status, row.attempt_count, row.lane) == ("queued", 0, Delivery.Lane.IDLE)


def test_a_probe_reopens():
    """After a pause one message goes first; when it is through, the rest follows."""
    with ScriptedServer() as server, real_queue(server):
        Route.objects.create(
            mailer="default",
            state=Route.State.PAUSED,
            paused_until=timezone.now() - timedelta(seconds=1),
            consecutive_failures=3,
        )
        for name in "abc":
            send(f"{name}@example.com")
        deliver()
        assert len(server.messages) == 3
    assert Route.objects.get().state == "open"
    assert Route.objects.get().consecutive_failures == 0


def test_a_refused_login_costs_one_login():
    """A queue behind a 535 tries once, loses nothing, and goes when the password is mended."""
    server_options = {"allow_plaintext_auth": True, "username": "u"}
    with ScriptedServer(users={"u": "right"}, require_auth=True) as server:
        with real_queue(server, password="wrong", **server_options):
            for number in range(30):
                send(f"{number}@example.com")
            deliver()
            assert len(server.sessions) == 1
        assert statuses() == ["deferred"] + ["queued"] * 29
        assert attempts() == [("deferred", "auth_failed", "auth", 535)]
        assert Route.objects.get().state == "held"
        with real_queue(server, password="right", **server_options):
            deliver()
            assert len(server.messages) == 30
    assert set(statuses()) == {"sent"}
    assert Route.objects.get().state == "open"


def test_the_next_host_at_once():
    """A host that is away costs an attempt, and the next one takes the mail."""
    with ScriptedServer() as server:
        options = {"host": ["localhost", server.host], "port": server.port, "security": "none"}
        with real_queue(**options):
            mailer = get_mailer("default")
            send("a@example.com")
            _deliver_over(mailer, dead_port=1)
    row = Delivery.objects.get()
    assert (row.status, row.attempt_count) == ("sent", 2)
    assert attempts() == [
        ("deferred", "unreachable", "connect", None),
        ("sent", "ok", "eod", 250),
    ]
    assert [route.host for route in Route.objects.filter(state="paused")] == ["localhost"]


def _deliver_over(mailer, dead_port):
    from dataclasses import replace

    first, second = mailer.hosts
    hosts = (replace(first, port=dead_port), second)
    delivery.drain(replace(mailer, hosts=hosts))


def test_an_idle_drop_is_no_attempt():
    """A server that closed the idle connection costs a fresh connection and nothing else."""
    with ScriptedServer(script={"MAIL": [None, Close()]}) as server, real_queue(server):
        send("a@example.com")
        deliver()
        send("b@example.com")
        deliver()
        assert len(server.messages) == 2
        assert len(server.sessions) == 2
    assert statuses() == ["sent", "sent"]
    assert Attempt.objects.count() == 2


def test_a_server_that_drops_every_session_rests_the_mailer():
    """Fresh connections that lead nowhere do not go on for ever."""
    with ScriptedServer(script={"MAIL": Close()}) as server, real_queue(server):
        for name in "abc":
            send(f"{name}@example.com")
        deliver()
        assert server.messages == ()
        assert len(server.sessions) < 10
    assert set(statuses()) <= {"deferred", "queued"}


def test_without_its_slot_no_connection_is_opened(monkeypatch):
    """A slot that somebody else has taken by the time of connecting is one that we may not use."""
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        monkeypatch.setattr(pacing, "renew_slot", lambda *args: False)
        assert delivery.drain(get_mailer("default")) == 0
        assert server.sessions == ()
    assert statuses() == ["queued"]
    assert not Attempt.objects.exists()


def test_a_server_that_says_421_to_everything_is_left_in_peace():
    """Session upon session that ends with nothing taken rests the mailer, and the rest of its mail."""
    script = {"MAIL": Reply("421 4.3.2 Shutting down", then=Close())}
    with ScriptedServer(script) as server, real_queue(server):
        for number in range(30):
            send(f"{number}@example.com")
        deliver()
        assert len(server.sessions) == 3
    assert Attempt.objects.count() == 3
    assert statuses().count("queued") == 27
    assert Route.objects.get().state == "paused"


def test_the_last_slot_is_not_kept_for_an_idle_session():
    """With one connection allowed, the next drain may be another process's: it need not wait."""
    with ScriptedServer() as server, real_queue(server, max_connections=1):
        send("a@example.com")
        deliver()
        assert Slot.objects.get().token is None
        assert len(default_pool) == 0
    with ScriptedServer() as server, real_queue(server, max_connections=2):
        send("b@example.com")
        deliver()
        assert Slot.objects.exclude(token=None).count() == 1
        assert len(default_pool) == 1


def test_without_a_slot_nothing_is_claimed():
    """A drain that may not have a connection leaves the rows where they are."""
    with ScriptedServer() as server, real_queue(server, max_connections=1):
        send("a@example.com")
        mailer = get_mailer("default")
        slot = pacing.take_slot(Way(mailer), ledger.now(), 1)
        assert delivery.drain(mailer) == 0
        assert statuses() == ["queued"]
        pacing.free_slot(slot, ledger.now())
        assert delivery.drain(mailer) == 1


def test_the_slot_comes_back():
    """After a drain whose session ended, its slot is free."""
    with real_queue(host="127.0.0.1", port=1):
        send("a@example.com")
        deliver()
    assert Slot.objects.get(number=Slot.objects.values_list("number").first()[0]).token is None


def test_a_full_claim_wakes_one_more_drain(monkeypatch):
    """Who finds more than one claim's worth calls for help before it begins."""
    monkeypatch.setattr(course, "BATCH", 2)
    woken = []
    with ScriptedServer() as server, real_queue(server):
        for name in "abc":
            send(f"{name}@example.com")
        delivery.drain(get_mailer("default"), wake=lambda: woken.append(1))
    assert woken == [1]


def test_after_twenty_seconds_the_successor_takes_over():
    """A drain whose time is up gives back what it has not begun, and wakes another."""
    woken = []
    times = iter([0.0, 1.0, 2.0, 30.0])
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        run = draining.Drain(
            get_mailer("default"),
            wake=lambda: woken.append(1),
            clock=lambda: next(times, 99.0),
        )
        run.run()
    assert woken == [1]
    assert statuses() in (["queued"], ["sent"])


def test_looks_again_for_coalesced_hints():
    """Mail that was committed just after the hint is found by the same drain."""
    with ScriptedServer() as server, real_queue(server):
        assert delivery.drain(get_mailer("default"), linger=0.01) == 0
        assert server.sessions == ()


def test_purged_content_is_an_end():
    """A delivery whose content is gone fails with the reason, and its neighbours go."""
    with ScriptedServer() as server, real_queue(server):
        gone = send("gone@example.com")
        gone.body.delete()
        send("b@example.com")
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["failed", "sent"]
    assert "purged" in Delivery.objects.order_by("pk")[0].reply


def test_a_database_that_refuses_stops_the_drain(monkeypatch):
    """When outcomes cannot be written, nothing more is sent, and the rows say "may have left"."""
    original = ledger.settle_and_mark

    def refuse(lease, bookings, *what):
        if bookings:
            raise OperationalError("disk full")
        return original(lease, bookings, *what)

    with ScriptedServer() as server, real_queue(server):
        for number in range(30):
            send(f"{number}@example.com")
        monkeypatch.setattr(ledger, "settle_and_mark", refuse)
        with pytest.raises(OperationalError):
            delivery.drain(get_mailer("default"))
        assert len(server.messages) <= 20
    marked = Delivery.objects.filter(marked=True).count()
    assert len(server.messages) <= marked <= 20
    assert Delivery.objects.filter(status="queued").count() == 30 - marked


def test_a_stop_from_outside_settles_what_is_known(monkeypatch):
    """An exception in the middle (a soft time limit) loses no outcome and keeps no row."""

    class Stop(BaseException):
        pass

    original = course.Chunk._take
    taken = []

    def take(self, outcome):
        original(self, outcome)
        taken.append(outcome)
        if len(taken) == 3:
            raise Stop

    monkeypatch.setattr(course.Chunk, "_take", take)
    with ScriptedServer() as server, real_queue(server):
        for number in range(10):
            send(f"{number}@example.com")
        with pytest.raises(Stop):
            delivery.drain(get_mailer("default"))
    rows = statuses()
    assert rows.count("sent") >= 3
    assert "sending" not in rows
    assert not Delivery.objects.filter(marked=True).exists()


def test_a_long_wait_gives_back_what_was_not_begun(monkeypatch):
    """While one reply takes long, the others may go with another worker."""
    monkeypatch.setattr("django_smtpx.delivery.chunk.GIVE_BACK_AFTER", 0.05)
    monkeypatch.setattr("django_smtpx.delivery.chunk.MAX_SECONDS", 0.02)
    with ScriptedServer({"EOD": [Delay(0.5)]}) as server, real_queue(server):
        for name in "abc":
            send(f"{name}@example.com")
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 3
        assert server.messages[0].recipients == ("a@example.com",)
    assert set(statuses()) == {"sent"}
    assert Attempt.objects.count() == 3


def test_a_lost_lease_sends_nothing(monkeypatch):
    """A worker whose rows were claimed by somebody else lets them be."""
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        monkeypatch.setattr(ledger, "settle_and_mark", lambda *_: (0, False))
        assert delivery.drain(get_mailer("default")) == 0
        assert server.messages == ()


def test_a_lease_that_ran_out_meanwhile_sends_nothing(monkeypatch):
    """Asked right before the content, a lease that does not hold keeps it back."""
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        answers = iter([False])
        original = course.Chunk.may_send
        monkeypatch.setattr(
            course.Chunk,
            "may_send",
            lambda self, envelope: next(answers, None) is None and original(self, envelope),
        )
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 1
    assert statuses() == ["sent"]
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize(
    ("policy", "outcome", "kept"),
    [
        ("failures", "550 5.1.1 no", True),
        ("failures", None, False),
        ("always", None, True),
        ("never", "550 5.1.1 no", False),
    ],
)
def test_transcripts_are_kept_as_asked(policy, outcome, kept):
    """The transcript is on the attempt where the mailer wants it."""
    with ScriptedServer({"RCPT": outcome}) as server, real_queue(server, transcript=policy):
        send("a@example.com")
        deliver()
    transcript = Attempt.objects.get().transcript
    assert bool(transcript) is kept
    if kept:
        assert "RCPT TO:<a@example.com>" in transcript
        assert "Body" not in transcript


def test_a_delivery_alone_goes_alone():
    """What may have killed a worker is claimed by itself, before the others."""
    with ScriptedServer() as server, real_queue(server):
        stored("a@example.com")
        stored("suspect@example.com").deliveries.update(lane=Delivery.Lane.ALONE, leases_lost=2)
        delivery.drain(get_mailer("default"))
        assert [m.recipients[0] for m in server.messages] == [
            "suspect@example.com",
            "a@example.com",
        ]


def test_conservation():
    """Every recipient that was stored is somewhere, once."""
    script = {
        "RCPT": {"no@*": "550 5.1.1 no", "later@*": "451 4.3.0 later", "*": None},
        "EOD": [None, Close(), "552 5.3.4 too big", Reply("421 4.3.0 bye", then=Close())],
    }
    with ScriptedServer(script) as server, real_queue(server):
        for number in range(40):
            send(f"{number}@example.com", "no@example.com", "later@example.com")
        deliver()
    total = Delivery.objects.count()
    assert total == 120
    by_status = {s: statuses().count(s) for s in set(statuses())}
    assert sum(by_status.values()) == total
    assert set(by_status) <= {"sent", "failed", "deferred", "unknown"}
    sent = set(
        Delivery.objects.filter(status="sent").values_list("message__message_id", "recipient")
    )
    received = {
        (m.content.split(b"Message-ID: ")[1].split(b"\r\n")[0].decode(), recipient)
        for m in server.messages
        for recipient in m.recipients
    }
    unknown = Attempt.objects.filter(outcome="unknown").values_list(
        "delivery__message__message_id", "delivery__recipient"
    )
    assert sent <= received
    assert received - sent <= set(unknown)
    assert Message.objects.count() == 40


def test_send_mail_is_all_a_site_calls():
    """Django's own function is the door."""
    with ScriptedServer() as server, real_queue(server):
        assert send_mail("S", "B", "from@example.com", ["a@example.com"]) == 1
        assert deliver() == 1
        assert b"Subject: S\r\n" in server.messages[0].content


def test_an_answer_about_the_account_holds_the_mailer():
    """A 530 to MAIL is about the login: one attempt, the mailer held, the mail at rest."""
    with (
        ScriptedServer({"MAIL": "530 5.7.0 Authentication required"}) as server,
        real_queue(server),
    ):
        for name in "abc":
            send(f"{name}@example.com")
        deliver()
        assert len(server.sessions) == 1
    assert Route.objects.get().state == "held"
    assert Attempt.objects.count() == 1
    first, *others = Delivery.objects.order_by("pk")
    assert (first.status, first.category, first.step) == ("deferred", "auth_required", 0)
    assert first.next_attempt_at == Route.objects.get().paused_until
    assert {row.attempt_count for row in others} == {0}


def test_an_error_of_our_own_does_not_hold_up_the_neighbours(monkeypatch):
    """A mail that raises in every worker is given up in the end, and the others go."""
    original = course.book

    def book(outcome, job, *args, **kwargs):
        if job.rows[0].recipient == "poison@example.com":
            raise ZeroDivisionError
        return original(outcome, job, *args, **kwargs)

    monkeypatch.setattr(course, "book", book)
    with ScriptedServer({"RCPT": {"poison@*": "450 4.2.1 later"}}) as server, real_queue(server):
        send("poison@example.com")
        for name in "abc":
            send(f"{name}@example.com")
        for _ in range(4):
            try:
                deliver()
            except ZeroDivisionError:
                continue
        assert len(server.messages) == 3
    assert statuses() == ["failed", "sent", "sent", "sent"]


def test_an_error_of_our_own_behind_a_250_is_in_doubt(monkeypatch):
    """What the server may have taken is never said to have failed, whatever raised."""

    def book(*args, **kwargs):
        raise ZeroDivisionError

    with ScriptedServer() as server, real_queue(server, on_unknown="hold"):
        send("a@example.com")
        monkeypatch.setattr(course, "book", book)
        with pytest.raises(ZeroDivisionError):
            deliver()
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["unknown"]
    assert attempts() == [("unknown", "unknown_outcome", "eod", None)]


def test_a_stop_in_the_middle_of_settling_is_made_good(monkeypatch):
    """When a time limit falls into the writing of outcomes, they are written all the same."""

    class Stop(Exception):
        pass

    original = ledger.settle_and_mark
    calls = []

    def settle(lease, bookings, *what):
        calls.append(len(bookings))
        if calls == [0, 1]:
            raise Stop
        return original(lease, bookings, *what)

    monkeypatch.setattr(ledger, "settle_and_mark", settle)
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        with pytest.raises(Stop):
            delivery.drain(get_mailer("default"), stops=(Stop,))
    assert statuses() == ["sent"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_between_the_reply_and_its_booking(monkeypatch, when):
    """Wherever a stop falls, a 250 that was read is booked, and once."""

    class Stop(Exception):
        pass

    original = course.Chunk._take
    calls = []

    def take(self, outcome):
        calls.append(outcome)
        if len(calls) == 2 and when == "before":
            raise Stop
        original(self, outcome)
        if len(calls) == 2:
            raise Stop

    monkeypatch.setattr(course.Chunk, "_take", take)
    with ScriptedServer() as server, real_queue(server):
        for number in range(5):
            send(f"{number}@example.com")
        with pytest.raises(Stop):
            delivery.drain(get_mailer("default"), stops=(Stop,))
        taken = len(server.messages)
    assert taken in (2, 3)
    assert statuses().count("sent") >= 2
    assert Attempt.objects.filter(outcome="sent").count() == statuses().count("sent")
    assert "sending" not in statuses()


def test_a_250_beside_a_hold_that_cannot_be_written(monkeypatch):
    """What was taken is on record, what was refused waits a minute, and the drain ends."""

    def refuse(*args):
        raise OperationalError("disk full")

    script = {"RCPT": {"acct@*": "530 5.7.0 Authentication required"}}
    with ScriptedServer(script) as server, real_queue(server, on_unknown="hold"):
        send("a@example.com", "acct@example.com")
        send("b@example.com")
        with monkeypatch.context() as patched:
            patched.setattr(pacing, "book_failure", refuse)
            delivery.drain(get_mailer("default"))
        assert statuses() == ["sent", "deferred", "queued"]
        deliver()
        assert [m.recipients[0] for m in server.messages] == ["a@example.com", "b@example.com"]
    assert statuses() == ["sent", "deferred", "sent"]
    assert Delivery.objects.get(status="deferred").next_attempt_at > timezone.now()


def test_a_stop_within_the_booking_books_once(monkeypatch):
    """A stop right after an outcome was taken, and before it left the list, doubles nothing."""

    class Stop(Exception):
        pass

    class Interrupted(course.deque):
        stops = 1

        def popleft(self):
            if self.stops:
                self.stops = 0
                raise Stop
            return super().popleft()

    monkeypatch.setattr(course, "deque", Interrupted)
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        send("b@example.com")
        with pytest.raises(Stop):
            delivery.drain(get_mailer("default"), stops=(Stop,))
        assert len(server.messages) == 1
    assert statuses() == ["sent", "queued"]
    assert Attempt.objects.count() == 1


def test_a_connection_carries_as_many_messages_as_it_may():
    """messages_per_connection holds within a drain, too."""
    with ScriptedServer() as server, real_queue(server, messages_per_connection=3):
        for number in range(7):
            send(f"{number}@example.com")
        deliver()
        assert [len(session.messages) for session in server.sessions] == [3, 3, 1]
        assert [session.ended for session in server.sessions[:2]] == ["quit", "quit"]
    assert set(statuses()) == {"sent"}


def test_an_old_connection_is_not_used_on():
    """connection_max_age holds within a drain, too."""
    with ScriptedServer() as server, real_queue(server, connection_max_age=1e-9):
        for number in range(3):
            send(f"{number}@example.com")
        deliver()
        assert [len(session.messages) for session in server.sessions] == [1, 1, 1]


def test_a_mailer_that_keeps_no_idle_connection_keeps_none():
    """idle_timeout is the mailer's: with 0 the session ends with its drain, and so does the slot."""
    with ScriptedServer() as server, real_queue(server, idle_timeout=0):
        send("a@example.com")
        deliver()
        assert len(default_pool) == 0
        assert server.sessions[0].ended == "quit"
    assert not Slot.objects.exclude(token=None).exists()


def test_a_lost_slot_ends_the_drain(monkeypatch):
    """Whoever was stopped for so long that another has the slot sends nothing beside it."""
    with ScriptedServer() as server, real_queue(server, max_connections=1):
        for number in range(50):
            send(f"{number}@example.com")
        original = course.Course._settle

        def lose(run, lease, bookings, *args):
            marked = original(run, lease, bookings, *args)
            if bookings and run._holds.slot is not None:
                run._holds.slot.expires = ledger.now()
                Slot.objects.update(token=None)
            return marked

        monkeypatch.setattr(course.Course, "_settle", lose)
        delivery.drain(get_mailer("default"))
        sent = len(server.messages)
        assert sent < 40
        assert len(default_pool) == 0
    assert statuses() == ["sent"] * sent + ["queued"] * (50 - sent)
