"""``smtpx_retry``: what waits, or had ended, goes again; what is in doubt is decided."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from django_smtpx import tasks
from django_smtpx.management import steering
from django_smtpx.models import Attempt, Content, Delivery, Message, Route
from django_smtpx.testing import Close, ScriptedServer, deliver, real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db

IDLE = Delivery.Lane.IDLE


@pytest.fixture
def hints(monkeypatch):
    """Catch the hints to the broker, in a site with a default mailer and another one."""
    with real_queue(host="127.0.0.1", port=1, mailers={"other": {"host": "127.0.0.1"}}):
        sent = []
        # Set back before real_queue sets back its own: the other way round it would stay.
        with monkeypatch.context() as patches:
            patches.setattr(tasks, "wake", sent.append)
            yield sent


def run(*args, **options):
    """Run the command and return the lines that it printed, but for the counts."""
    out = StringIO()
    call_command("smtpx_retry", *args, stdout=out, **options)
    return [one for one in out.getvalue().splitlines() if not one.startswith("Before and after")]


def put(recipient="a@example.com", mailer="default", **values):
    """Store one mail, by default one that failed, and return its delivery."""
    message = stored(recipient, mailer=mailer)
    defaults = {"status": "failed", "lane": IDLE, "settled_at": timezone.now()}
    Delivery.objects.filter(message=message).update(**{**defaults, **values})
    return Delivery.objects.get(message=message)


def send(server_knows="a@example.com"):
    """Send one mail through the queue."""
    EmailMessage("Subject", "Body", "from@example.com", [server_knows]).send()
    deliver()


@pytest.mark.django_db(transaction=True)
def test_failed_mail_goes_again():
    """What was refused for good goes again on a person's word, with the same bytes."""
    with ScriptedServer({"RCPT": ["550 5.1.1 No such user"]}) as server, real_queue(server):
        send()
        assert statuses() == ["failed"]
        row = Delivery.objects.get()
        assert run("--id", str(row.pk)) == ["Due now: 1."]
        assert deliver() == 1
        assert server.messages[0].content == Message.objects.get().content
    assert statuses() == ["sent"]
    assert Message.objects.get().settled_at is not None
    assert [one.outcome for one in Attempt.objects.order_by("number")] == ["failed", "sent"]


@pytest.mark.django_db(transaction=True)
def test_unknown_mail_that_arrived():
    """Lost behind the dot, and held: "it arrived" settles it, and nothing is sent again."""
    with ScriptedServer({"EOD": [Close()]}) as server, real_queue(server, on_unknown="hold"):
        send()
        assert statuses() == ["unknown"]
        assert run("--mailer", "default")[:2] == [
            "Due now: 0.",
            "Left alone: 1 of unknown outcome: the server may have taken it.",
        ]
        assert run("--status", "unknown", "--arrived") == ["Settled as sent: 1."]
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["sent"]
    assert [one.outcome for one in Attempt.objects.all()] == ["unknown"]
    assert Message.objects.get().settled_at is not None


@pytest.mark.django_db(transaction=True)
def test_unknown_mail_that_is_sent_again():
    """Sent again it is on the server twice, under one Message-ID."""
    with ScriptedServer({"EOD": [Close()]}) as server, real_queue(server, on_unknown="hold"):
        send()
        assert run("--status", "unknown") == ["Due now: 1."]
        deliver()
        first, second = server.messages
    assert first.content == second.content
    assert Message.objects.get().message_id.encode() in second.content
    assert statuses() == ["sent"]


@pytest.mark.django_db(transaction=True)
def test_three_unknown_outcomes_wait_for_a_person():
    """With on_unknown="retry" it is tried three times; then a person gives it three more."""
    with ScriptedServer({"EOD": [Close()] * 5}) as server, real_queue(server):
        send()
        for expected in ("deferred", "unknown", "unknown"):
            past = timezone.now() - timedelta(seconds=1)
            Delivery.objects.filter(status="deferred").update(next_attempt_at=past)
            deliver()
            assert statuses() == [expected]
        assert len(server.messages) == 3
        run("--status", "unknown")
        deliver()
        row = Delivery.objects.get()
        assert (row.status, row.unknowns, row.attempt_count) == ("deferred", 1, 4)


@pytest.mark.django_db(transaction=True)
def test_a_now_mail_goes_through_the_queue():
    """What failed in the calling process can be handed to the workers afterwards."""
    script = {"RCPT": ["450 4.2.1 Later", "450 4.2.1 Later"]}
    with ScriptedServer(script) as server, real_queue(server, mode="now"):
        with pytest.raises(OSError, match="Later"):
            send()
        assert statuses() == ["failed"]
        assert run("--status", "failed") == ["Due now: 1."]
        deliver()
        assert statuses() == ["deferred"]
        assert run("--status", "deferred") == ["Due now: 1."]
        deliver()
        assert len(server.messages) == 1
    assert statuses() == ["sent"]


