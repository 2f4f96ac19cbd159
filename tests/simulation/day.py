"""The day: the world, its mail, and the workers that carry it."""

from __future__ import annotations

import gc
import random
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db import connections

from django_smtpx import delivery, ledger, pacing
from django_smtpx.compose import Composed
from django_smtpx.config import mailers, named
from django_smtpx.config.sources import Read
from django_smtpx.delivery.draining import Drain
from django_smtpx.mailer import Mailer, RetryPolicy
from django_smtpx.models import Delivery
from django_smtpx.pace import Rate
from tests.simulation import servers
from tests.simulation.clock import BEGAN, Clock, install
from tests.simulation.oracle import END
from tests.simulation.servers import HOUR, MINUTE, Place
from tests.straight import straight as direct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

    from tests.simulation.clock import Processes, Worker

WORKERS = 3
PROCESSES = 2
TICK = 10.0
MAX_CONNECTIONS = 4
HASTY = 0.5 * HOUR
SALE = 10.3 * HOUR
FATAL = SALE + 3
RATE = Rate.parse("120/m")

_LAST_MAIL = 20 * HOUR
_SENDER = "shop@site.example"
_USERS = 40
_HOT = 100
_OFTEN = ("direct",) * 14 + ("rated",) * 3
_LARGE = (servers.Limiting, servers.Crowded)
_WAITING = ("queued", "deferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message; times are in simulated seconds."""

    number: int
    mailer: str
    at: float
    recipients: tuple[str, ...]
    sender: str = _SENDER
    author: str = _SENDER
    send_at: float | None = None
    expires_at: float | None = None
    priority: int = 0
    max_age: float | None = None
    on_unknown: str = "retry"

    def composed(self) -> Composed:
        """Return it as the ledger stores it."""
        content = (
            f"From: {self.author}\r\nTo: undisclosed-recipients:;\r\nSubject: Mail {self.number}\r\n"
            f"Message-ID: <{self.number}@site.example>\r\n\r\nHello, this is mail {self.number}.\r\n"
        )
        return Composed(
            sender=self.sender,
            recipients=self.recipients,
            content=content.encode(),
            message_id=f"<{self.number}@site.example>",
            from_header=self.author,
            subject=f"Mail {self.number}",
            priority=self.priority,
            send_at=_moment(self.send_at),
            expires_at=_moment(self.expires_at),
            metadata={"number": self.number},
        )


def _moment(seconds: float | None):
    return None if seconds is None else BEGAN + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Size:
    """How large the day is: messages, most of them in bursts and the rest in clumps, to how many
    destinations.
    """

    messages: int
    destinations: int
    clumps: int
    bursts: int


WHOLE = Size(messages=20_000, destinations=200, clumps=80, bursts=2)
SMALL = Size(messages=1_000, destinations=24, clumps=18, bursts=2)


class World:
    """All destinations, and the mailers that reach them."""

    def __init__(self, now: Callable[[], float], size: Size, rand: random.Random) -> None:
        share = max(1, size.destinations // 40)
        self.places: dict[str, Place] = {}
        self.by_mailer: dict[str, list[Place]] = {}
        self.bursts = [SALE, *(rand.uniform(1 * HOUR, _LAST_MAIL) for _ in range(size.bursts - 1))]
        for number in range(3 * share):
            dies = self._before_a_burst(number, rand)
            self._add("direct", servers.Dead(f"dead{number}.example", now, dies))
        for number in range(share):
            dies = self._before_a_burst(number, rand)
            name = f"backed{number}.example"
            self._add("direct", servers.Backed(name, now, dies, number + 1))
        for kind, count in (
            (servers.Greylisting, share),
            (servers.HintingGreylisting, share),
            (servers.Limiting, 2),
            (servers.TenAtOnce, 2 * share),
            (servers.Dropping, share),
            (servers.Crowded, 2),
            (servers.Brief, share),
        ):
            for number in range(count):
                self._add("direct", kind(f"{kind.__name__.lower()}{number}.example", now))
        for number in range(share):
            self._add("once", servers.Dropping(f"once{number}.example", now))
            self._add("hasty", Place(f"hasty{number}.example", now))
            dies = self._before_a_burst(number, rand)
            self._add("hasty", servers.Dead(f"hastydead{number}.example", now, dies))
        for name, kind in (
            ("relay", servers.Relay),
            ("login", servers.Forgetful),
            ("picky", servers.Picky),
            ("rated", servers.Relay),
        ):
            self._add(name, kind(f"{name}.example", now))
        for number in range(size.destinations - len(self.places)):
            self._add("direct", Place(f"healthy{number}.example", now))
        large = [one for one in self.by_mailer["direct"] if isinstance(one, _LARGE)]
        self.large = [*large, self.places["healthy0.example"]]

    def _before_a_burst(self, number: int, rand: random.Random) -> float:
        """Return when a server dies, so that much mail comes while it is dead."""
        return self.bursts[number % len(self.bursts)] - rand.uniform(-5, 50) * MINUTE

    def _add(self, mailer: str, place: Place) -> None:
        self.places[place.name] = place
        self.by_mailer.setdefault(mailer, []).append(place)

    def mailers(self, nobody: int) -> dict[str, Mailer]:
        """Return the mailers by name; on port ``nobody`` connections are refused."""

        def straight(name: str, **options) -> Mailer:
            mailer = Mailer(name=name, hosts=(), max_connections=MAX_CONNECTIONS, **options)
            return direct(mailer, lambda domain: self.places[domain].options(nobody))

        def relayed(name: str, **options) -> Mailer:
            (place,) = self.by_mailer[name]
            hosts = place.options(nobody)
            return Mailer(name=name, hosts=hosts, max_connections=MAX_CONNECTIONS, **options)

        hasty = RetryPolicy(max_age=HASTY)
        every = (
            straight("direct"),
            straight("once", on_unknown="hold"),
            straight("hasty", retry=hasty),
            relayed("relay"),
            relayed("login", retry=hasty),
            relayed("picky", retry=hasty),
            relayed("rated", rate=RATE),
        )
        return {mailer.name: mailer for mailer in every}

    def place_of(self, mail: Mail, recipient: str) -> Place:
        """Return the server that gets mail for ``recipient``."""
        places = self.by_mailer[mail.mailer]
        domain = recipient.rpartition("@")[2]
        return self.places[domain] if domain in self.places else places[0]


class Traffic:
    """The mail of the day, in the order in which it comes."""

    def __init__(self, world: World, size: Size, rand: random.Random) -> None:
        self._world = world
        self._rand = rand
        self._numbers = 0
        self._mailers = (*_OFTEN, "once", "hasty", "relay", "login", "picky")
        in_bursts = size.messages * 8 // 10
        sizes = [*_shares(in_bursts, size.bursts), *_shares(size.messages - in_bursts, size.clumps)]
        times = [*world.bursts, *(rand.uniform(0, _LAST_MAIL) for _ in range(size.clumps))]
        bursts = [number < size.bursts for number in range(len(sizes))]
        self.mails = [
            self._batch(at, count, burst=burst)
            for at, count, burst in sorted(zip(times, sizes, bursts, strict=True))
        ]

    def _batch(self, at: float, count: int, *, burst: bool) -> list[Mail]:
        """Return what comes at once: to everybody in a burst, else to a few destinations."""
        rand = self._rand
        ways = [
            (mailer, rand.choice(self._places(mailer, burst=burst)))
            for mailer in rand.choices(self._mailers, k=count if burst else 3)
        ]
        return [self._mail(at, *rand.choice(ways)) for _ in range(count)]

    def _places(self, mailer: str, *, burst: bool) -> list[Place]:
        """Return where mail goes; a third of a burst to the few that most people are with."""
        few = burst and mailer == "direct" and self._rand.random() < 0.33
        return self._world.large if few else self._world.by_mailer[mailer]

    def _mail(self, at: float, mailer: str, place: Place) -> Mail:
        rand = self._rand
        self._numbers += 1
        wish = rand.random()
        expires_at = send_at = None
        if wish < 0.04:
            expires_at = at + rand.uniform(20 * MINUTE, 3 * HOUR)
        elif wish < 0.08:
            send_at = at + rand.uniform(1 * MINUTE, 2 * HOUR)
        sender = author = _SENDER
        if mailer == "picky" and rand.random() < 0.4:
            sender, author = rand.choice(
                [("news@site.example", "news@site.example"), (_SENDER, "boss@site.example")]
            )
        return Mail(
            number=self._numbers,
            mailer=mailer,
            at=at,
            recipients=self._recipients(mailer, place),
            sender=sender,
            author=author,
            send_at=send_at,
            expires_at=expires_at,
            priority=rand.choice((0, 0, 0, 0, 5, -5)),
            max_age=HASTY if mailer in ("hasty", "login", "picky") else None,
            on_unknown="hold" if mailer == "once" else "retry",
        )

    def _recipients(self, mailer: str, place: Place) -> tuple[str, ...]:
        """Return one recipient mostly, of one destination, and sometimes up to 40, of several."""
        rand = self._rand
        many = rand.random() < (0.1 if isinstance(place, servers.TenAtOnce) else 0.01)
        count = rand.randint(2, _USERS) if many else 1
        users = rand.sample(range(_USERS), count)
        domains = [place.name]
        if many and mailer == "direct" and place.word == "healthy":
            domains = [one.name for one in rand.sample(self._world.by_mailer[mailer], 5)]
        if mailer in ("relay", "login", "picky", "rated"):
            domains = [f"elsewhere{rand.randrange(50)}.example"]
        return tuple(f"{self._local(user)}@{rand.choice(domains)}" for user in users)

    def _local(self, user: int) -> str:
        dice = self._rand.random()
        if dice < 0.01:
            return f"nobody{user}"
        return f"full{user}" if dice < 0.011 else f"user{user}"


def _shares(total: int, parts: int) -> list[int]:
    """Return ``total`` in so many parts, as even as whole numbers are."""
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]


class Day:
    """One day of a site with three workers in two processes.

    ``drains`` counts those of each second, ``resumed`` the senders that a person resumed,
    ``killed`` the workers whose process was killed; ``in_doubt`` are the messages, by number and
    recipient, that were marked then.
    """

    def __init__(self, size: Size, seed: int) -> None:
        rand = random.Random(seed)
        random.seed(seed)
        self.size, self.seed = size, seed
        self.clock = Clock()
        self.rand = rand
        self.world = World(self.clock.monotonic, size, rand)
        self.mails = Traffic(self.world, size, rand).mails
        self.drains: Counter[int] = Counter()
        self.resumed = 0
        self.killed = 0
        self.in_doubt: set[tuple[int, str]] = set()
        self._hints: deque[str] = deque()
        self._idle = list(range(WORKERS))
        self._at_work: dict[int, Worker] = {}
        self._due: float | None = 0.0

    @property
    def every_mail(self) -> list[Mail]:
        """All messages, in their order."""
        return [mail for mails in self.mails for mail in mails]

    def run(self, patch: pytest.MonkeyPatch) -> None:
        """Let it pass."""
        processes = install(self.clock, PROCESSES, patch)
        gc.collect()
        gc.freeze()
        with servers.running(list(self.world.places.values())) as nobody, _shared_connection():
            found = MappingProxyType(self.world.mailers(nobody))
            patch.setattr(named, "current", lambda: Read(MappingProxyType({}), found, {}))
            for mails in self.mails:
                self.clock.at(mails[0].at, lambda mails=mails: self._store(mails))
            for tick in range(1, round(END / TICK) + 1):
                self.clock.at(tick * TICK, self._tick)
            self.clock.at(servers.Picky.told, self._resume)
            self.clock.at(FATAL, lambda: self._kill(processes))
            try:
                self.clock.run()
            finally:
                processes.end()
                gc.unfreeze()

    # -- what happens ----------------------------------------------------------------------------

    def _store(self, mails: Sequence[Mail]) -> None:
        ledger.store([(mail.mailer, mail.composed()) for mail in mails])
        self._due = None
        for name in dict.fromkeys(mail.mailer for mail in mails):
            self._wake(name)

    def _tick(self) -> None:
        """Sweep, where the sweep has something to do."""
        if self._due is None:
            self._due = _next_due()
        if self._due <= self.clock.seconds:
            delivery.sweep(self._wake)
            self._due = None

    def _resume(self) -> None:
        keys = [
            pacing.envelope_key("news@site.example"),
            pacing.header_key("boss@site.example"),
        ]
        self.resumed = pacing.resume_senders("picky", keys, ledger.now())
        self._due = None

    def _kill(self, processes: Processes) -> None:
        """Kill the process in which the most workers are at work, and begin another one."""
        at_work = [number % PROCESSES for number in self._at_work]
        process = max(set(at_work), key=at_work.count, default=0)
        under_way = Delivery.objects.filter(status="sending", marked=True)
        rows = under_way.values_list("message__metadata", "recipient")
        self.in_doubt |= {(metadata["number"], recipient) for metadata, recipient in rows}
        self.killed += self.clock.kill(process)
        lost = processes.kill(process)
        for place in self.world.places.values():
            place.lose(lost)
        for number in [number for number, one in self._at_work.items() if one.dead]:
            del self._at_work[number]
            self._idle.append(number)
        self._due = None
        self._begin()

    # -- workers ---------------------------------------------------------------------------------

    def _wake(self, name: str) -> None:
        """Hint that ``name`` has mail; one hint that nobody has taken yet is as good as two."""
        if name not in self._hints:
            self._hints.append(name)
            self._begin()

    def _begin(self) -> None:
        """Let idle workers begin, as many as there are hints."""
        for _ in range(min(len(self._hints), len(self._idle))):
            number = self._idle.pop()
            task = partial(self._drain, number)
            self._at_work[number] = self.clock.work(task, number % PROCESSES)

    def _drain(self, number: int) -> None:
        try:
            while self._hints:
                mailer = mailers()[self._hints.popleft()]
                self.drains[int(self.clock.seconds)] += 1
                assert self.drains[int(self.clock.seconds)] <= _HOT, "drains wake each other"
                Drain(
                    mailer,
                    wake=lambda: self._wake(mailer.name),  # noqa: B023 (called within this turn)
                    clock=self.clock.monotonic,
                    rand=self.rand.random,
                ).run()
        finally:
            del self._at_work[number]
            self._idle.append(number)
            self._due = None


def _next_due() -> float:
    """Return when the sweep has something to do next: now, while anything is ready."""
    lane = Delivery.Lane
    if Delivery.objects.filter(lane__gt=lane.IDLE).exists():
        return 0.0
    waiting = [Delivery.objects.filter(lane=lane.IDLE, status=one) for one in _WAITING]
    firsts = [
        rows.filter(**{f"{field}__isnull": False}).order_by(field).values_list(field).first()
        for rows in waiting
        for field in ("next_attempt_at", "expires_at")
    ]
    sending = Delivery.objects.filter(status="sending").order_by("lease_expires_at")
    firsts.append(sending.values_list("lease_expires_at").first())
    times = [(first[0] - BEGAN).total_seconds() for first in firsts if first is not None]
    return min(times, default=float("inf"))


@contextmanager
def _shared_connection() -> Iterator[None]:
    """Let the workers, of which one at a time runs, use this thread's connection, and it alone."""
    connection = connections["default"]
    pragmas = ("synchronous=OFF", "locking_mode=EXCLUSIVE") if connection.vendor == "sqlite" else ()
    with connection.cursor() as cursor:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
    connection.inc_thread_sharing()
    yield
    # Not after an error: a worker that hangs may be using it.
    connection.dec_thread_sharing()
    if pragmas:
        # The next one to be made has the settings' own.
        connection.close()
