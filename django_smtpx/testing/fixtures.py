"""Fixtures for pytest: ``pytest_plugins = ["django_smtpx.testing.fixtures"]`` in ``conftest.py``.

``smtp_server`` is a running :class:`~django_smtpx.testing.ScriptedServer`, as the marker
``@pytest.mark.smtp_server(script, **options)`` asks for it. ``mail_outbox`` puts the real queue in
front of it, and says by recipient and by status what became of the mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from django_smtpx.addresses import addr_spec, same_mailbox_key
from django_smtpx.models import Delivery, Message
from django_smtpx.testing.outbox import deliver, real_queue
from django_smtpx.testing.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKER = "smtp_server(script=None, **options): how the fixture smtp_server is to behave"


class MailOutbox:
    """The mail that a test has sent, in the order in which it was stored."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server

    def __len__(self) -> int:
        return Message.objects.count()

    @property
    def messages(self) -> list[Message]:
        """The messages."""
        return list(Message.objects.order_by("pk"))

    @property
    def deliveries(self) -> list[Delivery]:
        """A delivery for each recipient of each message."""
        return list(Delivery.objects.select_related("message").order_by("pk"))

    def by_recipient(self, address: str) -> list[Delivery]:
        """Return the deliveries to an address; ``ValueError`` where that is none.

        As addresses are stored: the domain in any case and script, the local part as it stands.
        """
        wanted = same_mailbox_key(addr_spec(address))
        return [one for one in self.deliveries if same_mailbox_key(one.recipient) == wanted]

    def by_status(self, status: str) -> list[Delivery]:
        """Return the deliveries with a status; ``ValueError`` for what is none."""
        wanted = Delivery.Status(status)
        return [one for one in self.deliveries if one.status == wanted]

    def deliver(self, *mailers: str) -> int:
        """Do the worker's part: deliver what is due, and return how many outcomes there were."""
        return deliver(*mailers)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def smtp_server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    """Return a server that takes everything, or behaves as the marker says."""
    marker = request.node.get_closest_marker("smtp_server")
    arguments, options = (marker.args, marker.kwargs) if marker is not None else ((), {})
    with ScriptedServer(*arguments, **options) as server:
        yield server


@pytest.fixture
def mail_outbox(db: None, smtp_server: ScriptedServer) -> Iterator[MailOutbox]:
    """Let mail go through the real queue to ``smtp_server``, and return what is in it."""
    with real_queue(smtp_server):
        yield MailOutbox(smtp_server)
