"""Mail out of another queue, here a table of Django's own: each once, whatever happens meanwhile."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone, translation

from django_smtpx import moving
from django_smtpx.models import Delivery, Message
from django_smtpx.moving import Busy, Queue, Sleep, move, steps
from django_smtpx.moving.queues import Unmovable, aware
from django_smtpx.testing import real_queue
from tests.writing_first import watching

pytestmark = pytest.mark.django_db


class Users(Queue):
    """A queue whose mails are users: the name is the subject, the address the recipient."""

    name = "users"
    app = "django.contrib.auth"
    model_name = "User"
    added = "date_joined"
    busy = False
    broken = None

    def __init__(self, *, deferred=False):
        super().__init__(deferred=deferred)
        self.locks = 0

    @contextmanager
    def lock(self):
        """Count."""
        if self.busy:
            raise Busy("It is at work.")
        self.locks += 1
        yield
        self.locks -= 1

    def waiting(self):
        """Return users that are active."""
        return self.rows().filter(is_active=True)

    def asleep(self):
        """Count staff."""
        return {Sleep.EXPIRED: self.rows().filter(is_staff=True).count(), Sleep.DEFERRED: 0}

    def email(self, row):
        """Make a mail, or fail as the name says."""
        raised = {
            "unreadable": Unmovable("Unreadable."),
            "away": OSError(2, "No such file", "a.pdf"),
            "template": KeyError("its secret text"),
        }
        if row.username in raised:
            raise raised[row.username]
        email = EmailMessage(row.username, "Body.\n", "a@example.com", [row.email])
        email.priority = 3
        if row.last_login:
            email.send_at = row.last_login
        return email

    def mailer(self, row):
        """Return what the last name says."""
        return row.last_name or None

    def take_out(self, rows):
        """Deactivate."""
        if self.broken:
            raise self.broken
        assert all(message.pk for message in rows.values())
        self.rows().filter(pk__in=rows).update(is_active=False)


@pytest.fixture(autouse=True)
def _queue(monkeypatch):
    # An application's name and its label are two things; those of the real ones are one.
    monkeypatch.setattr(
        "django_smtpx.moving.queues.apps.get_model", lambda app, name: User, raising=True
    )
    monkeypatch.setitem(moving.QUEUES, "users", Users)
    with real_queue(host="127.0.0.1", port=1):
        yield


def add(*names, **values):
    """Queue a mail for each name."""
    return [
        User.objects.create(username=name, email=f"{name}@example.net", **values) for name in names
    ]


def run(queue=None, **options):
    """Move."""
    told = []
    queue = queue or Users()
    values = {"mailer": None, "dry_run": False, **options}
    came = move(queue, tell=lambda: told.append(1), **values)
    assert len(told) == came.moved + came.known + len(came.left)
    return came


def command(*arguments):
    """Run the command, and return what it printed."""
    out = StringIO()
    call_command("smtpx_import", "users", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def subjects():
    """Return what is stored, in order."""
    return list(Message.objects.order_by("pk").values_list("subject", flat=True))


def test_each_is_moved_once():
    """What waits is stored with its wishes and where it is from, and a second time finds nothing."""
    at = timezone.now() + timedelta(hours=1)
    first, _ = add("one", "two")
    add("later", last_login=at)
    add("sent", is_active=False)
    assert run().moved == 3
    assert subjects() == ["one", "two", "later"]
    message = Message.objects.get(subject="one")
    assert message.metadata == {"smtpx_moved_from": f"users:{first.pk}"}
    assert (message.priority, message.mailer) == (3, "default")
    assert Delivery.objects.get(message=message).recipient == "one@example.net"
    assert Message.objects.get(subject="later").send_at == at
    assert run() == moving.Moved()
    assert len(subjects()) == 3


def test_a_dry_run_writes_nothing_and_takes_no_lock():
    """It makes each mail, so that it can say what would be left."""
    add("one", "away")
    queue = Users()
    queue.busy = True
    came = run(queue, dry_run=True)
    assert (came.moved, [one.reason for one in came.left]) == (
        1,
        ["[Errno 2] No such file: 'a.pdf'"],
    )
    assert subjects() == []
    assert queue.waiting().count() == 2


def test_a_worker_that_runs_keeps_everything_where_it_is():
    """Its lock is held by somebody else: nothing is moved."""
    add("one")
    queue = Users()
    queue.busy = True
    with pytest.raises(Busy):
        run(queue)
    assert subjects() == []


def test_what_ends_between_the_two_leaves_it_where_it_was():
    """Stored and not taken out is not stored: one transaction."""
    add("one", "two")
    queue = Users()
    queue.broken = RuntimeError("killed")
    with pytest.raises(RuntimeError):
        run(queue)
    assert (subjects(), queue.waiting().count()) == ([], 2)
    queue.broken = None
    assert run(queue).moved == 2
    assert subjects() == ["one", "two"]


def test_what_was_stored_and_not_taken_out_is_known():
    """As where the other queue is in a database of its own: its rows are seen to later."""
    add("one", "two")
    run()
    User.objects.filter(username="one").update(is_active=True)
    came = run()
    assert (came.moved, came.known) == (0, 1)
    assert subjects() == ["one", "two"]
    assert not Users().waiting().exists()


def test_another_mail_with_the_same_number_is_another_mail():
    """A table that was emptied begins to count anew."""
    (user,) = add("one")
    run()
    moved_on = timezone.now() + timedelta(seconds=1)
    User.objects.filter(pk=user.pk).update(is_active=True, date_joined=moved_on)
    assert run().moved == 1
    assert subjects() == ["one", "one"]


def test_what_cannot_be_moved_stays_and_is_said():
    """Each with its reason, which does not tell what is in a mail; the others go."""
    add("unreadable", "away", "template", "good")
    add("nobody", last_name="ses")
    User.objects.create(username="line\nbreak", email="x@example.net")
    User.objects.create(username="address", email="no address")
    came = run()
    names = dict(User.objects.values_list("pk", "username"))
    reasons = {names[one.id]: one.reason for one in came.left}
    assert came.moved == 1
    assert subjects() == ["good"]
    assert reasons["unreadable"] == "Unreadable."
    assert reasons["away"] == "[Errno 2] No such file: 'a.pdf'"
    assert reasons["template"] == "It cannot be made: KeyError."
    assert reasons["nobody"] == "Mailer 'ses' is not configured."
    assert "Subject" in reasons["line\nbreak"]
    assert "no address" in reasons["address"]
    assert Users().waiting().count() == 6


def test_reasons_are_told_in_the_readers_language():
    """Those of the package's own, and those of what it is made of."""
    add("nobody", last_name="ses")
    User.objects.create(username="address", email="no address")
    with translation.override("de"):
        said = [one.reason for one in run().left]
    assert said[0] == "Mailer 'ses' ist nicht konfiguriert."
    assert "Adresse" in said[1]


