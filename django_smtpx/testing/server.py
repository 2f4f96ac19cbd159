"""``ScriptedServer``: an SMTP server on a loopback socket that does what a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Literal, Self

from django_smtpx.testing.auth import AUTH, CHANNEL_BINDINGS
from django_smtpx.testing.conversation import Conversation
from django_smtpx.testing.script import Rules, Script, Steps

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from django_smtpx.testing.records import ReceivedMessage, ReceivedSession

KEYWORDS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_JOIN = 5.0


class ScriptedServer:
    r"""A real SMTP server on 127.0.0.1 that takes everything, unless it is told otherwise.

    >>> import smtplib
    >>> from django_smtpx.testing import ScriptedServer
    >>> with ScriptedServer(script={"RCPT": {"nobody@*": "550 5.1.1 No such user"}}) as server:
    ...     with smtplib.SMTP(server.host, server.port) as client:
    ...         refused = client.sendmail(
    ...             "me@example.com", ["you@example.com", "nobody@example.com"], "Subject: Hi"
    ...         )
    >>> refused
    {'nobody@example.com': (550, b'5.1.1 No such user')}
    >>> server.messages[0].recipients
    ('you@example.com',)
    >>> server.sessions[0].verbs
    ('EHLO', 'MAIL', 'RCPT', 'RCPT', 'DATA', 'QUIT')

    **Scripts.** ``script`` maps a verb to what is done there. The verbs are
    those of SMTP, and ``"CONNECT"`` (the greeting), ``"EOD"`` (the reply after
    the content, be it the lone dot's or that to the last chunk) and ``"(AUTH)"``
    (the client's answers within AUTH). What is done is one of:

    * a reply: ``"452 4.5.3 Too many"``, ``"550-first\n550 last"``; done every time;
    * another action from :mod:`django_smtpx.testing`: ``Reply(…, then=Close())``,
      ``Raw``, ``Close``, ``Reset``, ``Silence``, ``NoReply``, ``Delay``,
      ``Split``, ``MidContent``;
    * ``None``: the usual answer;
    * a callable that is given the :class:`Conversation` and the argument of the
      command, and returns one of these;
    * a list of these: one for each occurrence over all sessions, and the usual
      answer thereafter; with ``...`` at its end the last step goes on. A list
      within the list is one reply of several lines;
    * a mapping from addresses, or patterns such as ``"*@example.com"``, to any
      of these. It fits RCPT by the recipient, MAIL by the sender, DATA, BDAT and EOD by
      any accepted recipient; occurrences are counted for each address.

    ``{"*@grey.example": ["450 4.7.1 Greylisted"]}`` under ``"RCPT"`` thus
    refuses the first try of each address there. Nothing closes the connection
    but ``Close`` and ``Reset`` (and QUIT): a 421 that hangs up is
    ``Reply("421 4.3.2 Bye", then=Close())``. A command is judged by the code of
    its scripted reply: ``"RCPT": "250 ok"`` accepts, ``"DATA": "354 go"`` reads content.

    **Extensions.** ``keywords`` are the lines of the reply to EHLO, as they are:
    ``keywords=[*KEYWORDS, "DSN"]`` adds one to the usual. ``limits`` (such as
    ``{"RCPTMAX": 100}``) adds the LIMITS of RFC 9422, which are said, not obeyed;
    ``rcpt_limit`` is obeyed, not said: beyond so many recipients of a transaction
    RCPT gets 452 4.5.3. A parameter of MAIL or RCPT whose extension was not
    announced gets 555 5.5.4, unless ``strict_params`` is false.

    **BDAT.** ``chunking`` announces CHUNKING, ``binarymime`` BINARYMIME as well
    (RFC 3030); without them BDAT is no command, and its content is taken for
    commands. ``"BDAT"`` in a script is asked at each chunk, before it is read, and
    does its part behind it. Where it takes the last chunk ``"EOD"`` has the reply.
    A chunk that is not taken is read and thrown away, and so are those after it,
    with 503, up to RSET or the last chunk, which ends the transaction.

    **TLS.** ``ssl_context`` is a server-side context; with it STARTTLS is
    offered, or, with ``tls="implicit"``, TLS spoken from the first byte.
    :func:`make_certificate` makes one. ``require_tls`` refuses MAIL in clear.

    **AUTH.** ``users`` maps user names to passwords (or bearer tokens); PLAIN and
    LOGIN are then offered, or those that ``auth`` names: CRAM-MD5, SCRAM-SHA-1, -256
    and -512 with and without -PLUS (which need scramp), XOAUTH2, OAUTHBEARER and
    EXTERNAL as well. ``channel_bindings`` are those that it knows. With
    ``require_auth`` MAIL is refused without a login.

    **Records.** :attr:`messages`, :attr:`rejected`, :attr:`sessions`, and
    :meth:`wait_for`. With ``record=False`` messages are counted, not kept.

    A callable that raises ends its session with a 421, and the exception is
    raised again when the ``with`` block is left.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        tls: Literal["starttls", "implicit"] = "starttls",
        require_tls: bool = False,
        users: Mapping[str, str] | None = None,
        require_auth: bool = False,
        auth: Sequence[str] = AUTH,
        channel_bindings: Sequence[str] = CHANNEL_BINDINGS,
        keywords: Sequence[str] = KEYWORDS,
        chunking: bool = False,
        binarymime: bool = False,
        limits: Mapping[str, int] | None = None,
        rcpt_limit: int | None = None,
        strict_params: bool = True,
        hostname: str = "scripted.example",
        greeting: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        record: bool = True,
    ) -> None:
        if tls == "implicit" and ssl_context is None:
            raise ValueError('tls="implicit" needs ssl_context= (see make_certificate).')
        self.rules = Rules(script)
        self.ssl_context = ssl_context
        self.implicit_tls = tls == "implicit"
        self.starttls = ssl_context is not None and not self.implicit_tls
        self.require_tls = require_tls
        self.users = users
        self.require_auth = require_auth
        self.auth = tuple(auth)
        self.channel_bindings = tuple(channel_bindings)
        added = _added_keywords(chunking=chunking, binarymime=binarymime, limits=limits or {})
        self.keywords = (*keywords, *added)
        self.chunking = "CHUNKING" in self.keywords
        self.rcpt_limit = rcpt_limit
        self.strict_params = strict_params
        self.enhanced_codes = "ENHANCEDSTATUSCODES" in self.keywords
        self.max_size = _size_limit(self.keywords)
        self.hostname = hostname
        self.greeting = greeting or f"220 {hostname} ESMTP ready"
        self.host = host
        self.port: int = port
        self.record = record
        self.stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._changed = threading.Condition()
        self._conversations: list[Conversation] = []
        self._live: dict[Conversation, threading.Thread] = {}
        self._messages: list[ReceivedMessage] = []
        self._rejected: list[ReceivedMessage] = []
        self._failures: list[BaseException] = []
        self._message_count = 0
        self._session_numbers = count(1)
        self._transaction_numbers = count(1)
        self._message_numbers = count(1)

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.host}:{self.port}, {self.message_count} messages>"

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen, and answer from now on. Raises ``OSError`` when the port cannot be had."""
        if self._listener is not None:
            raise RuntimeError("This server runs already.")
        self.stopping.clear()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(
            target=self._accept, args=(listener,), name=f"smtp-{self.port}", daemon=True
        )
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close all connections and the port; the records stay. Returns within seconds, always."""
        listener, acceptor = self._listener, self._acceptor
        if listener is None or acceptor is None:
            return
        self._listener = self._acceptor = None
        self.stopping.set()
        with contextlib.suppress(OSError):
            # A blocked accept() is woken by a caller on every platform, and by nothing else on all.
            socket.create_connection(listener.getsockname()[:2], timeout=1).close()
        acceptor.join(_JOIN)
        listener.close()
        with self._changed:
            live = dict(self._live)
        for conversation in live:
            conversation.hang_up()
        deadline = time.monotonic() + _JOIN
        for thread in live.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if exc is None and self._failures:
            raise self._failures[0]

    # -- script --------------------------------------------------------------------------------

    def on(
        self,
        verb: str,
        steps: Steps | Mapping[str, Steps],
        *,
        match: str | None = None,
        session: int | None = None,
        message: int | None = None,
    ) -> Self:
        """Add to the script while the server runs; the newest rule that fits decides.

        ``steps`` is what a script maps a verb to. ``match`` is an address or a
        pattern, ``session`` the number of a session, ``message`` the number of a
        mail transaction over all sessions, each counted from 1. Returns the server.
        """
        self.rules.add(verb, steps, match=match, session=session, message=message)
        return self

    # -- records -------------------------------------------------------------------------------

    @property
    def messages(self) -> tuple[ReceivedMessage, ...]:
        """The messages taken, in order: those confirmed, and those whose reply was left out."""
        with self._changed:
            return tuple(self._messages)

    @property
    def rejected(self) -> tuple[ReceivedMessage, ...]:
        """The messages whose content came whole and was refused then."""
        with self._changed:
            return tuple(self._rejected)

    @property
    def sessions(self) -> tuple[ReceivedSession, ...]:
        """The sessions, in order, as they stand now."""
        with self._changed:
            conversations = tuple(self._conversations)
        return tuple(conversation.snapshot() for conversation in conversations)

    @property
    def message_count(self) -> int:
        """How many messages were taken; counted with ``record=False`` too."""
        return self._message_count

    def wait_for(self, messages: int = 1, timeout: float = 5.0) -> tuple[ReceivedMessage, ...]:
        """Wait until so many messages are taken, and return them.

        Raises ``TimeoutError`` after ``timeout`` seconds, saying what came instead.
        """
        self.wait_until(lambda server: server.message_count >= messages, timeout)
        return self.messages

    def wait_until(self, true: Callable[[ScriptedServer], bool], timeout: float = 5.0) -> None:
        """Wait until ``true(server)``; looked at when a message or a session comes or ends.

        Raises ``TimeoutError`` after ``timeout`` seconds, saying what came instead.
        """
        with self._changed:
            if self._changed.wait_for(lambda: true(self), timeout):
                return
        raise TimeoutError(f"Not within {timeout} s. What came: {self._story()}")

    def clear(self) -> None:
        """Forget what is on record; sessions that are open stay on it."""
        with self._changed:
            self._messages.clear()
            self._rejected.clear()
            self._message_count = 0
            self._conversations = [c for c in self._conversations if not c.ended]

    def _story(self) -> str:
        sessions = "; ".join(
            f"session {session.number}: {' '.join(session.verbs) or 'no command'}"
            f" ({session.ended or 'open'}{', ' + session.error if session.error else ''})"
            for session in self.sessions[-10:]
        )
        return f"{self.message_count} messages; {sessions or 'no session'}."

    # -- for conversations ---------------------------------------------------------------------

    def next_transaction(self) -> int:
        """Return the number of a mail transaction that begins."""
        return next(self._transaction_numbers)

    def next_message(self) -> int:
        """Return the number of a message whose content came whole."""
        return next(self._message_numbers)

    def received(self, message: ReceivedMessage) -> None:
        """Put a message on record."""
        taken = message.code is None or message.confirmed
        with self._changed:
            if taken:
                self._message_count += 1
            if self.record:
                (self._messages if taken else self._rejected).append(message)
            self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """Remember what a callable raised."""
        self._failures.append(error)

    # -- threads -------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            if self.stopping.is_set():
                sock.close()
                return
            number = next(self._session_numbers)
            conversation = Conversation(self, sock, peer[:2], number)
            thread = threading.Thread(
                target=self._run,
                args=(conversation,),
                name=f"smtp-{self.port}-{number}",
                daemon=True,
            )
            with self._changed:
                self._live[conversation] = thread
                if self.record:
                    self._conversations.append(conversation)
                thread.start()
                self._changed.notify_all()

    def _run(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        finally:
            with self._changed:
                del self._live[conversation]
                self._changed.notify_all()


def _added_keywords(
    *, chunking: bool, binarymime: bool, limits: Mapping[str, int]
) -> Iterator[str]:
    if chunking or binarymime:
        yield "CHUNKING"
    if binarymime:
        yield "BINARYMIME"
    if limits:
        yield " ".join(["LIMITS", *(f"{name}={value}" for name, value in limits.items())])


def _size_limit(keywords: Sequence[str]) -> int:
    """Return the limit in the SIZE keyword, in bytes; 0 for none (RFC 1870)."""
    for keyword in keywords:
        name, _, value = keyword.partition(" ")
        if name.upper() == "SIZE" and value.isdigit():
            return int(value)
    return 0
