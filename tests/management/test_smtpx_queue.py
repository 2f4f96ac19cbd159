"""``smtpx_queue``: what is in the queue, why, and until when."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_smtpx import ledger, pacing
from django_smtpx.models import Delivery
from django_smtpx.testing import real_queue
from tests.factories import claimed, stored

pytestmark = pytest.mark.django_db

OTHERS = {"bulk": {"host": "127.0.0.1"}}
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _site():
    with real_queue(host="127.0.0.1", port=1, mailers=OTHERS):
        yield


def run(*args, **options):
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("smtpx_queue", *args, stdout=out, **options)
    return out.getvalue()


def groups(*args):
    """Return what it says in JSON of each group, without the times."""
    found = json.loads(run("--format", "json", *args))["groups"]
    return [
        (one["mailer"], one["domain"], one["status"], one["category"], one["wait"], one["count"])
        for one in found
    ]


def change(to, **values):
    """Let the delivery to an address stand so."""
    assert Delivery.objects.filter(recipient=to).update(**values) == 1


def test_an_empty_queue_is_said_to_be_empty():
    """Nothing is no error."""
    assert run() == "No delivery.\n"
    assert run("--ages") == "No delivery.\n"
    assert json.loads(run("--format", "json"))["groups"] == []


def test_what_waits_is_counted_by_mailer_domain_and_category():
    """What has the most deliveries comes first, and what has ended is not in the queue."""
    later = ledger.now() + HOUR
    stored("a@one.example", "b@one.example", "gone@one.example")
    stored("c@two.example", mailer="bulk", send_at=later)
    stored("d@two.example", "e@two.example", "f@two.example")
    change("gone@one.example", status="sent", lane=Delivery.Lane.OUT)
    idle = {"lane": Delivery.Lane.IDLE, "status": "deferred"}
    change("d@two.example", **idle, category="greylisted", next_attempt_at=later)
    change("e@two.example", **idle, category="spam", next_attempt_at=None)
    change("f@two.example", status="unknown", category="unknown_outcome", lane=Delivery.Lane.OUT)
    assert groups() == [
        ("default", "one.example", "queued", "", "ready", 2),
        ("bulk", "two.example", "queued", "", "scheduled", 1),
        ("default", "two.example", "deferred", "greylisted", "retry", 1),
        ("default", "two.example", "deferred", "spam", "person", 1),
        ("default", "two.example", "unknown", "unknown_outcome", "person", 1),
    ]
    lines = run().splitlines()
    assert lines[0].split()[:5] == ["Mailer", "Domain", "Status", "Category", "Waits"]
    assert "due now" in lines[1]
    assert f"{later:%Y-%m-%d %H:%M:%S}" in lines[3]
    assert lines[-1] == "In all: 6."


def test_until_when_is_the_first_that_goes_on():
    """Of a group the earliest time counts, and the oldest age."""
    now = ledger.now()
    for hours in (3, 1, 2):
        to = f"{hours}@one.example"
        stored(to)
        times = {"next_attempt_at": now + hours * HOUR, "age_from": now - hours * HOUR}
        change(to, lane=Delivery.Lane.IDLE, status="deferred", category="mailbox_full", **times)
    (group,) = json.loads(run("--format", "json"))["groups"]
    assert group["until"] == (now + HOUR).isoformat()
    assert group["oldest"] == (now - 3 * HOUR).isoformat()
    assert "3 hours" in run().replace("\xa0", " ")


def test_what_a_worker_has_is_being_sent():
    """It is in the queue, too."""
    stored("a@one.example")
    claimed()
    assert groups() == [("default", "one.example", "sending", "", "sending", 1)]


def test_what_rests_says_why_and_what_lets_it_go():
    """The reason stands below the table, with the command."""
    stored("a@one.example")
    at = ledger.now()
    pacing.pause("default", at, until=None, reason="the provider is moving", by="smtpx_pause")
    ledger.park("default", None, at)
    assert groups() == [("default", "one.example", "queued", "", "rest", 1)]
    assert "the provider is moving" in run()
    assert "smtpx_resume default" in run()
    assert len(json.loads(run("--format", "json"))["hints"]) == 1


def test_mail_of_a_mailer_that_is_gone_says_so():
    """It waits for its mailer, which nobody would guess."""
    stored("a@one.example", mailer="old")
    assert "'old' is not configured" in run()
    assert groups("--mailer", "old") == [("old", "one.example", "queued", "", "ready", 1)]


def test_a_status_shows_those_that_have_ended_too():
    """By mailer, domain and category, as ever."""
    stored("a@one.example", "b@one.example")
    change("a@one.example", status="failed", category="spam", lane=Delivery.Lane.OUT)
    assert groups("--status", "failed") == [
        ("default", "one.example", "failed", "spam", "ended", 1)
    ]
    assert groups("--domain", "ONE.example") == [
        ("default", "one.example", "queued", "", "ready", 1)
    ]
    assert groups("--category", "spam") == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--status", "send"), "Did you mean 'sent'?"),
        (("--category", "mailbox"), "There is no category 'mailbox'"),
        (("--mailer", "defualt"), "Did you mean 'default'?"),
    ],
)
def test_what_cannot_match_is_an_error(args, said):
    """It names what is near."""
    with pytest.raises(CommandError, match=said.replace("?", r"\?")):
        run(*args)


def test_ages_by_domain():
    """Each delivery stands in one column, and what is scheduled in the last."""
    now = ledger.now()
    for number, minutes in enumerate((-60, 0, 4, 6, 11, 700, 1300, 100_000)):
        to = f"{number}@{'one' if number < 6 else 'two'}.example"
        stored(to)
        change(to, age_from=now - timedelta(minutes=minutes))
    one, two = json.loads(run("--ages", "--format", "json"))["domains"]
    assert (one["domain"], one["count"], one["later"]) == ("one.example", 6, 1)
    assert {minutes: count for minutes, count in one["minutes"].items() if count} == {
        "5": 2,
        "10": 1,
        "20": 1,
        "1280": 1,
    }
    assert {minutes: count for minutes, count in two["minutes"].items() if count} == {"1280+": 2}
    lines = [line.split() for line in run("--ages").splitlines()]
    assert lines[0][:4] == ["Minutes", "All", "5", "10"]
    assert lines[1] == ["All", "8", "2", "1", "1", "0", "0", "0", "0", "0", "1", "2", "1"]
    assert [line[0] for line in lines[2:]] == ["one.example", "two.example"]


def test_a_long_queue_is_cut_in_the_table_and_whole_in_json():
    """Forty lines for a person, everything for a program."""
    for number in range(45):
        stored(f"a@d{number}.example")
    assert "… and 5 more." in run()
    assert "… and 5 more." in run("--ages")
    assert len(groups()) == 45
