"""The servers of the day: each destination is one on a socket, and minds the simulated time."""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from django_smtpx.smtp.options import Credential, Options, Security
from django_smtpx.testing import Close, Reply, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.testing import Conversation

MINUTE = 60.0
HOUR = 3600.0


class Place:
    """A destination that takes everything, but for users that it does not have, or whose mailbox
    is full; and what it saw.

    ``taken`` counts contents by the message's number and the recipient,
    ``contents`` are the times of those that came whole, ``connected`` those of
    connections, ``refused`` what was refused, by a word for it. ``most`` is the
    most connections that were open at once.
    """

    word = "healthy"
    listens_on = "127.0.0.1"
    rcpt_limit: int | None = None
    users: dict[str, str] | None = None

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self.now = now
        self.taken: Counter[tuple[int, str]] = Counter()
        self.taken_at: dict[tuple[int, str], float] = {}
        self.contents: list[float] = []
        self.connected: list[float] = []
        self.refused: Counter[str] = Counter()
        self.most = 0
        self._open: set[Conversation] = set()
        self.server = ScriptedServer(
            {
                "CONNECT": lambda at, arg: self._connected(at),
                "QUIT": lambda at, arg: self._open.discard(at),
                "AUTH": lambda at, arg: self.auth(at),
                "MAIL": self.mail,
                "RCPT": self._rcpt,
                "EOD": lambda at, arg: self._content(at),
            },
            host=self.listens_on,
            record=False,
            rcpt_limit=self.rcpt_limit,
            users=self.users,
            require_auth=self.users is not None,
        )

    # -- how to get there ------------------------------------------------------------------------

    def options(self, nobody: int) -> tuple[Options, ...]:
        """Return how to speak to it now; on port ``nobody`` connections are refused."""
        return (self._options(self.server.port),)

    def _options(self, port: int, address: str = "127.0.0.1") -> Options:
        return Options(
            host=f"{address}.{self.name}",
            addresses=(address,),
            port=port,
            security=Security.NONE,
            relay=False,
            timeout=30.0,
        )

    # -- what it does ----------------------------------------------------------------------------

    def connect(self, at: Conversation):
        """Answer a connection; None: as usual."""

    def auth(self, at: Conversation):
        """Answer a login; None: as usual."""

    def mail(self, at: Conversation, arg: str):
        """Answer the reverse path; None: as usual."""

    def rcpt(self, at: Conversation, address: str):
        """Answer a recipient that exists and has room; None: as usual."""

    def content(self, at: Conversation, number: int):
        """Answer a content, or return None to take it."""

    # -- books -----------------------------------------------------------------------------------

    def hang_up(self, at: Conversation, word: str, reply: str | None = None):
        """Refuse, and close the connection."""
        self.refused[word] += 1
        self._open.discard(at)
        return Close() if reply is None else Reply(reply, then=Close())

    def refuse(self, word: str, reply: str) -> str:
        """Refuse, and stay."""
        self.refused[word] += 1
        return reply

    def take(self, at: Conversation, number: int) -> None:
        """Have a content."""
        self.contents.append(self.now())
        for address in at.recipients:
            self.taken[number, address] += 1
            self.taken_at.setdefault((number, address), self.now())

    def open_now(self) -> int:
        """Return how many connections are open."""
        self._open = {one for one in self._open if not one.ended}
        return len(self._open)

    def lose(self, ports: set[int]) -> None:
        """Lose the connections from these ports: their process was killed."""
        self._open = {one for one in self._open if one.peer[1] not in ports}

    def most_within(self, seconds: float) -> int:
        """Return the most contents that came in any stretch of so many seconds."""
        times = self.contents
        return max(
            (bisect_right(times, at + seconds - 1e-6) - place for place, at in enumerate(times)),
            default=0,
        )

    def _connected(self, at: Conversation):
        self.connected.append(self.now())
        self._open.add(at)
        self.most = max(self.most, self.open_now())
        return self.connect(at)

    def _rcpt(self, at: Conversation, arg: str):
        address = arg.partition("<")[2].partition(">")[0]
        if address.startswith("nobody"):
            return self.refuse("unknown", "550 5.1.1 No such user here")
        if address.startswith("full"):
            return self.refuse("full", "452 4.2.2 The mailbox is full")
        return self.rcpt(at, address)

    def _content(self, at: Conversation):
        number = int(at.content.partition(b"Message-ID: <")[2].partition(b"@")[0])
        answer = self.content(at, number)
        if answer is None:
            self.take(at, number)
        return answer


class Dead(Place):
    """Refuses connections for an hour, and drops those that were open."""

    word = "dead for an hour"

    def __init__(self, name: str, now: Callable[[], float], dies: float) -> None:
        super().__init__(name, now)
        self.dies, self.lives = dies, dies + HOUR
        self.knocked: list[float] = []

    def is_dead(self) -> bool:
        """Say whether this is its hour."""
        return self.dies <= self.now() < self.lives

    def options(self, nobody: int) -> tuple[Options, ...]:
        """Return the way to it, and in its hour the way to nobody."""
        if self.is_dead():
            self.knocked.append(self.now())
            return (self._options(nobody),)
        return super().options(nobody)

    def mail(self, at: Conversation, arg: str):
        """Drop the connections that were open when its hour began."""
        return self.hang_up(at, "dropped") if self.is_dead() else None


