"""The bytes of a mail."""

from __future__ import annotations

import email.policy
from dataclasses import dataclass
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.utils import make_msgid
from io import BytesIO
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

    from django.core.mail import EmailMessage

_WITH_POLICY = django.VERSION >= (6, 0)


@dataclass(frozen=True, slots=True)
class Written:
    content: bytes
    message_id: str
    from_header: str
    subject: str


def write(
    email_message: EmailMessage, redirect_to: Sequence[str], intended: Sequence[str]
) -> Written:
    if _WITH_POLICY:
        policy = email.policy.SMTP.clone(cte_type="7bit")
        message = email_message.message(policy=policy)
    else:
        message = email_message.message()
        policy = email.policy.compat32.clone(linesep="\r\n")
    del message["Bcc"]
    if intended:
        del message["To"]
        del message["Cc"]
        message["To"] = ", ".join(redirect_to)
        message["X-Smtpx-Intended-To"] = ", ".join(intended)
    if not message["Message-ID"]:
        message["Message-ID"] = make_msgid()
    out = BytesIO()
    BytesGenerator(out, mangle_from_=False, policy=policy).flatten(message)
    return Written(
        content=out.getvalue(),
        message_id=str(message["Message-ID"]).strip(),
        from_header=_decoded(message, "From"),
        subject=_decoded(message, "Subject"),
    )


def _decoded(message: Message, name: str) -> str:
    return str(make_header(decode_header(str(message[name] or ""))))
