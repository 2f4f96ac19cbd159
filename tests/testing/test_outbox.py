"""The helpers for sites' own tests, used as a site would use them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.core import mail
from django.core.mail import EmailMessage, send_mail
from django.test import TestCase

from django_smtpx.models import Delivery
from django_smtpx.testing import ScriptedServer, deliver, make_certificate, real_queue

pytestmark = pytest.mark.django_db


def test_without_it_mail_goes_to_locmem():
    """Django's test environment is what it is where nobody asks for more."""
    send_mail("Hi", "Hi", "a@example.com", ["b@example.com"])
    assert len(mail.outbox) == 1
    assert not Delivery.objects.exists()


def test_mail_is_stored_then_delivered():
    """Sending stores, deliver() delivers, and the rows and the server agree."""
    with ScriptedServer() as server, real_queue(server):
        assert send_mail("Hi", "Hi", "a@example.com", ["b@example.com", "c@example.com"]) == 1
        assert server.message_count == 0
        assert set(Delivery.objects.values_list("status", flat=True)) == {"queued"}
        assert deliver() == 2
        (message,) = server.messages
        assert message.recipients == ("b@example.com", "c@example.com")
        assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    assert mail.outbox == []


def test_refusals_are_seen_as_in_production():
    """A scripted refusal ends up in the row, word for word."""
    script = {"RCPT": {"no@example.com": "550 5.1.1 No such user"}}
    with ScriptedServer(script) as server, real_queue(server):
        send_mail("Hi", "Hi", "a@example.com", ["no@example.com"])
        deliver()
    row = Delivery.objects.get()
    assert (row.status, row.category, row.code) == ("failed", "mailbox_unknown", 550)
    assert (row.enhanced_code, row.reply) == ("5.1.1", "No such user")


def test_more_mailers_and_their_names():
    """Each mailer has its own options, and deliver() can be for one of them."""
    with (
        ScriptedServer() as server,
        ScriptedServer() as other,
        real_queue(server, mailers={"other": {"port": other.port}}),
    ):
        send_mail("Hi", "Hi", "a@example.com", ["b@example.com"])
        message = EmailMessage("Hi", "Hi", "a@example.com", ["c@example.com"])
        message.mailer = "other"
        message.send()
        assert deliver("other") == 1
        assert (server.message_count, other.message_count) == (0, 1)
        assert deliver() == 1
        assert server.message_count == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_over_tls_with_a_login(tmp_path, tls):
    """Server and options fit each other with TLS and a user too."""
    certificate = make_certificate(tmp_path)
    with (
        ScriptedServer(
            ssl_context=certificate.ssl_context, tls=tls, users={"u": "p"}, require_auth=True
        ) as server,
        real_queue(server, username="u", password="p", ca_file=certificate.ca_file),
    ):
        send_mail("Hi", "Hi", "a@example.com", ["b@example.com"])
        deliver()
        assert server.messages[0].tls
        assert server.messages[0].user == "u"


@real_queue(host="127.0.0.1", port=1)
def test_as_a_decorator():
    """A decorated test stores its mail."""
    message = EmailMessage("Hi", "Hi", "a@example.com", ["b@example.com"])
    message.send()
    assert message.smtpx.deliveries.get().status == "queued"


@real_queue(host="127.0.0.1", port=1)
class DecoratedTests(TestCase):
    """A class of Django's own tests."""

    def test_mail_is_stored(self):
        """A test of a decorated class stores its mail."""
        send_mail("Hi", "Hi", "a@example.com", ["b@example.com"])
        assert Delivery.objects.get().mailer == "default"


def test_it_ends_with_its_block():
    """After the block mail goes to locmem again."""
    with real_queue(host="127.0.0.1", port=1):
        pass
    send_mail("Hi", "Hi", "a@example.com", ["b@example.com"])
    assert len(mail.outbox) == 1


def test_server_needs_no_django():
    """The scriptable server can be used where Django is neither set up nor imported."""
    code = (
        "import sys\n"
        "from django_smtpx.testing import ScriptedServer\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] in ('django', 'celery')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    """The module that imports lazily fails as any module does."""
    import django_smtpx.testing

    with pytest.raises(AttributeError, match="nonsense"):
        _ = django_smtpx.testing.nonsense
