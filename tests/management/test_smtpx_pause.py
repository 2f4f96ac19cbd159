"""``smtpx_pause``: a mailer or a destination rests, and says so."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from unittest import mock

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_smtpx.config import get_mailer
from django_smtpx.delivery import course
from django_smtpx.models import Attempt, Delivery, Route
from django_smtpx.pacing import duration
from django_smtpx.smtp.options import Options, Security
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.factories import claimed, statuses, stored
from tests.straight import straight

pytestmark = pytest.mark.django_db

OTHERS = {"bulk": {"host": "127.0.0.1"}}


@pytest.fixture
def site():
    """Configure a default mailer and another one."""
    with real_queue(host="127.0.0.1", port=1, mailers=OTHERS):
        yield


def run(*args, **options):
    """Run the command and return the lines that it printed."""
    out = StringIO()
    call_command("smtpx_pause", *args, stdout=out, **options)
    return out.getvalue().splitlines()


def send(to):
    """Queue a mail."""
    EmailMessage("Subject", "Body", "from@example.com", [to]).send()


def test_a_paused_domain_keeps_its_mail_and_no_other():
    """Its mail is put away once, without an attempt, and goes when it is resumed."""
    with ScriptedServer() as server, real_queue(server):
        run("default", "--domain", "Slow.EXAMPLE")
        for to in ("a@slow.example", "b@example.com", "c@slow.example"):
            send(to)
        deliver()
        assert [message.recipients for message in server.messages] == [("b@example.com",)]
        assert statuses() == ["queued", "sent", "queued"]
        kept = Delivery.objects.filter(domain="slow.example")
        before = list(kept.order_by("pk").values())
        for row in before:
            assert (row["attempt_count"], row["step"], row["next_attempt_at"]) == (0, 0, None)
        send("d@example.com")
        deliver()
        assert list(kept.order_by("pk").values()) == before
        call_command("smtpx_resume", "default", domain="slow.example", stdout=StringIO())
        deliver()
        assert len(server.messages) == 4
    assert set(statuses()) == {"sent"}
    assert Attempt.objects.count() == 4


def test_a_destination_of_a_mailer_without_a_host():
    """Where mail goes straight to domains, one of them rests, and no connection to it is made."""
    with ScriptedServer() as server, ScriptedServer() as other, real_queue(server):
        ports = {"one.example": server.port, "two.example": other.port}

        def router(domain):
            return (
                Options(host="127.0.0.1", port=ports[domain], security=Security.NONE, relay=False),
            )

        mailer = straight(get_mailer("default"), router)
        known = {"default": mailer}
        with (
            mock.patch("django_smtpx.ledger.storing.mailers", return_value=known),
            mock.patch("django_smtpx.delivery.idle.mailers", return_value=known),
        ):
            run("default", "--domain", "one.example", "--for", "1d")
            for to in ("a@one.example", "b@two.example", "c@one.example"):
                send(to)
            deliver()
            assert statuses() == ["queued", "sent", "queued"]
            assert not server.sessions
            call_command("smtpx_resume", "default", domain="one.example", stdout=StringIO())
            deliver()
            assert len(server.messages) == 2
    assert set(statuses()) == {"sent"}


def test_a_held_mailer_asks_its_server_nothing():
    """Not one connection is made, and what is stored meanwhile waits as well."""
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        run("default")
        deliver()
        send("b@example.com")
        deliver()
        assert not server.sessions
        assert statuses() == ["queued", "queued"]
        call_command("smtpx_resume", "default", stdout=StringIO())
        deliver()
    assert statuses() == ["sent", "sent"]


def test_a_held_mailer_refuses_to_send_at_once():
    """With mode="now" the caller is told why, in the person's words."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        run("default", "--reason", "the provider moves")
        with pytest.raises(OSError, match="rests until it is resumed: the provider moves"):
            send("a@example.com")
        assert not server.sessions


