"""Django's door in."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail, send_mass_mail
from django.db import DatabaseError, transaction
from django.test import override_settings

from django_smtpx import ledger, tasks
from django_smtpx.backend import EmailBackend
from django_smtpx.models import Delivery, Message
from django_smtpx.signals import message_queued
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import default_connection, statuses

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = {"host": "127.0.0.1", "port": 1}


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()


@contextmanager
def deprecated():
    """Call what Django 6.1 deprecates, as a site that has not moved yet does."""
    with warnings.catch_warnings():
        if django.VERSION >= (6, 1):
            from django.utils.deprecation import RemovedInDjango2028Warning

            warnings.simplefilter("ignore", RemovedInDjango2028Warning)
        yield


@contextmanager
def woken():
    """Collect the names of mailers that were hinted."""
    names = []
    original = tasks.wake
    tasks.wake = names.append
    try:
        yield names
    finally:
        tasks.wake = original


def email(*to, **kwargs):
    """Return a mail to send."""
    return EmailMessage("Subject", "Body", "from@example.com", list(to), **kwargs)


def test_queue_mode_stores_and_returns_the_count():
    """send() returns 1, the mail is a row, and nothing has been sent."""
    with real_queue(**NOBODY):
        message = email("a@example.com", cc=["b@example.com"], bcc=["c@example.com"])
        assert message.send() == 1
    assert message.smtpx == Message.objects.get()
    assert statuses() == ["queued"] * 3
    assert b"c@example.com" not in message.smtpx.content


def test_send_messages_counts_all():
    """Many mails at once are many rows."""
    with real_queue(**NOBODY):
        assert default_connection().send_messages([email("a@example.com")] * 1) == 1
        assert (
            default_connection().send_messages([email(f"{n}@example.com") for n in range(9)]) == 9
        )
        assert default_connection().send_messages([]) == 0
        assert default_connection().send_messages(None) == 0


def test_no_recipients_is_no_mail():
    """A mail to nobody is not stored, and not counted."""
    with real_queue(**NOBODY):
        assert email().send() == 0
        assert default_connection().send_messages([email(), email("a@example.com")]) == 1
    assert Message.objects.count() == 1


def test_djangos_functions():
    """send_mail, send_mass_mail, mail_admins and alternatives all come through this door."""
    admins = ["admin@example.com"] if django.VERSION >= (6, 0) else [("A", "admin@example.com")]
    with real_queue(**NOBODY), override_settings(ADMINS=admins, SERVER_EMAIL="root@example.com"):
        assert send_mail("S", "B", None, ["a@example.com"], html_message="<p>B</p>") == 1
        assert send_mass_mail([("S", "B", None, ["a@example.com"])] * 3) == 3
        mail.mail_admins("S", "B")
        alternatives = EmailMultiAlternatives("S", "B", None, ["a@example.com"])
        alternatives.attach_alternative("<p>é</p>", "text/html")
        assert alternatives.send() == 1
    assert Message.objects.count() == 6


@pytest.mark.parametrize(
    "bad",
    [
        {"to": ["a@example.com\r\nBcc: x@example.com"]},
        {"to": ["a@example.com\0"]},
        {"subject": "one\ntwo"},
        {"headers": {"X-A": "one\r\ntwo"}},
        {"from_email": "a@example.com\nX: y"},
    ],
)
def test_injection_is_refused_before_anything_is_stored(bad):
    """CR, LF and NUL are a ValueError, and the good mail beside the bad one is not stored either."""
    values = {"subject": "S", "to": ["a@example.com"], "from_email": "from@example.com", **bad}
    with real_queue(**NOBODY), pytest.raises(ValueError):
        default_connection().send_messages([email("good@example.com"), EmailMessage(**values)])
    assert not Message.objects.exists()


def test_woken_after_commit_and_only_then():
    """The hint follows the commit; a rollback sends none and leaves no row."""
    with real_queue(**NOBODY), woken() as names:
        with transaction.atomic():
            email("a@example.com").send()
            assert names == []
        assert names == ["default"]
        with pytest.raises(RuntimeError), transaction.atomic():
            email("b@example.com").send()
            raise RuntimeError
    assert names == ["default"]
    assert Message.objects.count() == 1


def test_a_savepoint_that_is_rolled_back():
    """In nested transactions the mail shares the fate of the innermost."""
    with real_queue(**NOBODY), woken() as names, transaction.atomic():
        email("a@example.com").send()
        with pytest.raises(RuntimeError), transaction.atomic():
            email("b@example.com").send()
            raise RuntimeError
    assert list(Delivery.objects.values_list("recipient", flat=True)) == ["a@example.com"]
    assert names == ["default"]


def test_queued_is_told_once_a_message():
    """message_queued comes after commit, and not for a duplicate."""
    told = []

    def receiver(message, **kwargs):
        told.append(message.subject)

    message_queued.connect(receiver)
    try:
        with real_queue(**NOBODY):
            for _ in range(2):
                message = email("a@example.com")
                message.idempotency_key = "k"
                assert message.send() == 1
    finally:
        message_queued.disconnect(receiver)
    assert told == ["Subject"]


def test_a_mailer_by_name():
    """message.mailer chooses among the configured ones; an unknown one lists them."""
    with real_queue(mailers={"second": NOBODY}, **NOBODY):
        message = email("a@example.com")
        message.mailer = "second"
        message.send()
        assert message.smtpx.mailer == "second"
        message.mailer = "third"
        with pytest.raises(ImproperlyConfigured, match="'second'"):
            message.send()
    assert Message.objects.count() == 1


def test_a_mailer_by_using():
    """On Django 6.1 a mailer is chosen by using=."""
    if not hasattr(mail, "mailers"):
        pytest.skip("using= came with Django 6.1; before it there is get_connection(mailer=…).")
    with real_queue(mailers={"second": NOBODY}, **NOBODY):
        message = email("a@example.com")
        message.send(using="second")
    assert message.smtpx.mailer == "second"


def test_get_connection_by_mailer_name():
    """Before Django 6.1, and after it as long as it is there, get_connection(mailer=…) chooses."""
    with real_queue(mailers={"second": NOBODY}, **NOBODY), deprecated():
        connection = mail.get_connection(mailer="second")
        message = email("a@example.com")
        connection.send_messages([message])
        assert message.smtpx.mailer == "second"
        with pytest.raises(ImproperlyConfigured, match="'default'"):
            mail.get_connection(mailer="third")


def test_a_connection_of_ones_own_delivers_at_once():
    """get_connection(host=…) has no name for a worker: it delivers in this process."""
    with ScriptedServer() as server, real_queue(**NOBODY), deprecated():
        connection = mail.get_connection(host=server.host, port=server.port)
        message = email("a@example.com")
        assert connection.send_messages([message]) == 1
        assert len(server.messages) == 1
    assert (message.smtpx.mailer, message.smtpx.mode) == ("", "now")
    assert statuses() == ["sent"]


def test_credentials_of_ones_own_deliver_at_once():
    """send_mail(auth_user=…) delivers at once, with that login."""
    with (
        ScriptedServer(users={"me": "pw"}, require_auth=True) as server,
        real_queue(server, allow_plaintext_auth=True),
        deprecated(),
    ):
        sent = send_mail(
            "S", "B", "from@example.com", ["a@example.com"], auth_user="me", auth_password="pw"
        )
        assert (sent, len(server.messages)) == (1, 1)


def test_fail_silently_alone_is_still_the_queue():
    """fail_silently does not make a connection of its own."""
    with real_queue(**NOBODY), deprecated():
        assert mail.get_connection(fail_silently=True).send_messages([email("a@example.com")]) == 1
    assert statuses() == ["queued"]


def test_fail_silently_covers_storing(monkeypatch, caplog):
    """When the database refuses, the error is logged and the count is 0."""

    def refuse(*args, **kwargs):
        raise DatabaseError("disk full")

    with real_queue(fail_silently=True, **NOBODY):
        connection = default_connection()
        monkeypatch.setattr(ledger, "store", refuse)
        assert connection.send_messages([email("a@example.com")]) == 0
        assert "disk full" in caplog.text
    with real_queue(**NOBODY), pytest.raises(DatabaseError):
        default_connection().send_messages([email("a@example.com")])


def test_usable_as_a_context_manager():
    """With connection: … works as with every backend."""
    with real_queue(**NOBODY), default_connection() as connection:
        assert connection.send_messages([email("a@example.com")]) == 1


def test_under_djangos_test_environment_nothing_breaks():
    """Where Django has swapped the mailers for locmem, ours is simply not asked."""
    assert send_mail("S", "B", "from@example.com", ["a@example.com"]) == 1
    assert len(mail.outbox) == 1
    assert not Message.objects.exists()


def test_a_subclass_is_ours_as_well():
    """A site's own subclass of the backend is a mailer of this package."""
    from django_smtpx.config.sources import is_ours

    assert is_ours(f"{__name__}.Subclass")


