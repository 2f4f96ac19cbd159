"""One connection with one server: it leads the protocol through transactions."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from traceback import clear_frames
from typing import TYPE_CHECKING

from django_smtpx.smtp import failures
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.envelope import Outcome
from django_smtpx.smtp.errors import SMTPError
from django_smtpx.smtp.events import ContentWanted, Ended
from django_smtpx.smtp.splitting import RECIPIENTS_MAX, split
from django_smtpx.smtp.transaction import Transaction, unsent
from django_smtpx.smtp.transcript import render
from django_smtpx.smtp.watch import NO_WATCH, Watch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from django_smtpx.smtp.envelope import Envelope, Result
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.transcript import Entries

PREPARED_MAX = 64 * 1024
"""Bytes of a content up to which it is prepared ahead: it is in memory twice then."""

CLEANUP_TIMEOUT = 5.0
"""Seconds that the answer to RSET, behind a refusal, is waited for."""


class Session:
    """An open session; made by :meth:`open`.

    ``transactions`` counts those done on this connection, ``failure`` is what
    ended it. ``interrupted`` are the outcomes of the transactions that were
    under way when an exception from outside stopped :meth:`transact`, as far
    as that can have delivered them. ``busy`` says whether :meth:`transact` is
    under way. ``tag`` is the caller's own. ``opened_at`` is a
    monotonic time. A session is one thread's at a time.
    """

    def __init__(self, connection: Connection, pool_key: Options) -> None:
        self.options = connection.options
        self.pool_key = pool_key
        self.tag: object = None
        self.opened_at = connection.opened_at
        self.interrupted: tuple[Outcome, ...] = ()
        self._connection = connection
        self._protocol = connection.protocol
        self._pump = connection.pump
        self._queue: deque[Transaction | Outcome] = deque()
        self._prepared: dict[int, Transaction] = {}
        self._stopped = False
        self._recipients_max: int | None = None
        self._opening_waits = connection.waits
        self._first_entries: Entries | None = None
        self.busy = False

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
    def takes_requiretls(self) -> bool:
        """Whether a message with REQUIRETLS may go this way (RFC 8689 section 4.2.1)."""
        protocol = self._protocol
        return protocol.tls and protocol.verified and protocol.capabilities.requiretls

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
        return self._in_step and not self._protocol.full

    @property
    def _in_step(self) -> bool:
        return not self._connection.closed and self._protocol.idle

    def split(self, recipients: Sequence[str]) -> list[list[int]]:
        """Return the places of ``recipients`` in groups that the server takes in one transaction,
        by what it announced (RFC 9422) and by what it has refused on this connection.
        """
        able = self._protocol.capabilities
        most = min(
            limit
            for limit in (able.rcpt_max or RECIPIENTS_MAX, self._recipients_max)
            if limit is not None
        )
        return split(recipients, most, able.rcpt_domain_max)

    # -- transactions ----------------------------------------------------------------------------

    def prepare(self, envelope: Envelope) -> None:
        """Do what can be done for an envelope before its turn in :meth:`transact`, if it is small.

        Nothing is sent, and nothing is raised: what is wrong with it is said in its turn.
        """
        if isinstance(envelope.content, bytes) and len(envelope.content) <= PREPARED_MAX:
            with suppress(SMTPError, ValueError):
                self._prepared[id(envelope)] = self._protocol.prepare(envelope).ahead()

    def transact(
        self, envelopes: Iterable[Envelope], watch: Watch | None = None
    ) -> Generator[Outcome, None, None]:
        """Send envelopes, and give an outcome for each, in their order.

        With PIPELINING the next envelope is taken when its commands can go out right behind the
        content of the current one, so that a message costs one round trip. With CHUNKING, and a
        window above 1, contents go out ahead of the answers to those before them.

        No :class:`SMTPError` leaves here. When the session ends, the iterator ends, after the
        outcome of the envelope that it happened to; an envelope that was taken and has no outcome
        was not begun, and no content of it left. When it ends by an exception from outside, or
        because the iterator is closed with a transaction under way, the connection is closed, and
        ``interrupted`` holds what has to be known about it: the outcome that was given last, if the
        caller did not come back for the next one, and those of contents that are unanswered.
        """
        self._pump.watch = watch or NO_WATCH
        self.busy = True
        self.interrupted = ()
        self._stopped = False
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
        except BaseException as error:
            self._interrupt()
            # Whoever reports it with the variables of each frame would report contents.
            clear_frames(error.__traceback__)
            raise
        finally:
            queue.clear()
            self._prepared.clear()
            self.busy = False
            self._pump.watch = NO_WATCH

    def _take(self, source: Iterator[Envelope]) -> bool:
        """Take the next envelope and begin it; return whether there was one."""
        # Before each group: what came uninvited means that the two sides are out of step.
        if self._stopped or (not self.alive() and self.transactions):
            return False
        envelope = next(source, None)
        if envelope is None:
            return False
        return self._put(envelope)

    def _fill_window(self, source: Iterator[Envelope]) -> None:
        """Send contents ahead, until as many of them are unanswered as may be."""
        protocol, window = self._protocol, self.options.chunking_window
        while protocol.unanswered < window and self._may_follow():
            envelope = next(source, None)
            if envelope is None or not self._put(envelope):
                self._stopped = True

    def _may_follow(self) -> bool:
        """Say whether a transaction may go right behind the last one that was begun."""
        last = self._queue[-1]
        return (
            not self._stopped
            and isinstance(last, Transaction)
            and last.pipelined
            and not last.streamed
            and not self._protocol.full
            and self._protocol.failure is None
        )

    def _put(self, envelope: Envelope) -> bool:
        """Begin the envelope, or queue why not; return False when it may not be sent at all."""
        protocol = self._protocol
        error: SMTPError | None = protocol.failure
        if error is None:
            try:
                prepared = self._prepared.pop(id(envelope), None)
                transaction = prepared or protocol.prepare(envelope)
            except SMTPError as unsupported:
                error = unsupported
            except ValueError as invalid:
                error = failures.invalid(invalid)
        if error is not None:
            self._queue.append(Outcome(envelope, unsent(envelope, error, self._connection.facts)))
            return True
        ahead = self._goes_ahead(transaction)
        if ahead and not self._pump.watch.may_send(envelope):
            if not self._queue:
                # It ends the session as it does without a window, and is as much told why.
                protocol.withdraw()
            return False
        self._queue.append(transaction)
        if not protocol.begun:
            # Not the transaction, which would keep its content as long as the connection lasts.
            self._first_entries = transaction.entries
        protocol.begin(transaction)
        if ahead:
            protocol.send_content(transaction)
        return True

    def _goes_ahead(self, transaction: Transaction) -> bool:
        """Say whether the content goes out without an answer to its own MAIL and RCPT."""
        return (
            self.options.chunking_window > 1
            and transaction.chunked
            and transaction.pipelined
            and not transaction.streamed
        )

    def _carry(self, transaction: Transaction, source: Iterator[Envelope]) -> Outcome | None:
        """Bring one transaction to its end; None when it was not begun on this session."""
        if self._goes_ahead(transaction):
            self._fill_window(source)
        while not transaction.done:
            event = self._pump.event()
            if isinstance(event, ContentWanted):
                self._send_content(event.transaction, source)
            elif isinstance(event, Ended) and not transaction.done:
                self._connection.end()
                return None
        reply = transaction.eod_reply
        if reply is None or reply.code // 100 != 2:
            self._clean_up()
        return self._outcome(transaction)

    def _send_content(self, transaction: Transaction, source: Iterator[Envelope]) -> None:
        protocol = self._protocol
        following = next(source, None) if self._may_follow() else None
        self._pump.look()
        if protocol.failure is not None:
            return
        if not self._pump.watch.may_send(transaction.envelope):
            protocol.withdraw()
            return
        protocol.send_content(transaction)
        if following is not None and not self._put(following):
            self._stopped = True

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
        if transaction.accepted < len(results) or results[0].outcome != "sent":
            self._learn(transaction, results)
            if policy != "never":
                parts = (self._connection.opening, transaction.entries, protocol.entries)
                transcript = render(self.opened_at, *parts)
        elif policy == "always":
            transcript = render(self.opened_at, self._led_up_to(transaction), transaction.entries)
        if protocol.failure is None:
            protocol.entries.clear()
        phases = transaction.waits
        if self._opening_waits:
            # Once: the first one waited for it, too.
            phases, self._opening_waits = {**self._opening_waits, **phases}, {}
        return Outcome(
            transaction.envelope,
            results,
            time.monotonic() - transaction.started,
            transcript,
            phases,
        )

    def _led_up_to(self, transaction: Transaction) -> Entries:
        """Return how the connection was opened, for the transaction that this was done for."""
        return self._connection.opening if transaction.entries is self._first_entries else []

    def _learn(self, transaction: Transaction, results: Sequence[Result]) -> None:
        """Note how many recipients the server takes, where it has said that there were more."""
        if transaction.accepted and any(result.action == "split" for result in results):
            self._recipients_max = transaction.accepted

    def _interrupt(self) -> None:
        """Note what has to be known about the transactions under way, and close."""
        protocol = self._protocol
        under_way = [item for item in self._queue if isinstance(item, Transaction)]
        lost = [
            item
            for item in under_way
            if not item.done and item.content_sent(protocol.offered_total) == "all"
        ]
        if lost:
            # What was being handed to the network may have left.
            protocol.sent_total = protocol.offered_total
            protocol.fail(failures.interrupted(lost[0].verb))
        self.interrupted = tuple(self._outcome(item) for item in under_way if item.done)
        if not protocol.idle:
            self.abort()

    # -- the end ---------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say QUIT where the session is in step, wait briefly for the answer, and close."""
        if self._in_step:
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
