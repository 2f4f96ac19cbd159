"""``smtpx_resume``: what rests goes again, whoever closed it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from django_smtpx import ledger, pacing, tasks
from django_smtpx.models import Attempt, Delivery, RefusedCredential, Route
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db

OTHERS = {"bulk": {"host": "127.0.0.1"}}


@pytest.fixture
def hints(monkeypatch):
    """Catch the hints to the broker, in a site with a default mailer and another one."""
    with real_queue(host="127.0.0.1", port=1, mailers=OTHERS):
        sent = []
        # Set back before real_queue sets back its own: the other way round it would stay.
        with monkeypatch.context() as patches:
            patches.setattr(tasks, "wake", sent.append)
            yield sent


def run(*args, **options):
    """Run the command and return the lines that it printed, but for the counts."""
    out = StringIO()
    call_command("smtpx_resume", *args, stdout=out, **options)
    return [one for one in out.getvalue().splitlines() if not one.startswith("Before and after")]


def send(to="a@example.com", sender="from@example.com", **headers):
    """Queue a mail."""
    EmailMessage("Subject", "Body", sender, [to], headers=headers).send()


def hold(mailer="default", **values):
    """Store a route that a person holds, and put its mail away."""
    Route.objects.create(mailer=mailer, state="held", **values)
    ledger.park(mailer, None, timezone.now())


def test_a_refused_login_is_tried_at_once():
    """The provider has let the account in again: nobody waits for the next probe."""
    login = {"username": "u", "password": "p", "allow_plaintext_auth": True}
    script = {"AUTH": ["535 5.7.8 Bad credentials"]}
    with (
        ScriptedServer(script, users={"u": "p"}, require_auth=True) as server,
        real_queue(server, **login),
    ):
        for number in range(3):
            send(f"{number}@example.com")
        deliver()
        assert statuses() == ["deferred", "queued", "queued"]
        assert Route.objects.get().state == "held"
        assert RefusedCredential.objects.exists()
        deliver()
        assert len(server.sessions) == 1
        assert run("default") == ["Mailer 'default' is open again.", "Ready: 3."]
        assert not RefusedCredential.objects.exists()
        deliver()
        assert len(server.messages) == 3
    assert set(statuses()) == {"sent"}


def test_a_login_that_is_still_refused_costs_one_more():
    """One message tries it for all the others, and the mailer is held as before."""
    login = {"username": "u", "password": "p", "allow_plaintext_auth": True}
    script = {"AUTH": ["535 5.7.8 Bad credentials"] * 5}
    with (
        ScriptedServer(script, users={"u": "p"}, require_auth=True) as server,
        real_queue(server, **login),
    ):
        for number in range(3):
            send(f"{number}@example.com")
        deliver()
        run("default")
        deliver()
        assert len(server.sessions) == 2
    assert Route.objects.get().state == "held"
    assert Attempt.objects.count() == 2


def test_a_server_that_is_back():
    """What the breaker closed opens at once, too."""
    with ScriptedServer({"GREETING": ["554 5.3.2 No service"]}) as server, real_queue(server):
        send()
        send("b@example.com")
        deliver()
        assert statuses() == ["deferred", "queued"]
        assert Route.objects.get().state == "paused"
        assert run("default")[0] == "Mailer 'default' is open again."
        deliver()
        assert len(server.messages) == 2
    assert statuses() == ["sent", "sent"]


@pytest.mark.parametrize("place", ["MAIL", "EOD"])
def test_a_sender_is_resumed_wherever_it_was_refused(place):
    """As the reverse path or in the From header: whoever resumes it need not know."""
    not_owned = "553 5.7.1 Sender address rejected: not owned by user u"
    not_ours = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
    script = {place: [not_owned if place == "MAIL" else not_ours]}
    with ScriptedServer(script) as server, real_queue(server):
        send(sender="Ann <ann@example.com>")
        deliver()
        send(sender="Ann <ann@example.com>", to="b@example.com")
        deliver()
        assert Route.objects.get(state="held").sender.endswith(
            "<ann@example.com>" if place == "MAIL" else " ann@example.com"
        )
        assert statuses() == ["deferred", "queued"]
        assert run("default", "--sender", "ann@Example.com") == [
            "Mail of 'default' from 'ann@Example.com' is open again.",
            "Ready: 2.",
        ]
        deliver()
        assert len(server.messages) == 2
    assert statuses() == ["sent", "sent"]


def test_the_null_sender(hints):
    """Its brackets are all there is to write of it."""
    hold(sender=pacing.envelope_key(""))
    assert run("default", sender="<>")[0] == "Mail of 'default' from '<>' is open again."
    assert Route.objects.get().state == "open"


def test_what_is_open_says_so(hints):
    """That is no error, and nobody is woken for it."""
    assert run("default") == ["Mailer 'default' is open: nothing to resume."]
    assert run("bulk", domain="example.com") == [
        "Mail of 'bulk' to example.com is open: nothing to resume."
    ]
    assert run("bulk", sender="a@example.com") == [
        "Mail of 'bulk' from 'a@example.com' is open: nothing to resume."
    ]
    assert run("default", verbosity=0) == []
    assert hints == []
    assert not Route.objects.exists()


def test_it_says_what_rests_still(hints):
    """A domain goes only if its mailer does, and a mailer's own word opens no domain."""
    hold(pause_reason="quota")
    hold(domain="one.example")
    hold(domain="two.example", pause_reason="too slow")
    hold(sender="From ann@example.com")
    hold("bulk")
    assert run("default", "--domain", "one.example")[2:] == [
        "Still at rest: Mailer 'default' (quota).",
        "Still at rest: From ann@example.com (no reason given).",
        "Still at rest: Mail of 'default' to two.example (too slow).",
    ]
    assert run("default")[2:] == [
        "Still at rest: From ann@example.com (no reason given).",
        "Still at rest: Mail of 'default' to two.example (too slow).",
    ]
    for number in range(10):
        hold(domain=f"{number}.example")
    lines = run("default")
    assert lines[0] == "Mailer 'default' is open: nothing to resume."
    assert len(lines) == 12
    assert lines[-1] == "… and more: the admin's list of routes shows them."


def test_the_workers_are_told_after_the_commit(hints, django_capture_on_commit_callbacks):
    """A hint that came sooner would find the mailer closed."""
    stored()
    hold()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        run("default")
        assert hints == []
    assert hints == ["default"]
    assert Delivery.objects.get().lane == Delivery.Lane.READY


def test_a_mailer_that_is_no_more(hints):
    """Its mail can be let go as far as that goes; what keeps it is said."""
    stored(mailer="gone")
    hold("gone")
    assert run("gone") == [
        "Mailer 'gone' is open again.",
        "Ready: 1.",
        "Mailer 'gone' is not configured, or wrongly: its mail waits.",
    ]
    assert hints == []


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("defualt",), "There is no mailer 'defualt'. Did you mean 'default'?"),
        (("default", "--domain", "@example.com"), "'@example.com' is no domain. Give what"),
        (
            ("default", "--domain", "example.com", "--sender", "a@example.com"),
            "--domain and --sender are about different things",
        ),
    ],
)
def test_errors_name_the_value_and_the_mend(hints, args, error):
    """Nothing is opened for them."""
    hold()
    with pytest.raises(CommandError) as caught:
        run(*args)
    assert error in str(caught.value)
    assert Route.objects.get().state == "held"
