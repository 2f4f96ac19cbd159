"""The opening of a dialogue: greeting, EHLO or HELO, STARTTLS; then the login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, failures, verdict
from django_smtpx.smtp.authentication import Authentication
from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.errors import ProtocolError
from django_smtpx.smtp.events import HandshakeWanted, Opened
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.states import GREETING, State
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transaction import Transaction

_UNKNOWN_COMMAND = frozenset({500, 501, 502, 504})


class Opening(Authentication):
    """The steps from the first byte to a session that is ready for transactions."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._handlers |= {
            GREETING: self._on_greeting,
            "EHLO": self._on_ehlo,
            "HELO": self._on_helo,
            "STARTTLS": self._on_starttls,
        }

    def tls_started(self) -> None:
        """Go on behind a TLS handshake: all that was known is forgotten (RFC 3207 section 4.2)."""
        self.tls = True
        self.capabilities = Capabilities()
        self._reader = ReplyReader(self._redactor.text)
        self.state = State.HELLO
        self._send("EHLO", commands.ehlo(self._options.helo))

    def _on_greeting(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is State.OVER:
            self._refuse_session(self._refused(GREETING, reply))
        else:
            self._send("EHLO", commands.ehlo(self._options.helo))

    def _on_ehlo(self, reply: Reply, _: Transaction | None) -> None:
        options = self._options
        if self.state is State.READY:
            # The true answer may be what comes behind it: nothing is concluded from this one then.
            self._refuse_stray()
            if self.failure is None:
                self.capabilities = Capabilities.from_reply(reply)
                self._go_on()
        elif (
            reply.code in _UNKNOWN_COMMAND
            and options.credential is None
            and options.security in (Security.NONE, Security.OPPORTUNISTIC)
            and not self.tls
        ):
            # RFC 5321 section 3.2; HELO can offer neither TLS nor AUTH.
            self._send("HELO", commands.helo(options.helo))
        else:
            self._refuse_session(self._refused("EHLO", reply))

    def _on_helo(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is State.READY:
            self._events.append(Opened())
        else:
            self._refuse_session(self._refused("HELO", reply))

    def _go_on(self) -> None:
        """Take the next step behind an EHLO: TLS, then AUTH, then work."""
        options = self._options
        if not self.tls and options.security in (Security.STARTTLS, Security.OPPORTUNISTIC):
            if self.capabilities.starttls:
                self._send("STARTTLS", commands.STARTTLS)
                return
            if options.security is Security.STARTTLS:
                self._refuse_session(
                    failures.no_tls(
                        said("TLS is required, and the server does not offer STARTTLS"),
                        options,
                        "starttls-not-supported",
                        phase="starttls",
                        command="STARTTLS",
                    )
                )
                return
        if options.credential is None:
            self._events.append(Opened())
        elif not (self.tls or options.allow_plaintext_auth):
            self._refuse_auth(
                said(
                    "Credentials are configured, and the connection is not encrypted: use "
                    "TLS (security), or set allow_plaintext_auth"
                )
            )
        else:
            self._start_auth()

    def _on_starttls(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is not State.TLS:
            self._refuse_session(self._refused("STARTTLS", reply))
        elif self._reader.trailing:
            # Whoever sits on the way could have put it there (RFC 3207 section 6).
            self.fail(
                ProtocolError(
                    said(
                        "The server sent more in clear behind its answer to STARTTLS: somebody "
                        "may be tampering with the connection"
                    ),
                    phase="starttls",
                    command="STARTTLS",
                    **verdict.judge_garbage("starttls").fields,
                    tls_failure="validation-failure",
                )
            )
        else:
            self._events.append(HandshakeWanted())
