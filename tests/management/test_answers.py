"""What the commands that change something answer: counts before and after, dry runs, JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from unittest import mock

import pytest
from django.core.management import CommandError, ManagementUtility, call_command

from django_smtpx import ledger
from django_smtpx.models import Delivery, RefusedCredential, Route
from django_smtpx.testing import real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db

NAMES = ("smtpx_retry", "smtpx_cancel", "smtpx_pause", "smtpx_resume")
COMMON = ("command", "at", "dry_run", "count", "before", "after", "hints")


@pytest.fixture(autouse=True)
def _site():
    with real_queue(host="127.0.0.1", port=1):
        yield


def run(name, *arguments, **options):
    """Run a command and return what it printed."""
    out = StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


def answer(name, *arguments):
    """Return what a command says in JSON."""
    return json.loads(run(name, *arguments, "--format", "json"))


def put(recipient, status, **values):
    """Store a mail whose delivery stands so."""
    message = stored(recipient)
    Delivery.objects.filter(message=message).update(
        status=status, lane=Delivery.Lane.IDLE, **values
    )


def everything():
    """Return all that a command could change."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (Delivery, Route, RefusedCredential)
    ]


def test_each_answer_has_the_same_names():
    """A program reads one as the other; the texts do not come in between, whatever the verbosity."""
    put("a@example.com", "failed", attempt_count=1)
    calls = dict.fromkeys(NAMES[:2], ("--domain", "example.com"))
    calls.update(dict.fromkeys(NAMES[2:], ("default",)))
    for name in NAMES:
        said = run(name, *calls[name], "--format", "json", verbosity=0)
        found = json.loads(said)
        assert tuple(found)[:6] == COMMON[:6]
        assert set(COMMON) <= set(found)
        assert (found["command"], found["dry_run"]) == (name, False)


@pytest.mark.parametrize("name", ["smtpx_retry", "smtpx_cancel"])
def test_a_dry_run_counts_what_the_command_then_does(name):
    """By status, with what is left alone; and it writes nothing."""
    put("a@example.com", "failed", attempt_count=2)
    put("b@example.com", "cancelled")
    put("c@example.com", "deferred", attempt_count=1)
    put("d@example.com", "sent")
    before = everything()
    dry = answer(name, "--mailer", "default", "--dry-run")
    assert everything() == before
    wet = answer(name, "--mailer", "default")
    for key in ("count", "before", "after", "selected", "left_alone", "groups"):
        assert dry[key] == wet[key], key
    assert (dry["dry_run"], wet["dry_run"]) == (True, False)
    assert sum(wet["before"].values()) == sum(wet["after"].values()) == wet["selected"] == 4
    assert wet["after"] == {one: statuses().count(one) for one in wet["after"]}
    assert wet["left_alone"]["sent"] == 1


def test_what_is_settled_as_arrived():
    """Its name is the step's; nothing that waits is due by that."""
    put("a@example.com", "unknown", attempt_count=1)
    found = answer("smtpx_retry", "--status", "unknown", "--arrived")
    assert (found["command"], found["step"], found["after"]) == (
        "smtpx_retry",
        "arrived",
        {"sent": 1},
    )


def test_counts_for_people():
    """What changed stands in a line, by status; what did not is not repeated."""
    put("a@example.com", "failed", attempt_count=1)
    put("b@example.com", "sent")
    lines = run("smtpx_retry", "--mailer", "default", "--dry-run").splitlines()
    assert "Before and after: failed 1 → 0, deferred 0 → 1." in lines
    stored("c@example.com")
    assert run("smtpx_retry", "--status", "sent").splitlines()[0] == "Due now: 0."
    assert "Before and after" not in run("smtpx_retry", "--status", "sent")