@pytest.mark.django_db(transaction=True)
def test_a_drain_under_way_sends_what_it_has_claimed(monkeypatch):
    """And claims no more; what is left is put away, and its success does not open the mailer."""
    monkeypatch.setattr(course, "BATCH", 5)

    def close(conversation, argument):
        run("default", "--reason", "stop")
        connection.close()

    with ScriptedServer({"EOD": [close]}) as server, real_queue(server):
        for number in range(12):
            send(f"{number}@example.com")
        deliver()
        assert len(server.messages) == 5
        assert statuses() == ["sent"] * 5 + ["queued"] * 7
        kept = Delivery.objects.filter(status="queued")
        assert set(kept.values_list("next_attempt_at", "attempt_count")) == {(None, 0)}
        assert Route.objects.get().state == "held"
        call_command("smtpx_resume", "default", stdout=StringIO())
        deliver()
        assert len(server.messages) == 12
    assert set(statuses()) == {"sent"}


def test_it_says_what_waits_and_what_still_goes(site):
    """How much waits of what was paused, and how much a worker has claimed already."""
    stored("a@example.com")
    claimed()
    for recipient in ("b@example.com", "c@example.com", "d@example.org"):
        stored(recipient)
    stored("e@example.com", mailer="bulk")
    assert run("default", "--domain", "example.com", "--reason", "too slow") == [
        "Mail of 'default' to example.com is held until it is resumed: smtpx_resume default --domain example.com",
        "Waiting: 2.",
        "Claimed by a worker before, and still sent: up to 1.",
    ]
    route = Route.objects.get()
    assert (route.mailer, route.domain, route.state) == ("default", "example.com", "held")
    assert (route.paused_until, route.pause_reason) == (None, "too slow")


def test_for_a_time(site):
    """It names the time; the same command with another one changes it."""
    lines = run("bulk", **{"for": "1h30m"})
    route = Route.objects.get()
    assert route.state == "paused"
    length = route.paused_until - timezone.now()
    assert timedelta(minutes=89) < length <= timedelta(minutes=90)
    assert lines == [
        f"Mailer 'bulk' rests until {route.paused_until:%Y-%m-%d %H:%M:%S} UTC, or: smtpx_resume bulk",
        "Waiting: 0.",
    ]
    assert run("bulk", verbosity=0) == []
    assert Route.objects.get().state == "held"


def test_a_pause_that_is_over_needs_nobody():
    """Its mail goes by itself, and the mailer stands as open."""
    with ScriptedServer() as server, real_queue(server):
        send("a@example.com")
        run("default", "--for", "2h")
        deliver()
        assert statuses() == ["queued"]
        past = timezone.now() - timedelta(seconds=1)
        Route.objects.update(paused_until=past)
        Delivery.objects.update(next_attempt_at=past)
        deliver()
        assert len(server.messages) == 1
    assert Route.objects.get().state == "open"
    assert statuses() == ["sent"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("defalt",), "There is no mailer 'defalt'. Did you mean 'default'?"),
        (("nowhere",), "There is no mailer 'nowhere'. Choose from: default, bulk."),
        (
            ("default", "--domain", "a@example.com"),
            "'a@example.com' is no domain. Give what stands",
        ),
        (("default", "--domain", ""), "'' is no domain"),
        (("default", "--domain", "münchen..example"), "münchen..example"),
        (("default", "--for", "2 hours"), "'2 hours' is no duration. Write 90s, 15m, 2h, 1d or"),
        (("default", "--for", "0s"), "'0s' is no duration"),
        (("default", "--for", ""), "'' is no duration"),
        (("default", "--for", "4000d"), "longer than ten years. Without a time"),
    ],
)
def test_errors_name_the_value_and_the_mend(site, args, error):
    """Nothing is written for them."""
    with pytest.raises(CommandError) as caught:
        run(*args)
    assert error in str(caught.value)
    assert not Route.objects.exists()


def test_an_international_domain(site):
    """It rests under the name that deliveries have it by."""
    stored("a@xn--mnchen-3ya.example")
    assert run("default", "--domain", "MÜNCHEN.example")[1] == "Waiting: 1."
    assert Route.objects.get().domain == "xn--mnchen-3ya.example"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1d1h1m1s", 90061),
        ("3650d", 315360000),
    ],
)
def test_durations(text, seconds):
    """The units that people write, biggest first."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["2", "h", "30m1h", "-1h", "1.5h", "1H", " 1h", "٣h", "1h 30m"])
def test_what_is_no_duration(text):
    """A number without a unit could be anything."""
    with pytest.raises(ValueError, match="is no duration"):
        duration(text)
