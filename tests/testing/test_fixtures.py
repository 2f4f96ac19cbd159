"""The fixtures that a site's own tests may use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.mail import send_mail


def example():
    """Return what the documentation's example defines."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import pytest\n.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)
    return names


test_the_receipt_arrives = example()["test_the_receipt_arrives"]
test_an_unknown_customer = example()["test_an_unknown_customer"]


def send(*recipients):
    """Send a mail."""
    send_mail("Hello", "Text", "shop@example.com", list(recipients))


def test_mail_goes_through_the_queue_to_the_server(mail_outbox, smtp_server):
    """It is stored first, and taken when the worker's part is done."""
    send("ann@example.com")
    assert len(mail_outbox) == 1
    assert [one.recipient for one in mail_outbox.by_status("queued")] == ["ann@example.com"]
    assert smtp_server.messages == ()
    assert mail_outbox.deliver() == 1
    assert smtp_server.messages[0].recipients == ("ann@example.com",)
    assert mail_outbox.server is smtp_server
    assert [one.subject for one in mail_outbox.messages] == ["Hello"]


@pytest.mark.smtp_server({"RCPT": {"nobody@*": "550 5.1.1 No such user"}}, hostname="mx.example")
def test_a_marker_says_how_the_server_behaves(mail_outbox):
    """And each recipient has what became of it."""
    send("nobody@example.com", "ann@example.com")
    mail_outbox.deliver()
    (refused,) = mail_outbox.by_recipient("nobody@EXAMPLE.com")
    assert (refused.status, refused.category) == ("failed", "mailbox_unknown")
    assert mail_outbox.by_status("sent") == mail_outbox.by_recipient("ann@example.com")
    assert len(mail_outbox.deliveries) == 2
    assert mail_outbox.server.hostname == "mx.example"


def test_the_next_test_has_an_outbox_of_its_own(mail_outbox):
    """Nothing is left of another test's mail."""
    assert len(mail_outbox) == 0
    assert mail_outbox.by_status("sent") == []


def test_what_cannot_be_asked(mail_outbox):
    """A status that there is not, or no address, is a mistake of the test's."""
    with pytest.raises(ValueError, match="dlivered"):
        mail_outbox.by_status("dlivered")
    with pytest.raises(ValueError, match="Invalid address"):
        mail_outbox.by_recipient("ann@example.com, bob@example.com")
