"""A client for one server, for use on its own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from django_smtpx.smtp import commands
from django_smtpx.smtp.envelope import Envelope, Outcome, Result
from django_smtpx.smtp.options import (
    Credential,
    Options,
    Security,
    Transcript,
    security_and_port,
)
from django_smtpx.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType


class Client:
    """Speaks to one server; a context manager.

        with Client("smtp.example.com", username="u", password="p") as client:
            client.send(Envelope("me@example.com", ["you@example.net"], content))

    It connects when it first has to, and again when the server has hung up
    between two messages. One client is one thread's at a time; each thread may
    have its own.

    The arguments are those of :class:`~django_smtpx.smtp.options.Options`.
    ``port`` defaults by ``security``: 465, 587, else 25. ``timeout`` and
    ``eod_timeout`` are in seconds.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        security: Security | str = Security.AUTO,
        username: str | None = None,
        password: str | None = None,
        verify: bool = True,
        ca_file: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        auth: Sequence[str] = (),
        allow_plaintext_auth: bool = False,
        helo: str = "",
        source_address: str | None = None,
        timeout: float = 60.0,
        eod_timeout: float = 600.0,
        pipelining: bool = True,
        transcript: Transcript = "failures",
    ) -> None:
        credential = None
        if username:
            credential = Credential(username, password or "")
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
            auth=tuple(auth),
            allow_plaintext_auth=allow_plaintext_auth,
            helo=helo,
            source_address=source_address,
            timeout=timeout,
            eod_timeout=eod_timeout,
            pipelining=pipelining,
            transcript=transcript,
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
        smtputf8 = envelope.needs_smtputf8
        for address in filter(None, (envelope.sender, *envelope.recipients)):
            commands.check_path(address, smtputf8=smtputf8)
        (outcome,) = self.send_all([envelope])
        if outcome.error is not None:
            raise outcome.error
        return list(outcome.results)

    def send_all(self, envelopes: Iterable[Envelope]) -> Iterator[Outcome]:
        """Send messages in one go; give an outcome for each, in their order.

        A refused message raises nothing: its results say so. A connection that ends is opened
        again for the messages behind; raises :class:`SMTPError` when that fails.
        """
        source = iter(envelopes)
        slots: deque[_Slot] = deque()
        waiting: deque[_Part] = deque()
        taken: deque[_Part] = deque()

        def parts() -> Iterator[Envelope]:
            while True:
                if not waiting:
                    envelope = next(source, None)
                    if envelope is None:
                        return
                    slots.append(_Slot(envelope))
                    waiting.append(slots[-1].whole())
                taken.append(waiting.popleft())
                yield taken[-1].envelope

        while True:
            # Looked at first: with no mail, no connection.
            if next(parts(), None) is None:
                return
            waiting.appendleft(taken.pop())
            for outcome in self.connect().transact(parts()):
                rest = taken.popleft().settle(outcome)
                if rest is not None:
                    waiting.append(rest)
                while slots and slots[0].settled:
                    yield slots.popleft().outcome()
            waiting.extendleft(reversed(taken))
            taken.clear()


class _Slot:
    """An envelope whose recipients may need more than one transaction."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.results: list[Result | None] = [None] * len(envelope.recipients)
        self.duration = 0.0
        self.transcripts: list[str] = []

    @property
    def settled(self) -> bool:
        return None not in self.results

    def whole(self) -> _Part:
        return _Part(self, self.envelope, range(len(self.results)))

    def outcome(self) -> Outcome:
        results = tuple(result for result in self.results if result is not None)
        return Outcome(self.envelope, results, self.duration, "\n".join(self.transcripts))


class _Part:
    """What goes of a slot in one transaction; ``places`` are its recipients' in the slot."""

    def __init__(self, slot: _Slot, envelope: Envelope, places: Sequence[int]) -> None:
        self.slot = slot
        self.envelope = envelope
        self.places = places

    def settle(self, outcome: Outcome) -> _Part | None:
        """Book what became of it; return the part that is to go in a new transaction."""
        slot = self.slot
        slot.duration += outcome.duration
        if outcome.transcript:
            slot.transcripts.append(outcome.transcript)
        # A server that takes none at all would be asked for ever.
        gets_on = any(result.action != "split" for result in outcome.results)
        rest: list[int] = []
        for place, result in zip(self.places, outcome.results, strict=True):
            if gets_on and result.action == "split":
                rest.append(place)
            else:
                slot.results[place] = result
        if not rest:
            return None
        whole = slot.envelope
        recipients = [whole.recipients[place] for place in rest]
        return _Part(slot, Envelope(whole.sender, recipients, whole.content, whole.ident), rest)
