"""The commands of a mail transaction, as a scripted server obeys them (RFC 5321 section 3.3)."""

from __future__ import annotations

import re
import time

from django_smtpx.testing.actions import code_of
from django_smtpx.testing.dialogue import Dialogue
from django_smtpx.testing.records import ReceivedMessage

_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>(?:\s+(.*))?\Z", re.IGNORECASE)


class Transactions(Dialogue):
    """From MAIL to the reply after the content."""

    def _mail(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        if self.sender is None:
            self.transaction = self._server.next_transaction()
        default = self._mail_default(address, params)
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self.sender, self.mail_params = address or "", params
            self.recipients, self.rcpt_params = [], []

    def _mail_default(self, address: str | None, params: tuple[str, ...]) -> str:
        server = self._server
        if server.require_tls and not self.tls:
            return self._text("530", "5.7.0", "Must issue a STARTTLS command first")
        if server.require_auth and not self.user:
            return self._text("530", "5.7.0", "Authentication required")
        if self.sender is not None:
            return self._text("503", "5.5.1", "Nested MAIL command")
        if address is None:
            return self._text("501", "5.5.4", "Syntax: MAIL FROM:<address>")
        sizes = [int(p[5:]) for p in params if p.upper().startswith("SIZE=") and p[5:].isdigit()]
        if server.max_size and sizes and sizes[0] > server.max_size:
            return self._text("552", "5.3.4", "Message size exceeds fixed limit")
        return self._text("250", "2.1.0", "OK")

    def _rcpt(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        if self.sender is None:
            default = self._text("503", "5.5.1", "Need MAIL command")
        elif not address:
            default = self._text("501", "5.1.3", "Syntax: RCPT TO:<address>")
        else:
            default = self._text("250", "2.1.5", "OK")
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self.recipients.append(address or "")
            self.rcpt_params.append(params)

    def _data(self, verb: str, arg: str) -> None:
        if self.sender is None:
            default = self._text("503", "5.5.1", "Need MAIL command")
        elif not self.recipients:
            default = self._text("554", "5.5.1", "No valid recipients")
        else:
            default = "354 End data with <CR><LF>.<CR><LF>"
        if self._do(verb, arg, default, self.recipients or [""]) == 354:
            content = self._wire.content()
            if content is not None:
                self.content = content
                self._end_of_data()
            self._forget()

    def _end_of_data(self) -> None:
        server = self._server
        number = server.next_message()
        if server.max_size and len(self.content) > server.max_size:
            default = self._text("552", "5.3.4", "Message size exceeds fixed limit")
        else:
            default = self._text("250", "2.0.0", f"OK queued as {number}")
        action = self._action("EOD", "", default, self.recipients)
        message = ReceivedMessage(
            sender=self.sender or "",
            recipients=tuple(self.recipients),
            content=self.content,
            mail_params=self.mail_params,
            rcpt_params=tuple(self.rcpt_params),
            session=self.number,
            number=number,
            tls=bool(self.tls),
            user=self.user,
            code=code_of(action),
            at=time.monotonic(),
        )
        if server.record:
            self.messages.append(message)
        # Before the reply: who has the reply in hand finds the message on record.
        server.received(message)
        self._wire.perform(action)


def _path(arg: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the address of ``FROM:<…>`` or ``TO:<…>`` and the parameters behind it."""
    match = _PATH.match(arg)
    if match is None:
        return None, ()
    return match[1], tuple((match[2] or "").split())