class Backed(Dead):
    """Has a second host, which takes the mail while nobody answers at the first one."""

    word = "first host dead for an hour"
    listens_on = "0.0.0.0"

    def __init__(self, name: str, now: Callable[[], float], dies: float, number: int) -> None:
        super().__init__(name, now, dies)
        self._hosts = (f"127.1.0.{number}", f"127.2.0.{number}")

    def options(self, nobody: int) -> tuple[Options, ...]:
        """Return its two hosts, in their order."""
        first, second = self._hosts
        port = self.server.port
        return (
            self._options(nobody if self.is_dead() else port, first),
            self._options(port, second),
        )

    def mail(self, at: Conversation, arg: str):
        """Take it: its other host lives on."""


class Greylisting(Place):
    """Takes a sender and a recipient that it does not know five minutes after the first try."""

    word = "greylists"
    reply = "451 4.7.1 Greylisting in action, please come back later"

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        super().__init__(name, now)
        self._known: dict[tuple[str | None, str], float] = {}

    def rcpt(self, at: Conversation, address: str):
        """Put off whom it does not know yet."""
        since = self._known.setdefault((at.sender, address), self.now())
        known = self.now() - since >= 5 * MINUTE
        return None if known else self.refuse("greylisted", self.reply)


class HintingGreylisting(Greylisting):
    """Says how long it will take."""

    word = "greylists with a hint"
    reply = "450 4.2.0 Greylisted, please try again in 300 seconds"


class Limiting(Place):
    """Takes so many contents a minute, and hangs up on who sends more."""

    word = "limits the rate"
    most_a_minute = 60

    def mail(self, at: Conversation, arg: str):
        """Refuse who sends too fast."""
        lately = bisect_right(self.contents, self.now() - MINUTE)
        if len(self.contents) - lately < self.most_a_minute:
            return None
        reply = "421 4.7.28 Our system has detected an unusual rate of mail from your IP address"
        return self.hang_up(at, "rate", reply)


class TenAtOnce(Place):
    """Takes ten recipients in one transaction."""

    word = "ten recipients at once"
    rcpt_limit = 10


class Dropping(Place):
    """Drops the connection after the dot of some messages, once each; half of them it has taken."""

    word = "drops after the dot"

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        super().__init__(name, now)
        self._dropped: set[int] = set()

    @staticmethod
    def drops(number: int) -> bool:
        """Say whether it will drop that message."""
        return number % 7 == 0

    @staticmethod
    def takes(number: int) -> bool:
        """Say whether it has taken a message that it drops."""
        return number % 14 == 0

    def content(self, at: Conversation, number: int):
        """Say nothing of some, and hang up."""
        if not self.drops(number) or number in self._dropped:
            return None
        self._dropped.add(number)
        if self.takes(number):
            self.take(at, number)
        return self.hang_up(at, "dropped")


class Crowded(Place):
    """Bears two connections."""

    word = "two connections"

    def connect(self, at: Conversation):
        """Refuse the third."""
        if self.open_now() <= 2:
            return None
        reply = "421 4.7.0 Too many concurrent connections from your address"
        return self.hang_up(at, "connections", reply)


class Brief(Place):
    """Ends each connection after five messages."""

    word = "five messages a connection"

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        super().__init__(name, now)
        self._seen: Counter[int] = Counter()

    def mail(self, at: Conversation, arg: str):
        """Refuse the sixth."""
        self._seen[at.number] += 1
        if self._seen[at.number] <= 5:
            return None
        return self.hang_up(at, "brief", "421 mx.example: too many messages in this connection")


class Relay(Place):
    """Takes mail for everybody, from whoever logs in."""

    word = "relay"
    users = {"u": "secret"}  # noqa: RUF012 (never changed)

    def _options(self, port: int, host: str = "127.0.0.1") -> Options:
        return Options(
            host=host,
            port=port,
            security=Security.NONE,
            credential=Credential("u", "secret"),
            allow_plaintext_auth=True,
            timeout=30.0,
        )


class Forgetful(Relay):
    """Refuses the login from 10 to 12."""

    word = "refuses the login for two hours"
    begins, ends = 10 * HOUR, 12 * HOUR

    def auth(self, at: Conversation):
        """Refuse in its two hours."""
        if not self.begins <= self.now() < self.ends:
            return None
        return self.refuse("login", "535 5.7.8 Authentication credentials invalid")


class Picky(Relay):
    """Takes mail from two senders only when somebody has told it to, at 14."""

    word = "refuses a sender until a person resumes it"
    told = 14 * HOUR

    def mail(self, at: Conversation, arg: str):
        """Refuse the one by the reverse path."""
        if self.now() >= self.told or "<news@" not in arg:
            return None
        reply = "553 5.7.1 <news@site.example>: Sender address rejected: not owned by user u"
        return self.refuse("sender", reply)

    def content(self, at: Conversation, number: int):
        """Refuse the other by the From header."""
        if self.now() >= self.told or b"From: boss@" not in at.content:
            return None
        reply = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
        return self.refuse("sender", reply)


@contextmanager
def running(places: list[Place]) -> Iterator[int]:
    """Let the servers run; gives a port on which connections are refused."""
    with ExitStack() as stack, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for place in places:
            stack.enter_context(place.server)
        yield bound.getsockname()[1]
