"""One connection with one server: it leads the protocol through transactions."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from django_smtpx.smtp import verdict
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.envelope import Outcome
from django_smtpx.smtp.errors import SMTPError
from django_smtpx.smtp.events import ContentWanted, Ended
from django_smtpx.smtp.pump import NO_WATCH, Watch
from django_smtpx.smtp.transaction import Transaction, unsent
from django_smtpx.smtp.transcript import render

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options

CLEANUP_TIMEOUT = 5.0
"""Seconds that the answer to RSET, behind a refusal, is waited for."""


class Session:
    """An open session; made by :meth:`open`.

    ``transactions`` counts those done on this connection, ``failure`` is what
    ended it. ``interrupted`` is the outcome of the transaction that was under
    way when an exception from outside stopped :meth:`transact`, if that can
    have delivered it. ``tag`` is the caller's own. ``opened_at`` is a
    monotonic time. A session is one thread's at a time.
    """

    def __init__(self, connection: Connection, pool_key: Options) -> None:
        self.options = connection.options
        self.pool_key = pool_key
        self.tag: object = None
        self.opened_at = connection.opened_at
        self.interrupted: Outcome | None = None
        self._connection = connection
        self._protocol = connection.protocol
        self._pump = connection.pump
        self._queue: deque[Transaction | Outcome] = deque()

    @classmethod
    def open(
        cls, options: Options, *, watch: Watch | None = None, first: Envelope | None = None
    ) -> Session:
        """Resolve, connect, be greeted, say EHLO, start TLS, log in.

        ``first`` is the envelope that the session is opened for: the error's ``results`` are its
        recipients'. Raises :class:`SMTPError`.
        """
        return cls(Connection.open(options, watch, first), options)

    @property
    def host(self) -> str:
        """The host's name, as configured."""
        return self._connection.facts["host"]

    @property
    def ip(self) -> str:
        """The address that it was reached at."""
        return self._connection.facts["ip"]

    @property
    def port(self) -> int:
        """The port that it was reached at."""
        return self._connection.facts["port"]

    @property
    def tls(self) -> str:
        """TLS version and cipher, or ""."""
        return self._connection.facts["tls"]

    @property
    def tls_verified_by(self) -> str:
        """How the server's certificate was verified: "pkix", or "" where it was not."""
        return self._connection.facts["tls_verified_by"]

    @property
    def transactions(self) -> int:
        """How many transactions were done on this connection."""
        return self._protocol.transactions

    @property
    def failure(self) -> SMTPError | None:
        """What ended the session."""
        return self._protocol.failure

    @property
    def usable(self) -> bool:
        """Whether it is open, in step, and may carry another transaction."""
        return not self._connection.closed and self._protocol.idle

    # -- transactions ----------------------------------------------------------------------------

    def transact(
        self, envelopes: Iterable[Envelope], watch: Watch | None = None
    ) -> Generator[Outcome, None, None]:
        """Send envelopes, and give an outcome for each, in their order.

        With PIPELINING the next envelope is taken when its commands can go out right behind the
        content of the current one, so that a message costs one round trip.

        No :class:`SMTPError` leaves here. When the session ends, the iterator ends, after the
        outcome of the envelope that it happened to; an envelope that was taken and has no outcome
        was not begun, and no content of it left. When it ends by an exception from outside, or
        because the iterator is closed with a transaction under way, the connection is closed, and
        ``interrupted`` holds what has to be known about it: the outcome that was given last, if the
        caller did not come back for the next one.
        """
        self._pump.watch = watch or NO_WATCH
        self.interrupted = None
        source = iter(envelopes)
        queue = self._queue
        try:
            while queue or (self.usable and self._take(source)):
                item = queue[0]
                outcome = item if isinstance(item, Outcome) else self._carry(item, source)
                if outcome is None:
                    return
                # It leaves the queue once the caller has come back for more: an exception
                # from outside may fall between the reply and the caller's hands.
                yield outcome
                queue.popleft()
        except BaseException:
            self._interrupt()
            raise
        finally:
            queue.clear()
            self._pump.watch = NO_WATCH

    def _take(self, source: Iterator[Envelope]) -> bool:
        """Take the next envelope and begin it; return whether there was one."""
        # Before each group: what came uninvited means that the two sides are out of step.
        if not self.alive() and self.transactions:
            return False
        envelope = next(source, None)
        if envelope is None:
            return False
        self._put(envelope)
        return True

    def _put(self, envelope: Envelope) -> None:
        protocol = self._protocol
        error: SMTPError | None = protocol.failure
        if error is None:
            try:
                transaction = protocol.prepare(envelope)
            except SMTPError as unsupported:
                error = unsupported
            except ValueError as invalid:
                error = _invalid(invalid)
        if error is None:
            self._queue.append(transaction)
            protocol.begin(transaction)
        else:
            self._queue.append(Outcome(envelope, unsent(envelope, error, self._connection.facts)))

    def _carry(self, transaction: Transaction, source: Iterator[Envelope]) -> Outcome | None:
        """Bring one transaction to its end; None when it was not begun on this session."""
        while not transaction.done:
            event = self._pump.event()
            if isinstance(event, ContentWanted):
                self._send_content(transaction, source)
            elif isinstance(event, Ended) and not transaction.done:
                self._connection.end()
                return None
        reply = transaction.eod_reply
        if reply is None or reply.severity != 2:
            self._clean_up()
        return self._outcome(transaction)

    def _send_content(self, transaction: Transaction, source: Iterator[Envelope]) -> None:
        protocol = self._protocol
        following = next(source, None) if transaction.pipelined else None
        self._pump.look()
        if protocol.failure is not None:
            return
        if not self._pump.watch.may_send(transaction.envelope):
            protocol.withdraw()
            return
        protocol.send_content(transaction)
        if following is not None:
            self._put(following)

    def _clean_up(self) -> None:
        """Find out whether the server hung up behind a refusal, without delaying a healthy one."""
        protocol = self._protocol
        if protocol.failure is None:
            if protocol.idle:
                protocol.reset()
                self._pump.flush()
                if not self._pump.await_reply(CLEANUP_TIMEOUT):
                    protocol.receive_timeout()
            elif protocol.owed is not None:
                # The next group is on its way: its first reply, or the lack of it, tells.
                self._pump.await_reply(CLEANUP_TIMEOUT)
        if protocol.failure is not None:
            self._connection.end()

    def _outcome(self, transaction: Transaction) -> Outcome:
        protocol = self._protocol
        results = transaction.results(self._connection.facts, disconnected=protocol.disconnected)
        transcript = ""
        policy = self.options.transcript
        if not all(result.outcome == "sent" for result in results):
            if policy != "never":
                parts = (self._connection.opening, transaction.entries, protocol.entries)
                transcript = render(self.opened_at, *parts)
        elif policy == "always":
            transcript = render(self.opened_at, transaction.entries)
        if protocol.failure is None:
            protocol.entries.clear()
        return Outcome(
            transaction.envelope, results, time.monotonic() - transaction.started, transcript
        )

    def _interrupt(self) -> None:
        """Note what has to be known about the transaction under way, and close."""
        item = self._queue[0] if self._queue else None
        if isinstance(item, Transaction):
            protocol = self._protocol
            if not item.done and item.content_sent(protocol.offered_total) == "all":
                protocol.fail(_interrupted())
            if item.done:
                self.interrupted = self._outcome(item)
            if not (item.done and protocol.idle):
                self.abort()
        elif not self._protocol.idle:
            self.abort()

    # -- the end ---------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say QUIT where the session is in step, wait briefly for the answer, and close."""
        if self.usable:
            self._connection.quit()
        else:
            self._connection.abort()

    def abort(self) -> None:
        """Close without a word."""
        self._connection.abort()

    def forget(self) -> None:
        """Drop this copy in a forked child; the parent goes on with the connection."""
        self._connection.forget()

    def alive(self) -> bool:
        """Whether the connection still stands, without a round trip: data that nobody asked for
        and the end of the stream say that it does not.
        """
        if self._connection.closed:
            return False
        self._pump.look()
        return self._protocol.failure is None and not self._protocol.disconnected


def _invalid(error: ValueError) -> SMTPError:
    judged = verdict.ADDRESS_INVALID
    return SMTPError(
        f"The envelope cannot be sent: {error}",
        phase="mail",
        command="MAIL",
        category=judged.category,
        action=judged.action,
        temporary=judged.temporary,
    )


def _interrupted() -> SMTPError:
    judged = verdict.UNKNOWN_OUTCOME
    return SMTPError(
        "The sender was interrupted while it awaited the reply to the content",
        phase="eod",
        command="DATA",
        category=judged.category,
        action=judged.action,
        temporary=judged.temporary,
        content_sent="all",
    )