def test_pausing_on_trial():
    """It says what would rest and how much waits there, and nothing rests."""
    stored("a@example.com")
    before = everything()
    arguments = ("default", "--domain", "example.com", "--dry-run")
    assert run("smtpx_pause", *arguments).splitlines() == [
        "Mail of 'default' to example.com would be held until it is resumed.",
        "Waiting: 1.",
    ]
    assert "would rest until" in run("smtpx_pause", *arguments, "--for", "2h")
    found = answer("smtpx_pause", *arguments, "--for", "2h", "--reason", "moving")
    assert everything() == before
    assert found["state"] == {"before": "open", "after": "paused"}
    assert (found["count"], found["before"], found["reason"]) == (1, {"ready": 1}, "moving")
    assert found["until"] > found["at"]


def test_resuming_on_trial():
    """It says what would be ready, and nothing is; then it is."""
    stored("a@example.com")
    run("smtpx_pause", "default")
    ledger.park("default", None, ledger.now())
    before = everything()
    assert run("smtpx_resume", "default", "--dry-run").splitlines() == [
        "Mailer 'default' would be open again.",
        "Ready: 1.",
        "Before and after: rest 1 → 0, ready 0 → 1.",
    ]
    dry = answer("smtpx_resume", "default", "--dry-run")
    assert everything() == before
    wet = answer("smtpx_resume", "default")
    for found in (dry, wet):
        assert (found["before"], found["after"]) == ({"rest": 1}, {"ready": 1})
        assert found["state"] == {"before": "held", "after": "open"}
        assert (found["count"], found["resumed"]) == (1, True)
    again = answer("smtpx_resume", "default", "--dry-run")
    assert (again["count"], again["resumed"], again["state"]["after"]) == (0, False, "open")


def test_a_refused_password_is_forgotten_by_a_resume_alone():
    """A dry run sees that there is something to forget, and leaves it."""
    now = ledger.now()
    RefusedCredential.objects.create(
        mailer="default", mac="f1", refusals=2, refused_at=now, next_probe_at=now
    )
    assert answer("smtpx_resume", "default", "--dry-run")["resumed"]
    assert RefusedCredential.objects.count() == 1
    assert answer("smtpx_resume", "default")["resumed"]
    assert not RefusedCredential.objects.exists()


def test_a_sender_on_trial():
    """A sender that a server refused is resumed by itself; the mailer's own state stays."""
    Route.objects.create(mailer="default", sender="MAIL FROM <me@example.com>", state="held")
    found = answer("smtpx_resume", "default", "--sender", "me@example.com", "--dry-run")
    assert (found["resumed"], found["sender"]) == (True, "me@example.com")
    assert found["state"] == {"before": "open", "after": "open"}
    assert not answer("smtpx_resume", "default", "--sender", "you@example.com")["resumed"]
    assert answer("smtpx_resume", "default", "--sender", "me@example.com")["resumed"]


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_no_json(name):
    """They go to the other output, with their exit code: 1 for what cannot be meant."""
    out = StringIO()
    arguments = ("nowhere",) if name in NAMES[2:] else ("--mailer", "nowhere")
    with pytest.raises(CommandError, match="There is no mailer 'nowhere'") as caught:
        call_command(name, *arguments, "--format", "json", stdout=out)
    assert caught.value.returncode == 1
    assert out.getvalue() == ""


def completed(line):
    """Return what Django's completion for the shell offers at the end of a line."""
    words = line.split(" ")
    out = io.StringIO()
    said = {"DJANGO_AUTO_COMPLETE": "1", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    with mock.patch.dict(os.environ, said), redirect_stdout(out), pytest.raises(SystemExit):
        ManagementUtility(["manage.py"]).autocomplete()
    return out.getvalue().split()


def test_completion_in_the_shell():
    """All that is needed are the letters that the names share: Django's own script offers the rest."""
    assert set(completed("manage.py smtpx_")) >= {*NAMES, "smtpx_queue", "smtpx_check"}
    assert completed("manage.py smtpx_re") == ["smtpx_resume", "smtpx_retry"]
    for name in NAMES:
        assert {"--dry-run", "--format="} <= set(completed(f"manage.py {name} --"))
    assert completed("manage.py smtpx_queue --a") == ["--ages"]


def test_an_option_that_does_not_exist():
    """The exit code is 2, as Python's parser has it, and the usage names the options."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "smtpx_queue", "--format", "xml"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "choose from" in done.stderr
    assert done.stdout == ""
