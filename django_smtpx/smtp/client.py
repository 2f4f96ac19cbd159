"""A client for one server, for use on its own."""

from __future__ import annotations

from collections import deque
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, Self

from django_smtpx.smtp import commands, sasl
from django_smtpx.smtp.envelope import Envelope, Outcome, Result
from django_smtpx.smtp.errors import TLSError
from django_smtpx.smtp.options import (
    Credential,
    Options,
    Security,
    Transcript,
    relaxed,
    security_and_port,
)
from django_smtpx.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from django_smtpx.smtp.rules import Rule


class Client:
    """Speaks to one server; a context manager.

        with Client("smtp.example.com", username="u", password="p") as client:
            client.send(Envelope("me@example.com", ["you@example.net"], content))

    It connects when it first has to, and again when the server has hung up
    between two messages. One client is one thread's at a time; each thread may
    have its own.

    The arguments are those of :class:`~django_smtpx.smtp.options.Options`.
    ``port`` defaults by ``security``: 465, 587, else 25. ``timeout`` and
    ``eod_timeout`` are in seconds. ``auth`` names SASL mechanisms, best first, or is "auto".
    ``oauth_token`` is called for a bearer token. Raises ``ValueError`` where it stands beside a
    password or without a username, and for a mechanism that is named and not installed. ``rules``
    judge refusals before those of this package do; ``relay`` says whether mail is submitted to the
    host, or whether it is the recipients' own.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        security: Security | str = Security.AUTO,
        username: str | None = None,
        password: str | None = None,
        oauth_token: Callable[[], str] | None = None,
        verify: bool = True,
        ca_file: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        auth: Sequence[str] | str = "auto",
        allow_plaintext_auth: bool = False,
        helo: str = "",
        source_address: str | None = None,
        timeout: float = 60.0,
        eod_timeout: float = 600.0,
        pipelining: bool = True,
        chunking: bool = True,
        chunking_window: int = 1,
        transcript: Transcript = "failures",
        rules: Sequence[Rule] = (),
        relay: bool = True,
    ) -> None:
        mechanisms = _mechanisms(auth)
        credential = _credential(username, password, oauth_token, mechanisms)
        if chunking_window < 1:
            raise ValueError(f"chunking_window must be 1 or more, not {chunking_window!r}.")
        resolved, port = security_and_port(
            Security(security),
            port,
            credentials=credential is not None,
            allow_plaintext_auth=allow_plaintext_auth,
        )
        self.options = Options(
            host=host,
            port=port,
            security=resolved,
            verify=verify,
            ca_file=ca_file,
            ssl_keyfile=ssl_keyfile,
            ssl_certfile=ssl_certfile,
            credential=credential,
            auth=mechanisms,
            allow_plaintext_auth=allow_plaintext_auth,
            helo=helo,
            source_address=source_address,
            timeout=timeout,
            eod_timeout=eod_timeout,
            pipelining=pipelining,
            chunking=chunking,
            chunking_window=chunking_window,
            transcript=transcript,
            rules=tuple(rules),
            relay=relay,
        )
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"<Client {self.options.host}:{self.options.port} {self.options.security}>"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def session(self) -> Session | None:
        """The connection there is, if there is one."""
        return self._session

    def connect(self) -> Session:
        """Return the open session, opening one where there is none; raises :class:`SMTPError`."""
        session = self._session
        if session is not None and session.busy:
            # It is a send_all's, which closes it at its end.
            session = self._session = None
        if session is None or not session.usable or not session.alive():
            self.close()
            session = self._session = Session.open(self.options)
        return session

    def close(self) -> None:
        """Say QUIT, and close; it never fails."""
        session, self._session = self._session, None
        if session is not None:
            session.quit()

    def send(self, envelope: Envelope) -> list[Result]:
        """Send one message; return a result per recipient, in their order.

        Raises the :class:`SMTPError`, with the ``results`` of all, when no recipient was sent; and
        ``ValueError``, with nothing sent, for an address that cannot be written in a command.
        Where a server takes only so many recipients at once, the rest goes in further transactions.
        """
        smtputf8 = not envelope.ascii_paths
        for address in filter(None, (envelope.sender, *envelope.recipients)):
            commands.check_path(address, smtputf8=smtputf8)
        (outcome,) = self.send_all([envelope])
        if outcome.error is not None:
            raise outcome.error
        return list(outcome.results)

    def send_all(self, envelopes: Iterable[Envelope]) -> Iterator[Outcome]:
        """Send messages in one go; give an outcome for each, in their order.

        A refused message raises nothing: its results say so. A connection that ends is opened
        again for the messages behind; raises :class:`SMTPError` when that fails. What the client
        sends before the iterator is at its end goes over another connection. What ``envelopes``
        itself raises comes behind the outcomes of all that it gave before.
        """
        queue = _Queue(envelopes)
        # Looked at first: with no mail, no connection.
        while queue.more():
            most: int | None = None
            try:
                session = self.connect()
            except TLSError as error:
                session, most = self._connect_unverified(queue.first, error), 1
            try:
                with closing(session.transact(islice(queue.feed(session), most))) as outcomes:
                    for outcome in outcomes:
                        queue.settle(outcome)
                        yield from queue.settled()
            finally:
                if session is not self._session:
                    session.quit()
            queue.put_back()
        if queue.failure is not None:
            raise queue.failure

    def _connect_unverified(self, envelope: Envelope, error: TLSError) -> Session:
        """Return a session for a message that says ``TLS-Required: No``; else raise ``error``."""
        if envelope.tls_optional:
            for options in relaxed(self.options):
                with suppress(TLSError):
                    return Session.open(options)
        raise error


class _Queue:
    """Envelopes on their way through one session or several; ``failure`` is what ended them."""

    def __init__(self, envelopes: Iterable[Envelope]) -> None:
        self.failure: Exception | None = None
        self._source = iter(envelopes)
        self._slots: deque[_Slot] = deque()
        self._waiting: deque[_Part] = deque()
        self._taken: deque[_Part] = deque()

    def more(self) -> bool:
        """Whether anything is waiting, looking at the next envelope where nothing is."""
        if not self._waiting:
            envelope = self._next()
            if envelope is None:
                return False
            slot = _Slot(envelope)
            self._slots.append(slot)
            self._waiting.append(_Part(slot, envelope, None))
        return True

    def _next(self) -> Envelope | None:
        try:
            return None if self.failure else next(self._source, None)
        except Exception as error:  # noqa: BLE001 (it is raised where nothing is under way)
            self.failure = error
            return None

    @property
    def first(self) -> Envelope:
        """What waits longest."""
        return self._waiting[0].envelope

    def feed(self, session: Session) -> Iterator[Envelope]:
        """Give what is to go next, in parts that the server takes."""
        while self.more():
            part = self._waiting.popleft()
            if len(part.envelope.recipients) > 1:
                part, *rest = part.cut(session.split(part.envelope.recipients))
                self._waiting.extendleft(reversed(rest))
            self._taken.append(part)
            yield part.envelope

    def settle(self, outcome: Outcome) -> None:
        """Book the outcome of the part that was taken first."""
        rest = self._taken.popleft().settle(outcome)
        if rest is not None:
            self._waiting.append(rest)

    def settled(self) -> Iterator[Outcome]:
        """Give the outcomes that are whole, in the order of the envelopes."""
        slots = self._slots
        while slots and slots[0].outcome is not None:
            outcome = slots.popleft().outcome
            assert outcome is not None
            yield outcome

    def put_back(self) -> None:
        """Let wait what was taken by a session that ended before it could begin it."""
        self._waiting.extendleft(reversed(self._taken))
        self._taken.clear()


def _mechanisms(auth: Sequence[str] | str) -> tuple[str, ...]:
    if auth == "auto":
        return ()
    names = tuple(name.upper() for name in ((auth,) if isinstance(auth, str) else auth))
    unknown = [name for name in names if name not in sasl.MECHANISMS]
    if unknown:
        raise ValueError(
            f"auth names {unknown[0]!r}, which is none of {', '.join(sasl.MECHANISMS)}."
        )
    if not sasl.scram_installed() and not set(names).isdisjoint(sasl.SCRAM):
        raise ValueError(f"auth names SCRAM, which is not installed: {sasl.INSTALL}")
    return names


def _credential(
    username: str | None,
    password: str | None,
    token: Callable[[], str] | None,
    mechanisms: Sequence[str],
) -> Credential | None:
    if token is not None:
        if not callable(token):
            raise ValueError("oauth_token must be a callable that returns a bearer token.")
        if password or not username:
            raise ValueError("oauth_token goes with a username, and without a password.")
    if username or token is not None or sasl.EXTERNAL in mechanisms:
        return Credential(username or "", password or "", token)
    return None


class _Slot:
    """An envelope whose recipients may need more than one transaction; ``outcome`` at its end."""

    __slots__ = ("_left", "_outcomes", "_results", "envelope", "outcome")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.outcome: Outcome | None = None
        self._results: list[Result | None] = []
        self._left = len(envelope.recipients)
        self._outcomes: list[Outcome] = []

    def settle(self, outcome: Outcome, results: Iterable[tuple[int, Result]]) -> None:
        """Book ``results``, by their places, of one transaction."""
        if not self._results:
            self._results = [None] * self._left
        self._outcomes.append(outcome)
        for place, result in results:
            self._results[place] = result
            self._left -= 1
        if not self._left:
            self.outcome = Outcome(
                self.envelope,
                tuple(result for result in self._results if result is not None),
                sum(each.duration for each in self._outcomes),
                "\n".join(each.transcript for each in self._outcomes if each.transcript),
                _together(each.phases for each in self._outcomes),
            )


def _together(phases: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add up, phase by phase."""
    total: dict[str, float] = {}
    for waits in phases:
        for phase, seconds in waits.items():
            total[phase] = total.get(phase, 0.0) + seconds
    return total


