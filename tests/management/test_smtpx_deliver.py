"""``smtpx_deliver``: what is due goes, and the terminal says what came of it."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_smtpx import delivery, pacing, signals
from django_smtpx.config import get_mailer
from django_smtpx.models import Delivery, Route
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import statuses

ROOT = Path(__file__).parents[2]
SCRIPT = {
    "RCPT": {
        "gone@example.com": "550 5.1.1 No such user",
        "grey@example.com": "450 4.7.1 Greylisted, come back in 5 minutes",
    }
}


class Terminal(StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self):
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def queue(*to, **kwargs):
    """Queue one mail for each recipient."""
    for recipient in to:
        EmailMessage("Subject", "Body", "from@example.com", [recipient], **kwargs).send()


def run(*args, stderr=None, **options):
    """Run the command and return what it wrote to both streams."""
    out, err = StringIO(), stderr or StringIO()
    call_command("smtpx_deliver", *args, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def table(out):
    """Return the rows of the printed table, cells apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


@pytest.mark.django_db(transaction=True)
def test_delivers_and_prints_the_outcomes():
    """What is due goes, and the table counts it by outcome and category."""
    with ScriptedServer(SCRIPT) as server, real_queue(server):
        queue("a@example.com", "b@example.com", "gone@example.com", "grey@example.com")
        out, err = run()
        assert server.message_count == 2
    assert sorted(statuses()) == ["deferred", "failed", "sent", "sent"]
    assert table(out) == [
        ["Outcome", "Category", "Deliveries"],
        ["sent", "ok", "2"],
        ["deferred", "greylisted", "1"],
        ["failed", "mailbox unknown", "1"],
        ["Total", "4"],
        ["Still waiting: 1, of which due: 0"],
    ]
    assert err == "4 of 4\n"


@pytest.mark.django_db
def test_says_what_keeps_mail_from_going():
    """Mail that rests is not passed over in silence: why it does, and what lets it go."""
    with real_queue(host="127.0.0.1", port=1):
        queue("a@example.com")
        Route.objects.create(mailer="default", state="held", pause_reason="auth 535 No")
        Route.objects.create(mailer="default", domain="b.example", state="held")
        Route.objects.create(mailer="default", sender="MAIL FROM <c@example.com>", state="held")
        out, _ = run()
    assert out.splitlines() == [
        "Nothing was delivered.",
        "Still waiting: 1, of which due: 0",
        "Mailer default rests (auth 535 No): smtpx_resume default lets it go.",
        (
            "Mailer default (MAIL FROM <c@example.com>) rests (no reason given): "
            "smtpx_resume default --sender 'c@example.com' lets it go."
        ),
        (
            "Mailer default (b.example) rests (no reason given): "
            "smtpx_resume default --domain b.example lets it go."
        ),
    ]


@pytest.mark.django_db
def test_counts_inside_a_transaction():
    """In a test's own transaction, where no signal is sent, the table is the same."""
    with ScriptedServer(SCRIPT) as server, real_queue(server):
        queue("a@example.com", "gone@example.com")
        out, _ = run()
    assert ["sent", "ok", "1"] in table(out)
    assert ["failed", "mailbox unknown", "1"] in table(out)


@pytest.mark.django_db
def test_nothing_due():
    """Without mail there is no table and no bar, and all is well."""
    with real_queue(host="127.0.0.1", port=1):
        assert run(stderr=Terminal()) == ("Nothing was delivered.\n", "")


@pytest.mark.django_db
def test_only_the_mailer_asked_for():
    """Another mailer's mail stays where it is."""
    with ScriptedServer() as server, real_queue(server, mailers={"other": {}}):
        queue("a@example.com")
        Delivery.objects.update(mailer="other")
        queue("b@example.com")
        run("--mailer", "default")
        assert [message.recipients for message in server.messages] == [("b@example.com",)]
        run(mailer="other")
        assert server.message_count == 2


@pytest.mark.django_db
def test_unknown_mailer_names_the_known_ones():
    """A mailer that is not there is an error that says which ones are."""
    with (
        real_queue(host="127.0.0.1", mailers={"other": {"host": "127.0.0.1"}}),
        pytest.raises(CommandError, match=r"'nobody'.*'default', 'other'"),
    ):
        run("--mailer", "nobody")


@pytest.mark.django_db
def test_a_broken_mailer_stops_no_other():
    """What is wrong with one mailer is said; if it is the one asked for, that is an error."""
    with ScriptedServer() as server, real_queue(server, mailers={"bad": {"port": -1}}):
        queue("a@example.com")
        _, err = run()
        assert server.message_count == 1
        assert "Mailer bad is left out: " in err
        assert "port" in err
        with pytest.raises(CommandError, match="port"):
            run("--mailer", "bad")