def test_mail_for_nobody_is_left():
    """There would be no delivery that says what became of it."""
    User.objects.create(username="one", email="")
    assert [one.reason for one in run().left] == ["It has no recipients."]


def test_batches_are_bounded_by_number_and_by_size(monkeypatch):
    """However they are cut, each mail goes once, and those that are left are looked at once."""
    monkeypatch.setattr(steps, "_MOST", 3)
    add("a", "b", "away", "c", "d", "unreadable", "e")
    came = run()
    assert (came.moved, len(came.left)) == (5, 2)
    assert subjects() == ["a", "b", "c", "d", "e"]
    monkeypatch.setattr(steps, "_MOST_BYTES", 1)
    add("f", "template", "g")
    came = run()
    assert (came.moved, len(came.left)) == (2, 3)
    assert subjects()[5:] == ["f", "g"]


def test_a_batch_begins_with_its_write():
    """SQLite fails at once where a transaction writes behind a read, while others write."""
    add("one")
    with watching() as watch:
        run()
    assert watch.begun >= 2
    assert watch.found == []


def test_what_somebody_else_holds_is_counted(monkeypatch):
    """A row that a worker has locked is not moved, and the next run is asked for."""
    add("one", "held", "two")
    locked = Users.locked
    monkeypatch.setattr(
        Users,
        "locked",
        lambda self, keys: [row for row in locked(self, keys) if row.username != "held"],
    )
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Left in the other queue: 1\.$"):
        call_command("smtpx_import", "users", stdout=out, stderr=StringIO())
    assert out.getvalue() == (
        "Moved: 2.\nHeld by its worker, or queued meanwhile: 1. Run this again.\n"
    )
    monkeypatch.setattr(Users, "locked", locked)
    assert run().moved == 1


