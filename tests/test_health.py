"""Is mail flowing: what is found, how the command and the view say it, and what they keep to
themselves.
"""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError
from django.utils import translation

from django_smtpx import health, ledger, pacing, views
from django_smtpx.delivery.idle import SWEEP
from django_smtpx.health import Trouble, findings, flows
from django_smtpx.models import Delivery
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, stored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _mailer():
    with real_queue(host="127.0.0.1", port=1):
        yield


@pytest.fixture
def site(settings):
    """Give the views their addresses."""
    settings.ROOT_URLCONF = "django_smtpx.urls"


@pytest.fixture
def at():
    """Return a time at which a worker has just swept."""
    now = ledger.now()
    ledger.take_turn(SWEEP, 1.0, now)
    return now


def troubles(found):
    """Return what was found, and whether it is failing."""
    return {one.trouble.value: one.failing for one in found}


def test_mail_flows(at):
    """Nothing waits, or what waits is fresh."""
    assert findings(at) == []
    stored()
    assert findings(ledger.now()) == []


def test_nothing_was_ever_sent():
    """There may be no worker yet, and none is missed."""
    assert findings(ledger.now()) == []


@pytest.mark.parametrize("swept", [True, False])
def test_nobody_looks_after_the_mail(swept):
    """It fails while something waits, and is a warning where nothing does."""
    now = ledger.now()
    stored()
    if swept:
        ledger.take_turn(SWEEP, 1.0, now - timedelta(minutes=10))
    found = findings(now)
    assert troubles(found) == {"sweep": True}
    assert (found[0].since is None) is not swept
    Delivery.objects.all().delete()
    assert troubles(findings(now)) == ({"sweep": False} if swept else {})


def test_what_is_due_is_late(at):
    """Behind five minutes, or what was said to be late."""
    stored()
    Delivery.objects.update(next_attempt_at=at - timedelta(minutes=4), lane=Delivery.Lane.IDLE)
    assert findings(at) == []
    (one,) = findings(at, late=timedelta(minutes=3))
    assert (one.trouble, one.count, one.failing) == (Trouble.LATE, 1, True)
    assert one.since == at - timedelta(minutes=4)


def test_a_mailer_that_rests(at):
    """Held it fails, and paused it is a warning, with the reason and the next probe."""
    until = at + timedelta(minutes=5)
    pacing.pause("default", at, until=until, reason="a walk")
    (one,) = findings(at)
    assert (one.trouble, one.mailer, one.reason, one.until) == (
        Trouble.PAUSED, "default", "a walk", until,
    )  # fmt: skip
    assert flows([one])
    pacing.pause("default", at, until=None, reason="until I say so")
    assert troubles(findings(at)) == {"held": True}


def test_of_many_attempts_none_is_sent(at):
    """A few may be to addresses that are no more, which is a warning; ten are not."""
    stored(*[f"{number}@example.com" for number in range(health.ENOUGH)])
    lease, rows = claimed()
    ledger.settle(lease, [booking(row, "failed") for row in rows[1:]])
    assert troubles(findings(ledger.now())) == {"nothing_sent": False}
    ledger.settle(lease, [booking(rows[0], "failed")])
    (one,) = findings(ledger.now())
    assert (one.trouble, one.count) == (Trouble.NOTHING_SENT, health.ENOUGH)
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert findings(ledger.now()) == []


def test_what_waits_for_a_person_is_a_warning(at):
    """Mail flows all the same."""
    stored()
    Delivery.objects.update(status=Delivery.Status.UNKNOWN, lane=Delivery.Lane.OUT)
    assert troubles(findings(at)) == {"person": False}


def test_a_mailer_that_is_not_configured_as_it_must_be(at):
    """Its mail waits, and a check has said so; an alarm does, too."""
    with real_queue(host="127.0.0.1", mailers={"broken": {"prot": 1}}):
        (one,) = findings(at)
    assert (one.trouble, one.mailer) == (Trouble.CONFIGURATION, "broken")
    assert "prot" in one.reason