@pytest.mark.django_db
@pytest.mark.parametrize(("args", "once"), [((), False), (("--once",), True)])
def test_hands_over_to_delivery(monkeypatch, args, once):
    """The command decides nothing: it hands its arguments on."""
    calls = []
    monkeypatch.setattr(delivery, "run_until_idle", lambda *a, **k: calls.append((a, k)))
    with real_queue(host="127.0.0.1"):
        run(*args)
    (((names,), options),) = calls
    assert tuple(names) == ("default",)
    assert options["once"] is once


@pytest.mark.django_db(transaction=True)
def test_bar_on_a_terminal():
    """On a terminal a bar fills, on one line that ends at the end."""
    with ScriptedServer() as server, real_queue(server):
        queue("a@example.com", "b@example.com")
        _, err = run(stderr=Terminal())
    first, *_, last = err.split("\r")[1:]
    assert re.fullmatch(r"\[\.+\] 0 of 2", first)
    assert re.fullmatch(r"\[#+\] 2 of 2\n", last)
    assert err.count("\n") == 1


@pytest.mark.django_db(transaction=True)
def test_quiet():
    """--verbosity 0 says nothing at all."""
    with ScriptedServer() as server, real_queue(server):
        queue("a@example.com")
        assert run(verbosity=0, stderr=Terminal()) == ("", "")
        assert server.message_count == 1


@pytest.mark.django_db(transaction=True)
def test_verbose():
    """--verbosity 2 says each outcome in the server's words, without a bar between."""
    with ScriptedServer(SCRIPT) as server, real_queue(server):
        queue("gone@example.com")
        out, err = run(verbosity=2, stderr=Terminal())
    expected = "gone@example.com: failed, mailbox unknown (550 5.1.1 No such user)"
    assert expected in out.splitlines()
    assert err == ""


@pytest.mark.django_db(transaction=True)
def test_colour():
    """The table is coloured where that is wanted, and never with --no-color."""
    with ScriptedServer() as server, real_queue(server):
        queue("a@example.com")
        out, _ = run(force_color=True)
        assert "\x1b[" in out
        queue("a@example.com")
        out, err = run(no_color=True, stderr=Terminal())
        assert "\x1b[" not in out + err


@pytest.mark.django_db(transaction=True)
def test_expired_mail_is_counted():
    """What has expired unsent is an outcome, too, though nobody tried."""
    with real_queue(host="127.0.0.1", port=1):
        queue("a@example.com")
        Delivery.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        out, _ = run(verbosity=2)
    assert "a@example.com: failed, expired" in out.splitlines()
    assert ["failed", "expired", "1"] in table(out)


@pytest.mark.django_db(transaction=True)
def test_interrupted(monkeypatch):
    """Ctrl-C ends the run with what was done until then, without a traceback."""

    def deliver_one(names, *, once, progress):
        delivery.drain(get_mailer(names[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "run_until_idle", deliver_one)
    with ScriptedServer() as server, real_queue(server):
        queue("a@example.com")
        out, err = run(stderr=Terminal())
    assert ["sent", "ok", "1"] in table(out)
    assert out.endswith("Interrupted: what was not begun stays in the queue.\n")
    assert err.endswith("1 of 1\n")


@pytest.mark.django_db
def test_leaves_no_receiver_behind():
    """Who listened for the table listens no more, whatever ended the run."""
    with real_queue(host="127.0.0.1", port=1):
        run()
    assert not signals.anyone_listens()


def test_exit_code(tmp_path):
    """As a process of its own it ends with 0, or with 1 and one line for a mailer unknown to it."""
    settings = tmp_path / "site_settings.py"
    settings.write_text(
        f"from tests.settings import *\nDATABASES['default']['NAME'] = {str(tmp_path / 'db')!r}\n"
    )
    code = (
        f"import sys; sys.path += {[str(ROOT), str(tmp_path)]!r};"
        "import django; django.setup();"
        "from django.core.management import call_command, execute_from_command_line as run;"
        "call_command('migrate', verbosity=0);"
        "run(['manage.py', 'smtpx_deliver', *sys.argv[1:]])"
    )

    def manage(*args):
        return subprocess.run(
            [sys.executable, "-c", code, *args],
            env={"DJANGO_SETTINGS_MODULE": "site_settings"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    good, bad = manage(), manage("--mailer", "nobody")
    assert (good.returncode, good.stdout, good.stderr) == (0, "Nothing was delivered.\n", "")
    assert bad.returncode == 1
    assert bad.stderr.startswith("CommandError: ")
    assert "'default'" in bad.stderr
    assert "Traceback" not in bad.stderr