@pytest.mark.django_db(transaction=True)
def test_a_busy_database_is_asked_again():
    """A batch that failed for that leaves nothing, and is moved by the next try."""
    add("one", "two")
    queue = Users()
    queue.broken = OperationalError("database is locked")
    taken = Users.take_out

    def mended(self, rows):
        broken, self.broken = self.broken, None
        if broken:
            raise broken
        taken(self, rows)

    queue.take_out = mended.__get__(queue)
    assert run(queue).moved == 2
    assert subjects() == ["one", "two"]


def test_times_of_a_site_without_time_zones_get_one():
    """Such a site's rows have naive times, in its own zone."""
    assert aware(None) is None
    now = timezone.now()
    assert aware(now) is now
    assert aware(timezone.make_naive(now)) == now


def test_the_command_says_what_came_of_it():
    """What was moved, what is left and why, and what would not be sent there either."""
    add("one")
    (bad,) = add("away")
    add("old", is_staff=True, is_active=False)
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Left in the other queue: 1\.$"):
        call_command("smtpx_import", "users", stdout=out, stderr=StringIO())
    assert out.getvalue() == (
        "Moved: 1.\nExpired, and left: 1.\n"
        f"User {bad.pk} is left: [Errno 2] No such file: 'a.pdf'\n"
    )


def test_the_command_as_json():
    """All values, for a program; a row that had been moved before is known."""
    add("one")
    command()
    User.objects.update(is_active=True)
    assert json.loads(command("--format", "json")) == {
        "queue": "users",
        "dry_run": False,
        "moved": 0,
        "known": 1,
        "left": [],
        "more": 0,
        "expired": 0,
        "deferred": 0,
    }
    User.objects.update(is_active=True)
    assert command() == "Moved: 0.\nHad been moved before, and not again: 1.\n"
    assert command("--dry-run") == "Would be moved: 0.\n"


def test_the_command_has_a_bounded_list(monkeypatch):
    """A thousand reasons are counted; JSON has them all."""
    monkeypatch.setattr("django_smtpx.management.commands.smtpx_import.MOST_ROWS", 2)
    User.objects.bulk_create(User(username=f"u{number}", email="") for number in range(5))
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("smtpx_import", "users", stdout=out, stderr=StringIO())
    assert out.getvalue().count("is left") == 2
    assert "… and 3 more." in out.getvalue()


def test_the_command_refuses_what_it_cannot_do(monkeypatch):
    """A package that is not installed, a worker that runs, a mailer that does not exist."""
    with pytest.raises(CommandError, match="'post_office' is not among INSTALLED_APPS"):
        call_command("smtpx_import", "post_office")
    with pytest.raises(CommandError, match="'mailer' is not among INSTALLED_APPS"):
        call_command("smtpx_import", "django_mailer")
    monkeypatch.setattr(Users, "busy", True)
    with pytest.raises(CommandError, match=r"^It is at work\.$"):
        call_command("smtpx_import", "users")
    with pytest.raises(CommandError, match="There is no mailer 'defualt'"):
        call_command("smtpx_import", "users", "--mailer", "defualt")
