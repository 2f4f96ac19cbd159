"""Mail that a real Postfix takes, signed, and gives back later: its report finds the delivery."""

from __future__ import annotations

import io
import tarfile
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.mail import EmailMessage
from django.core.management import call_command

from django_smtpx.models import Attempt, Delivery
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.integration.postfix import BEYOND
from tests.signing import ed25519_option, rsa_option, verified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.postfix import Postfix

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(autouse=True)
def _close_sessions() -> Iterator[None]:
    yield
    default_pool.close()


def mail(*recipients: str) -> EmailMessage:
    """Return a mail with a return path of its own."""
    message = EmailMessage("Subject", ".\nBody\n\n\n", "shop@example.com", list(recipients))
    message.envelope_sender = "bounce+{uuid}@example.com"  # type: ignore[attr-defined]
    return message


def copy_of_maildir(postfix: Postfix, to: Path) -> Path:
    """Return a copy of the server's maildir that is our own: its files are somebody else's."""
    archive = postfix._run("tar", "-C", str(postfix.root / "mail"), "-cf", "-", ".")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(to, filter="data")
    return to / "maildir"


def test_a_bounce_is_booked(postfix: Postfix, tmp_path: Path) -> None:
    """Two mails are sent; one comes back, is read from the maildir, and has failed then."""
    refusing = ScriptedServer(
        {"RCPT": "550 5.1.1 There is nobody of that name"}, port=postfix.next_hop
    )
    with refusing, real_queue(**postfix.options()):
        mail(BEYOND).send()
        mail("ann@example.net").send()
        deliver()
        assert list(Delivery.objects.values_list("status", flat=True)) == ["sent"] * 2
        postfix.settle()
        out = StringIO()
        maildir = copy_of_maildir(postfix, tmp_path)
        call_command("smtpx_bounces", maildir=str(maildir), stdout=out, stderr=StringIO())
    assert "Booked: 1\n" in out.getvalue()
    assert "No reports: 1\n" in out.getvalue()  # the other mail, in the one maildir that there is
    row = Delivery.objects.get(recipient=BEYOND)
    assert (row.status, row.category, row.enhanced_code) == ("failed", "mailbox_unknown", "5.1.1")
    assert (row.code, row.reply) == (550, "There is nobody of that name")
    assert (row.phase, row.host) == ("rcpt", "127.0.0.1")
    assert Attempt.objects.filter(delivery=row).count() == 2
    assert Delivery.objects.get(recipient="ann@example.net").status == "sent"


def test_what_arrives_is_signed(postfix: Postfix) -> None:
    """The signatures of both kinds of keys are good when Postfix has put the mail away."""
    with real_queue(**postfix.options(), dkim=[rsa_option(), ed25519_option()]):
        mail("ann@example.net").send()
        deliver()
        postfix.settle()
    (arrived,) = postfix.delivered()
    assert verified(arrived.content) == [True, True]