class _Part:
    """What goes of a slot in one transaction.

    ``places`` are its recipients' in the slot, and None where it is all of it.
    """

    __slots__ = ("envelope", "places", "slot")

    def __init__(self, slot: _Slot, envelope: Envelope, places: Sequence[int] | None) -> None:
        self.slot = slot
        self.envelope = envelope
        self.places = places

    def cut(self, groups: list[list[int]]) -> list[_Part]:
        """Return a part for each of ``groups`` of its recipients' places."""
        if len(groups) == 1:
            return [self]
        if self.places is None:
            return [self._of(group) for group in groups]
        return [self._of([self.places[place] for place in group]) for group in groups]

    def _of(self, places: list[int]) -> _Part:
        whole = self.slot.envelope
        return _Part(self.slot, whole.to([whole.recipients[place] for place in places]), places)

    def settle(self, outcome: Outcome) -> _Part | None:
        """Book what became of it; return the part that is to go in a new transaction."""
        if self.places is None and len(outcome.results) == 1:
            self.slot.outcome = outcome
            return None
        put_off = [result.action == "split" for result in outcome.results]
        # A server that takes none at all would be asked for ever.
        if all(put_off):
            put_off = [False] * len(put_off)
        if self.places is None and True not in put_off:
            self.slot.outcome = outcome
            return None
        places = self.places if self.places is not None else range(len(put_off))
        self.slot.settle(
            outcome,
            [
                (place, result)
                for place, result, off in zip(places, outcome.results, put_off, strict=True)
                if not off
            ],
        )
        rest = [place for place, off in zip(places, put_off, strict=True) if off]
        return self._of(rest) if rest else None