def test_the_worst_comes_first(at):
    """Whatever order it was found in."""
    Delivery.objects.filter(message=stored()).update(
        status=Delivery.Status.UNKNOWN, lane=Delivery.Lane.OUT
    )
    pacing.pause("default", at, until=None, reason="")
    assert [one.failing for one in findings(at)] == [True, False]


def test_it_takes_no_more_statements_with_more_rows(at, django_assert_max_num_queries):
    """Whoever asks every few seconds costs little."""
    stored(*[f"{number}@example.com" for number in range(30)])
    with django_assert_max_num_queries(8):
        findings(at)


# -- the command ---------------------------------------------------------------------------------


def run(*arguments):
    """Return what the command says, and its exit code."""
    out = StringIO()
    try:
        call_command("smtpx_health", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error), error.returncode
    return out.getvalue(), "", 0


def test_the_command_says_that_mail_flows(at):
    """In a line, and by its exit code."""
    assert run() == ("Mail flows.\n", "", 0)


def test_the_command_says_what_fails(at):
    """Each thing in a line, and exit code 1."""
    pacing.pause("default", at, until=None, reason="535 no\nsuch user")
    stored()
    Delivery.objects.update(next_attempt_at=at - timedelta(hours=2), lane=Delivery.Lane.IDLE)
    out, error, code = run()
    assert (error, code) == ("Mail does not flow.", 1)
    assert out.splitlines() == [
        "FAILS: a mailer is held ('default', 535 no such user)",
        "FAILS: mail that is due is not sent (1, for 2\N{NO-BREAK SPACE}hours)",
    ]
    assert run("--late", "3h")[0].count("FAILS") == 1


def test_the_command_says_it_in_json(at):
    """With the same exit code, and the times in ISO 8601."""
    until = at + timedelta(minutes=5)
    pacing.pause("default", at, until=until, reason="x")
    out, _, code = run("--format", "json")
    said = json.loads(out)
    assert (said["status"], code) == ("ok", 0)
    assert said["findings"][0] == {
        "trouble": "paused", "mailer": "default", "count": 0, "more": False, "since": None,
        "until": until.isoformat(), "reason": "x", "failing": False, "webhook": "",
    }  # fmt: skip


def test_what_is_wrong_is_said_in_the_language_of_the_site(at):
    """In as much of it as a line holds; programs are told it in English."""
    with (
        real_queue(host="127.0.0.1", mailers={"broken": {"prot": 1}}),
        translation.override("de"),
    ):
        out, _, _ = run()
        said = json.loads(run("--format", "json")[0])
    assert "Unbekannte Option 'prot'. Meinten Sie 'port'?" in out
    (reason,) = (one["reason"] for one in said["findings"] if one["mailer"] == "broken")
    assert "Unknown option 'prot'. Did you mean 'port'?" in reason
    assert len(reason) == 200


def test_the_command_is_asked_wrongly(at):
    """It says what a time looks like, and that is another exit code than that mail is stuck."""
    _, error, code = run("--late", "soon")
    assert "--late: 'soon' is no duration" in error
    assert code == 2


# -- the view ------------------------------------------------------------------------------------


def test_the_view_says_that_mail_flows(site, client, at):
    """For load balancers and watchdogs, and never from a cache."""
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()) == (
        200, {"status": "ok", "problems": [], "warnings": []},
    )  # fmt: skip
    assert "no-store" in answer["Cache-Control"]
    assert client.head("/health/").status_code == 200
    assert client.post("/health/").status_code == 405


def test_the_view_names_nobody(site, client, at):
    """Neither mailers nor reasons: who asks need not be known."""
    pacing.pause("default", at, until=None, reason="Wrong password for bob")
    answer = client.get("/health/")
    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "problems": ["held"], "warnings": []}


@pytest.mark.parametrize("error", [DatabaseError, InterfaceError])
def test_the_view_without_a_database(site, client, monkeypatch, error):
    """That is an answer, and not a page of an error."""

    def fail():
        raise error("gone")

    monkeypatch.setattr(views.ledger, "now", fail)
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["problems"]) == (503, ["database"])