class Subclass(EmailBackend):
    """A site's own backend."""


def test_redirect_to_replaces_every_recipient():
    """For staging, nobody but the addresses named gets anything."""
    with real_queue(redirect_to=["dev@example.com"], **NOBODY):
        message = email("a@example.com", cc=["b@example.com"], bcc=["c@example.com"])
        message.send()
    assert list(Delivery.objects.values_list("recipient", flat=True)) == ["dev@example.com"]
    assert "c@example.com" in str(message.smtpx.metadata)
    assert message.to == ["a@example.com"]


def test_a_thousand_recipients():
    """One mail to a thousand people is stored with a thousand deliveries."""
    with real_queue(**NOBODY):
        assert email(*[f"{n}@example.com" for n in range(1000)]).send() == 1
    assert Delivery.objects.count() == 1000


@pytest.mark.parametrize("atomic", [True, False])
def test_every_source_of_settings(atomic):
    """MAILERS, SMTPX_MAILERS and EMAIL_* all lead here, inside atomic() and outside."""
    sources = []
    if django.VERSION < (6, 1):
        sources = [
            {
                "EMAIL_BACKEND": "django_smtpx.backend.EmailBackend",
                "SMTPX_MAILERS": {"default": NOBODY},
            },
            {
                "EMAIL_BACKEND": "django_smtpx.backend.EmailBackend",
                "SMTPX_MAILERS": {},
                "EMAIL_HOST": "127.0.0.1",
                "EMAIL_PORT": 1,
            },
        ]
    else:
        entry = {"BACKEND": "django_smtpx.backend.EmailBackend", "OPTIONS": NOBODY}
        sources = [{"MAILERS": {"default": entry}}]
    for number, source in enumerate(sources, start=1):
        with override_settings(**source), woken() as names:
            if atomic:
                with transaction.atomic():
                    assert send_mail("S", "B", "from@example.com", ["a@example.com"]) == 1
            else:
                assert send_mail("S", "B", "from@example.com", ["a@example.com"]) == 1
        assert (names, Message.objects.count()) == (["default"], number)
