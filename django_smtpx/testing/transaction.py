"""The commands of a mail transaction, as a scripted server obeys them (RFC 5321 section 3.3)."""

from __future__ import annotations

import re
import time

from django_smtpx.testing.actions import Action, behind_delays, code_of, mid_content
from django_smtpx.testing.dialogue import Dialogue
from django_smtpx.testing.records import ReceivedMessage

_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>(?:\s+(.*))?\Z", re.IGNORECASE)
_CHUNK = re.compile(r"([0-9]{1,18})(?: (LAST))?\Z", re.IGNORECASE)

# To which extension a parameter of MAIL or RCPT belongs.
_EXTENSIONS = {
    "SIZE": "SIZE",  # RFC 1870
    "BODY": "8BITMIME",  # RFC 6152
    "BODY=BINARYMIME": "BINARYMIME",  # RFC 3030
    "SMTPUTF8": "SMTPUTF8",  # RFC 6531
    "RET": "DSN",  # RFC 3461
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
    "REQUIRETLS": "REQUIRETLS",  # RFC 8689
    "AUTH": "AUTH",  # RFC 4954
}


class Transactions(Dialogue):
    """From MAIL to the reply after the content."""

    def _mail(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        if self.sender is None:
            self.transaction = self._server.next_transaction()
        default = self._mail_default(address, params)
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self._forget()
            self.sender, self.mail_params = address or "", params

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
        return self._params_default(params)

    def _params_default(self, params: tuple[str, ...]) -> str:
        server = self._server
        if not_offered := self._not_offered(params):
            return self._text("555", "5.5.4", f"{not_offered} is not offered")
        sizes = [int(p[5:]) for p in params if p.upper().startswith("SIZE=") and p[5:].isdigit()]
        if server.max_size and sizes and sizes[0] > server.max_size:
            return self._text("552", "5.3.4", "Message size exceeds fixed limit")
        return self._text("250", "2.1.0", "OK")

    def _rcpt(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        default = self._rcpt_default(address, params)
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self.recipients.append(address or "")
            self.rcpt_params.append(params)

    def _rcpt_default(self, address: str | None, params: tuple[str, ...]) -> str:
        limit = self._server.rcpt_limit
        if self.sender is None:
            return self._text("503", "5.5.1", "Need MAIL command")
        if self._chunking:
            return self._text("503", "5.5.1", "RCPT after BDAT")
        if not address:
            return self._text("501", "5.1.3", "Syntax: RCPT TO:<address>")
        if not_offered := self._not_offered(params):
            return self._text("555", "5.5.4", f"{not_offered} is not offered")
        if limit is not None and len(self.recipients) >= limit:
            return self._text("452", "4.5.3", "Too many recipients")
        return self._text("250", "2.1.5", "OK")

    def _not_offered(self, params: tuple[str, ...]) -> str:
        """Return the extension of the first parameter that nobody was offered; "" for none."""
        for param in params if self._server.strict_params else ():
            name = param.upper()
            extension = _EXTENSIONS.get(name) or _EXTENSIONS.get(name.partition("=")[0])
            if extension and extension not in self._announced:
                return extension
        return ""

    def _data(self, verb: str, arg: str) -> None:
        if self.sender is None:
            default = self._text("503", "5.5.1", "Need MAIL command")
        elif self._chunking:
            default = self._text("503", "5.5.1", "DATA after BDAT")
        elif "BODY=BINARYMIME" in map(str.upper, self.mail_params):
            default = self._text("503", "5.5.1", "BINARYMIME needs BDAT")
        elif not self.recipients:
            default = self._text("554", "5.5.1", "No valid recipients")
        else:
            default = "354 End data with <CR><LF>.<CR><LF>"
        if self._do(verb, arg, default, self.recipients or [""]) == 354:
            content = self._wire.content()
            if content is not None:
                self.content = content
                self._wire.perform(self._received(verb))
            self._forget()

    @property
    def _chunking(self) -> bool:
        return bool(self.chunks) or self._chunk_refused

    def _bdat(self, verb: str, arg: str) -> None:
        match = _CHUNK.match(arg)
        if not self._server.chunking:
            # How long the chunk is, a server without the extension cannot know.
            self._do(verb, arg, self._text("500", "5.5.2", "Command unrecognized"))
        elif match is None:
            self._do(verb, arg, self._text("501", "5.5.4", "Syntax: BDAT size [LAST]"))
        else:
            self._chunk(arg, int(match[1]), last=bool(match[2]))

    def _chunk(self, arg: str, size: int, *, last: bool) -> None:
        default = self._chunk_default(size, last=last)
        action = self._action("BDAT", arg, default, self.recipients or [""])
        mid = mid_content(action)
        code = code_of(mid.then if mid else action)
        accepted = mid is None and code is not None and code // 100 == 2
        # Before the chunk, so that it is on record if the connection is lost within.
        self._note("BDAT", arg, None)
        if accepted:
            self._chunked += self._wire.chunk(size) or b""
            self.chunks.append(size)
        elif mid is None:
            self._wire.skip(size)
        if accepted and last:
            self.content = bytes(self._chunked)
            action = behind_delays(action, self._received("BDAT"))
            code = code_of(action)
        self._note_code(code)
        self._wire.perform(action, go_ahead=b"")
        if mid is not None:
            self._wire.chunk(size)
        if last:
            self._forget()
        elif not accepted:
            self._chunk_refused = self.sender is not None

    def _chunk_default(self, size: int, *, last: bool) -> str:
        limit = self._server.max_size
        if self.sender is None:
            return self._text("503", "5.5.1", "Need MAIL command")
        if self._chunk_refused:
            return self._text("503", "5.5.1", "A chunk before this one was refused")
        if not self.recipients:
            return self._text("554", "5.5.1", "No valid recipients")
        # The last chunk is answered as any content is, and that minds the size.
        if limit and not last and len(self._chunked) + size > limit:
            return self._text("552", "5.3.4", "Message size exceeds fixed limit")
        return self._text("250", "2.0.0", f"{size} octets received")

    def _received(self, verb: str) -> Action:
        """Put the message on record, and return what is to be done then."""
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
            verb=verb,
            chunks=tuple(self.chunks),
        )
        if server.record:
            self.messages.append(message)
        # Before the reply: who has the reply in hand finds the message on record.
        server.received(message)
        return action


def _path(arg: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the address of ``FROM:<…>`` or ``TO:<…>`` and the parameters behind it."""
    match = _PATH.match(arg)
    if match is None:
        return None, ()
    return match[1], tuple((match[2] or "").split())
