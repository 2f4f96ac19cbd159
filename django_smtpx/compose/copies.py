"""A mail that is stored, made into a new one: its own identity, date and signatures, and else the
same bytes.
"""

from __future__ import annotations

from email.policy import default as modern
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING
from uuid import uuid4

from django.core.mail.utils import DNS_NAME

from django_smtpx import returnpaths
from django_smtpx.compose import dkim, headers, wishes
from django_smtpx.compose.content import INTENDED_TO
from django_smtpx.compose.values import INTENDED, Composed, once
from django_smtpx.config import secret_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from django_smtpx.mailer import Mailer
    from django_smtpx.models import Message

COPY_OF = "smtpx_copy_of"
"""The key in the metadata of a copy: the UUID of the message that it is one of."""


def copied(
    original: Message, content: bytes, recipients: Iterable[str], mailer: Mailer, now: datetime
) -> Composed:
    """Return a mail with the ``content`` of ``original`` to ``recipients``, for ``mailer`` to send.

    It has a UUID, a Message-ID and a Date of its own, the signatures of ``mailer`` alone, and no
    idempotency key. It is due at once, and keeps an ``expires_at`` that is to come. Its reverse
    path has its own token where the original's has one. By ``redirect_to`` it is for somebody
    else, as any mail is. Raises ``ValueError`` for what ``mailer`` cannot send.
    """
    uuid = uuid4()
    intended = once(recipients)
    redirected = bool(mailer.redirect_to)
    message_id = make_msgid(domain=str(DNS_NAME))
    fields: dict[str, str | None] = {
        "DKIM-Signature": None,
        "Message-ID": f"Message-ID: {message_id}",
        "Date": f"Date: {formatdate(now.timestamp())}",
    }
    metadata = {key: value for key, value in original.metadata.items() if key != INTENDED}
    metadata[COPY_OF] = str(original.uuid)
    if redirected:
        fields |= _redirected(mailer.redirect_to, intended)
        metadata[INTENDED] = list(intended)
    expires_at = original.expires_at
    return Composed(
        sender=_sender(original, uuid),
        recipients=once(mailer.redirect_to) if redirected else intended,
        content=dkim.sign(with_fields(content, fields), mailer.dkim, now),
        message_id=message_id,
        from_header=original.from_header,
        subject=original.subject,
        priority=original.priority,
        expires_at=expires_at if expires_at is not None and expires_at > now else None,
        tags=list(original.tags),
        metadata=metadata,
        require_tls=wishes.require_tls(original, mailer),
        uuid=uuid,
    )


def with_fields(content: bytes, fields: Mapping[str, str | None]) -> bytes:
    """Return ``content`` with header fields replaced: by name, each by its new lines without the
    last line's end, or taken out where that is None.

    What replaces a field stands in the place of the first one of its name, or at the header's end
    where there was none; other fields stay as they are, byte for byte, and so does the body.
    ``content`` has CRLF line ends.
    """
    header, body = _split(content)
    new = {name.lower().encode("ascii"): lines for name, lines in fields.items()}
    kept: list[bytes] = []
    for field in _fields(header):
        name = field.partition(b":")[0].rstrip(b" \t").lower()
        if name not in new:
            kept.append(field)
        elif lines := new[name]:
            kept.append(lines.encode() + b"\r\n")
            # Another one of this name goes without a successor.
            new[name] = None
    # What has stood for a field is None by now; what is left had none.
    kept += [lines.encode() + b"\r\n" for lines in new.values() if lines]
    return b"".join((*kept, b"\r\n", body))


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Return the header, each line with its end, and the body behind the blank line."""
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    header, blank, body = content.partition(b"\r\n\r\n")
    header = header.removesuffix(b"\r\n")
    return (header + b"\r\n" if header else b""), body if blank else b""


def _fields(header: bytes) -> list[bytes]:
    """Return the header fields, each with its folded lines (RFC 5322 section 2.2.3)."""
    fields: list[bytes] = []
    for line in header.split(b"\r\n")[:-1]:
        if fields and line[:1] in (b" ", b"\t"):
            fields[-1] += line + b"\r\n"
        else:
            fields.append(line + b"\r\n")
    return fields


def _redirected(redirect_to: tuple[str, ...], intended: tuple[str, ...]) -> dict[str, str | None]:
    """Return the fields that keep everybody's address but those of ``redirect_to`` out of reach."""
    to = modern.header_factory("To", ", ".join(redirect_to))
    return {
        "To": headers.fold("To", to),
        "Cc": None,
        INTENDED_TO: headers.fold(INTENDED_TO, ", ".join(intended), tidy=True),
    }


def _sender(original: Message, uuid: UUID) -> str:
    """Return the original's reverse path, by which bounces find back to the message ``uuid``."""
    path, keys = original.envelope_sender, secret_keys()
    try:
        if returnpaths.message_of([path], keys) != original.uuid:
            return path
    except returnpaths.Forged:
        # What looks like a token is none of ours, or made with a key that is gone.
        return path
    return returnpaths.filled(returnpaths.without_token(path), uuid, keys)
