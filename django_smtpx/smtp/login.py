"""One login and, where its first refusal was none of the credential, its second try."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp import sasl, tokens, verdict
from django_smtpx.smtp.errors import AuthenticationError, SMTPError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.protocol import Protocol


REMEMBERED = 3600.0
"""Seconds in which a server that took a login without its channel binding alone is not asked for
it with one: each such would cost a connection and, in the server's eyes, a failed login.
"""
_MANY = 1_000
_unbound: dict[tuple[str, int], float] = {}


class Login:
    """How to log in: the options, and the bearer token where there is one.

    ``again`` says that :meth:`refused` has found another way, for a fresh
    connection. There is one such at most.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._place = (options.host, options.port)
        if _unbound.get(self._place, 0.0) > time.monotonic():
            self._leave_out_binding()
        self.again = False
        self._tried = False
        self._token: str | None = None
        self._refused: tuple[str, ...] = ()

    def provide_token(self, protocol: Protocol) -> None:
        """Give ``protocol`` the bearer token that it wants, or the reason why there is none."""
        try:
            self._token = self._token or tokens.fetch(self._source, self.options.timeout)
        except tokens.TokenError as error:
            protocol.refuse_token(str(error))
        else:
            protocol.use_token(self._token, *self._refused)

    def refused(self, protocol: Protocol, error: SMTPError) -> None:
        """Find out whether there is another way; ``error`` stands where the way there is lost."""
        remedy = protocol.remedy
        self.again = False
        if self._tried or remedy is None:
            return
        self._tried = True
        if remedy is sasl.Remedy.WITHOUT_BINDING:
            unbound = protocol.mechanism_name.removesuffix(sasl.PLUS)
            self.options = dataclasses.replace(self.options, auth=(unbound,))
            self.again = True
        else:
            self._renew(error)

    def succeeded(self) -> None:
        """Remember what has made the second try succeed."""
        if self._token is None:
            if len(_unbound) >= _MANY:
                _unbound.clear()
            _unbound[self._place] = time.monotonic() + REMEMBERED

    def told(self, first: SMTPError, second: SMTPError) -> SMTPError:
        """Return which of two failures is the login's: the second counts where it is about AUTH."""
        last = second if isinstance(second, AuthenticationError) else first
        last.transcript = "\n".join(filter(None, (first.transcript, second.transcript)))
        return last

    @property
    def _source(self) -> Callable[[], str]:
        credential = self.options.credential
        assert credential is not None
        assert credential.token is not None
        return credential.token

    def _leave_out_binding(self) -> None:
        credential = self.options.credential
        if credential is not None:
            usable = sasl.usable(self.options.auth, credential)
            unbound = tuple(name for name in usable if not name.endswith(sasl.PLUS))
            if unbound:
                self.options = dataclasses.replace(self.options, auth=unbound)

    def _renew(self, error: SMTPError) -> None:
        assert self._token is not None
        self._refused = (self._token,)
        try:
            self._token = tokens.renew(self._source, self._token, self.options.timeout)
        except tokens.TokenError as problem:
            error.message += f" ({problem})"
        else:
            if self._token is None:
                # The source has no other: this one is the credential, and it is refused.
                return
            self.again = True
        verdict.AUTH_STUCK.put_on(error)
