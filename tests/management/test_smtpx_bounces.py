"""``smtpx_bounces``: where mails are read from, what becomes of them, and its exit codes."""

from __future__ import annotations

import io
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from django_smtpx import ledger
from django_smtpx.management.commands import smtpx_bounces
from django_smtpx.models import Delivery
from tests.bounces.conftest import path_of, sent  # noqa: F401 (a fixture)
from tests.bounces.samples import QMAIL, postfix
from tests.factories import statuses

pytestmark = pytest.mark.django_db


def run(*args, **options):
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("smtpx_bounces", *map(str, args), stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@pytest.fixture
def maildir(tmp_path):
    """Return a maildir."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that gives the command something to read."""

    def give(data):
        class _Stream:
            buffer = io.BytesIO(data)

        monkeypatch.setattr(smtpx_bounces.sys, "stdin", _Stream)
        return _Stream.buffer

    return give


def test_files(tmp_path, sent):  # noqa: F811
    """Each is a mail; what is none, forged or strange is named, and the rest is booked."""
    mails = {
        "a.eml": postfix(path_of(sent())),
        "b.eml": QMAIL,
        "c.eml": postfix("bounce+" + "a" * 42 + "@site.example"),
    }
    for name, data in mails.items():
        (tmp_path / name).write_bytes(data)
    printed = run(*[tmp_path / name for name in mails])
    assert printed.splitlines() == [
        f"{tmp_path}/b.eml: it is no report, but text/plain",
        f"{tmp_path}/c.eml: its return path has a token that this site did not make",
        "Booked: 1",
        "Forged: 1",
        "No reports: 1",
    ]
    assert statuses() == ["failed"]
    assert run(tmp_path / "a.eml", verbosity=2).splitlines() == [
        f"{tmp_path}/a.eml: ann@example.com: booked before",
        "Booked before: 1",
    ]
    assert run(tmp_path / "a.eml", verbosity=0) == ""


def test_a_file_that_is_not_there(tmp_path, sent):  # noqa: F811
    """The others are read, and the command fails."""
    path = tmp_path / "a.eml"
    path.write_bytes(postfix(path_of(sent())))
    with pytest.raises(CommandError, match="could not be read: 1") as caught:
        run(tmp_path / "nowhere", path)
    assert caught.value.returncode == 1
    assert statuses() == ["failed"]


def test_a_maildir(maildir, sent):  # noqa: F811
    """What is booked is marked as seen, and what a person may want to look at is not."""
    new, cur = maildir / "new", maildir / "cur"
    (new / "1.host").write_bytes(postfix(path_of(sent())))
    (new / "2.host").write_bytes(QMAIL)
    (new / "link").symlink_to("/etc/passwd")
    assert "Booked: 1\n" in run(maildir=maildir)
    assert sorted(path.name for path in cur.iterdir()) == ["1.host:2,S", "2.host:2,"]
    assert [path.name for path in new.iterdir()] == ["link"]
    assert run(maildir=maildir) == "There was nothing to read.\n"


def test_a_maildir_whose_reports_are_deleted(maildir, sent):  # noqa: F811
    """Only what is accounted for goes."""
    new, cur = maildir / "new", maildir / "cur"
    (new / "1.host").write_bytes(postfix(path_of(sent())))
    (new / "2.host").write_bytes(QMAIL)
    run(maildir=maildir, delete=True)
    assert list(new.iterdir()) == []
    assert [path.name for path in cur.iterdir()] == ["2.host:2,"]


def test_what_another_process_has_taken(maildir, monkeypatch, sent):  # noqa: F811
    """A mail that is gone when its turn comes is somebody else's."""
    path = maildir / "new" / "1.host"
    path.write_bytes(postfix(path_of(sent())))
    book = ledger.book_report

    def meanwhile(*args):
        path.unlink()
        return book(*args)

    monkeypatch.setattr(ledger, "book_report", meanwhile)
    assert run(maildir=maildir) == "Booked: 1\n"


def test_no_maildir(tmp_path):
    """A path without its folders is none."""
    with pytest.raises(CommandError, match="is no maildir"):
        run(maildir=tmp_path)


@pytest.mark.parametrize("how", ["option", "ORIGINAL_RECIPIENT", "RECIPIENT", "header"])
def test_a_pipe(stdin, monkeypatch, how, sent):  # noqa: F811
    """An MTA says to whom a mail came by an option, its environment, or in the mail."""
    path = path_of(sent())
    stream = stdin(
        b"From MAILER-DAEMON Sun Nov 22 12:00:00 2026\n"
        + postfix(path if how == "header" else "b@site.example")
        + b"x" * 3_000_000
    )
    options = {"recipient": [path]} if how == "option" else {}
    if how.isupper():
        monkeypatch.setenv(how, path)
    assert run(pipe=True, **options) == "Booked: 1\n"
    assert stream.read() == b""
    assert statuses() == ["failed"]


@pytest.mark.parametrize("data", [QMAIL, b"", postfix("bounce@site.example")])
def test_a_pipe_takes_what_is_of_no_use(stdin, data):
    """The MTA must not bounce it, nor keep it: the exit code is 0."""
    stdin(data)
    assert run(pipe=True)


@pytest.mark.parametrize("error", [OperationalError("away"), RuntimeError("odd")])
def test_a_pipe_that_cannot_book_just_now(stdin, monkeypatch, error, sent):  # noqa: F811
    """The MTA keeps the mail: the exit code is 75."""
    stdin(postfix(path_of(sent())))

    def fail(*_):
        raise error

    monkeypatch.setattr(ledger, "book_report", fail)
    with pytest.raises(CommandError) as caught:
        run(pipe=True)
    assert caught.value.returncode == 75


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_maildir_while_the_database_is_away(maildir, monkeypatch, sent, error):  # noqa: F811
    """What could not be booked stays new."""
    (maildir / "new" / "1.host").write_bytes(postfix(path_of(sent())))

    def fail(*_):
        raise error("away")

    monkeypatch.setattr(ledger, "book_report", fail)
    with pytest.raises(CommandError, match="away") as caught:
        run(maildir=maildir)
    assert caught.value.returncode == 75
    assert [path.name for path in (maildir / "new").iterdir()] == ["1.host"]


@pytest.mark.parametrize(
    "options", [{}, {"pipe": True, "maildir": "."}, {"pipe": True, "delete": True}]
)
def test_what_cannot_be_asked(options):
    """One way at a time."""
    with pytest.raises(CommandError):
        run(**options)


def test_strangers_do_not_steer_the_terminal(tmp_path, sent):  # noqa: F811
    """What a mail says is printed without control characters."""
    path = tmp_path / "a.eml"
    path.write_bytes(
        postfix(path_of(sent("ann@example.com", "bob@example.com")), "\x1b[31mx@example.com")
    )
    assert "\x1b" not in run(path, no_color=True)


def test_what_is_too_early(maildir, stdin, sent):  # noqa: F811
    """While its mail is being sent, a report stays in the maildir, or with the MTA."""
    data = postfix(path_of(sent()))
    (maildir / "new" / "1.host").write_bytes(data)
    Delivery.objects.update(status="sending")
    assert "Too early, read them again: 1\n" in run(maildir=maildir)
    stdin(data)
    with pytest.raises(CommandError) as caught:
        run(pipe=True)
    assert caught.value.returncode == 75
    Delivery.objects.update(status="sent")
    assert run(maildir=maildir) == "Booked: 1\n"
    assert list((maildir / "new").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_the_exit_code_as_a_shell_sees_it(stdin, monkeypatch):
    """The process ends with 75, and not with the 1 that an MTA takes for good."""
    stdin(postfix())

    def away():
        raise OperationalError("away")

    monkeypatch.setattr(ledger, "now", away)
    command = smtpx_bounces.Command(stderr=StringIO())
    with pytest.raises(SystemExit) as caught:
        command.run_from_argv(["manage.py", "smtpx_bounces", "--pipe"])
    assert caught.value.code == 75