def test_a_call_without_a_filter_is_refused(hints):
    """Everything is nobody's wish; the error names the filters."""
    put()
    with pytest.raises(CommandError, match=r"--id, --mailer.*--dry-run"):
        run()
    with pytest.raises(CommandError, match="--status"):
        run("--dry-run")
    assert statuses() == ["failed"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("--status", "faild"), "There is no status 'faild'. Did you mean 'failed'?"),
        (("--status", "x"), "Choose from: queued, sending, deferred,"),
        (("--category", "mailbox-full"), "Did you mean 'mailbox_full'?"),
        (("--mailer", "defalt"), "There is no mailer 'defalt'. Did you mean 'default'?"),
        (("--mailer", "zzz"), "There is no mailer 'zzz'. Choose from: default, other."),
        (("--domain", "ü" * 70 + ".example"), "Invalid domain"),
        (("--id", "x"), "invalid int value"),
    ],
)
def test_what_cannot_be_is_an_error(hints, args, error):
    """A word that fits nothing is not taken for "none"."""
    with pytest.raises(CommandError) as caught:
        run(*args)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--mailer", "gone"), ["c@example.net"]),
        (("--domain", "EXAMPLE.com"), ["a@example.com"]),
        (("--domain", "münchen.example"), ["d@xn--mnchen-3ya.example"]),
        (("--recipient", "A@example.com"), ["a@example.com"]),
        (("--category", "spam", "--status", "failed"), ["b@example.org"]),
        (("--category", "spam", "--mailer", "default"), []),
    ],
)
def test_filters(hints, args, found):
    """All filters must hold; a mailer that is configured no more can be named while it has mail."""
    put("a@example.com")
    put("b@example.org", "other", category="spam")
    put("c@example.net", "gone")
    put("d@xn--mnchen-3ya.example")
    out = run(*args)
    rows = Delivery.objects.filter(status="queued")
    assert list(rows.values_list("recipient", flat=True)) == found
    assert out[0] == (f"Due now: {len(found)}." if found else "No delivery matches.")


def test_several_ids(hints):
    """--id takes several, and may be said several times."""
    first, second, third = put(), put(), put()
    assert run("--id", str(first.pk), str(second.pk), "--id", str(third.pk)) == ["Due now: 3."]
    assert run(id=first.pk)[1:] == ["Left alone: 1 due already, and not tried yet."]


def test_says_what_was_left_alone_and_why(hints):
    """Each reason is counted, and what is in doubt gets a hint."""
    put()
    put(status="sent")
    put(status="unknown")
    Content.objects.filter(message__deliveries=put()).delete()
    advice = (
        "Those of unknown outcome are for you to decide: smtpx_retry --status unknown sends them "
        "again, with --arrived it settles them as sent."
    )
    assert run("--mailer", "default") == [
        "Due now: 1.",
        "Left alone: 1 sent already.",
        "Left alone: 1 of unknown outcome: the server may have taken it.",
        "Left alone: 1 without its content, which has been purged.",
        advice,
    ]


def test_scheduled_mail_keeps_its_time(hints):
    """What was cancelled before its send_at is queued for it once more."""
    message = stored(send_at=timezone.now() + timedelta(hours=1))
    Delivery.objects.filter(message=message).update(status="cancelled")
    assert run("--status", "cancelled") == ["Due now: 0. Queued again for their send_at: 1."]


def test_says_why_the_mail_will_not_go_yet(hints):
    """A mailer that rests, or is not configured, is named with what would help."""
    put()
    put(mailer="gone")
    Route.objects.create(mailer="default", state="held", pause_reason="auth 535 No")
    Route.objects.create(mailer="default", domain="slow.example", state="paused")
    assert run("--status", "failed") == [
        "Due now: 2.",
        "Mailer 'gone' is not configured, or wrongly: its mail waits.",
        "Mailer default rests (auth 535 No): smtpx_resume default lets it go.",
    ]


def test_dry_run_writes_nothing_and_counts(hints, monkeypatch):
    """The table counts by mailer, domain and category, most first; no worker is told."""
    monkeypatch.setattr(steering, "MOST_ROWS", 2)
    put("a@example.com", category="spam")
    put("b@example.com", category="spam")
    put("c@example.org", "other", category="mailbox_full")
    put("d@example.net")
    put(status="sent")
    before = list(Delivery.objects.order_by("pk").values())
    assert run("--dry-run", "--domain", "example.net") == [
        "Mailer   Domain       Category  Deliveries",
        "default  example.net  none yet           1",
        "Would be due now: 1.",
    ]
    statuses_of = ("--id", *(str(row["id"]) for row in before), "--dry-run")
    assert run(*statuses_of) == [
        "Mailer   Domain       Category  Deliveries",
        "default  example.com  spam               2",
        "default  example.net  none yet           1",
        "… and 1 more.",
        "Would be due now: 4.",
        "Left alone: 1 sent already.",
    ]
    assert list(Delivery.objects.order_by("pk").values()) == before
    assert hints == []


@pytest.mark.django_db(transaction=True)
def test_workers_are_told_after_the_commit(hints):
    """Each configured mailer with mail that is due gets a hint, once it can see the mail."""
    put()
    put(mailer="other")
    put(mailer="gone")
    with transaction.atomic():
        run("--status", "failed")
        assert hints == []
    assert hints == ["default", "other"]


def test_quiet(hints):
    """--verbosity 0 says nothing."""
    put()
    assert run("--status", "failed", verbosity=0) == []
    assert statuses() == ["queued"]
