"""What composing comes to: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django_smtpx.addresses import same_mailbox_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

INTENDED = "smtpx_intended_to"
"""The key in the metadata of what ``redirect_to`` keeps from its recipients: who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """One mail, ready to be stored.

    ``sender`` is "" for the null reverse path. ``recipients`` are bare
    addresses in their order, each once. ``content`` has CRLF line ends and no
    Bcc. ``mailer`` is the name that the message itself asks for, if it does.
    ``uuid`` will be its row's, and names it to servers.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    message_id: str
    from_header: str
    subject: str
    priority: int = 0
    send_at: datetime | None = None
    expires_at: datetime | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    require_tls: bool = False
    mailer: str | None = None
    uuid: UUID = field(default_factory=uuid4)

    @property
    def envelope_sender(self) -> str:
        """The reverse path, under the name that its row has for it."""
        return self.sender


def once(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return addresses in their order, each mailbox once."""
    unique: dict[str, str] = {}
    for address in addresses:
        unique.setdefault(same_mailbox_key(address), address)
    return tuple(unique.values())
