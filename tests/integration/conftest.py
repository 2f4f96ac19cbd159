"""The real parts: each is the thing itself, and a test that cannot have it says why it skips."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.postfix import Postfix, postfix_server
from tests.integration.postgres import PostgresServer
from tests.integration.sites import Site, mailers_settings, styles
from tests.integration.stores import BROKERS, DATABASES, Broker, RedisServer
from tests.integration.tools import NotThere, free_port, listening, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def skipping() -> Iterator[None]:
    """Skip the test, with the reason, where a part is not there."""
    try:
        yield
    except NotThere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def _postfix() -> Iterator[Postfix]:
    with ExitStack() as stack:
        with skipping():
            server = stack.enter_context(postfix_server())
        yield server


@pytest.fixture
def postfix(_postfix: Postfix) -> Postfix:
    """A running Postfix with an empty maildir."""
    _postfix.settle()
    _postfix.clear()
    return _postfix


@dataclass(frozen=True)
class Sink:
    """A running counting server."""

    port: int
    file: Path

    def options(self) -> dict[str, Any]:
        """Return the OPTIONS of a mailer that sends here."""
        return {"host": "127.0.0.1", "port": self.port, "security": "none"}

    def arrived(self) -> list[tuple[str, str]]:
        """Return Message-ID and recipient of all that was taken, in order."""
        if not self.file.exists():
            return []
        lines = self.file.read_text().splitlines()
        return [(name, recipient) for name, recipient in (line.split("\t") for line in lines)]


@pytest.fixture
def make_sink(tmp_path: Path) -> Iterator[Callable[..., Sink]]:
    """Start counting servers; ``delay`` (seconds) makes each message take twice as long."""
    with ExitStack() as stack:

        def make(delay: float = 0.0) -> Sink:
            sink = Sink(free_port(), tmp_path / f"sink-{free_port()}.tsv")
            argv = [sys.executable, "-m", "tests.integration.sink"]
            argv += [str(sink.port), str(sink.file), str(delay)]
            log = tmp_path / "sink.log"
            stack.enter_context(running(argv, log=log, ready=lambda: listening(sink.port)))
            return sink

        yield make


@pytest.fixture
def sink(make_sink: Callable[..., Sink]) -> Sink:
    """A running counting server."""
    return make_sink()


@dataclass(frozen=True)
class SlowServer:
    """A running server that takes its time, as much as it is told at this moment."""

    port: int
    folder: Path

    def options(self) -> dict[str, Any]:
        """Return the OPTIONS of a mailer that sends here."""
        return {"host": "127.0.0.1", "port": self.port, "security": "none"}

    def answer_after(self, seconds: float | None) -> None:
        """Let so much time pass from the end of a content to its 250; None: until told otherwise."""
        whole = self.folder / "delay.new"
        whole.write_text("never" if seconds is None else str(seconds))
        whole.rename(self.folder / "delay")

    def arrived(self) -> list[tuple[str, str]]:
        """Return Message-ID and recipient of all that was taken, in order."""
        lines = (self.folder / "arrived").read_text().splitlines()
        return [(name, recipient) for name, recipient in (line.split("\t") for line in lines)]

    def sessions(self) -> dict[str, int]:
        """Return how many sessions began (``open``), ended with QUIT and without (``cut``)."""
        return dict(Counter(event for event, _ in self._events()))

    def most_sessions(self) -> int:
        """Return how many there were at once, at most."""
        return max((int(count) for _, count in self._events()), default=0)

    def _events(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "sessions").read_text().splitlines()]


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[SlowServer]:
    """A server that takes 200 ms for a mail, until it is told otherwise."""
    folder = tmp_path / "slow"
    folder.mkdir()
    server = SlowServer(free_port(), folder)
    server.answer_after(0.2)
    argv = [sys.executable, "-m", "tests.integration.slow", str(server.port), str(folder)]
    with running(argv, log=tmp_path / "slow.log", ready=(folder / "sessions").exists):
        # It is asked by a session that is cut off, which is none of a worker's.
        wait_for("the server listens", lambda: listening(server.port))
        wait_for("it has seen that", lambda: server.sessions().get("cut") == 1)
        (folder / "sessions").write_text("")
        yield server


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make sites, migrated; each has a database and a broker of its own until the test ends."""
    with ExitStack() as stack:

        def make(
            database: str | dict[str, Any],
            broker: str | Broker,
            options: dict[str, Any],
            *,
            style: str | None = None,
            **settings: Any,
        ) -> Site:
            folder = tmp_path / f"site-{free_port()}"
            folder.mkdir()
            with skipping():
                if isinstance(database, str):
                    database = stack.enter_context(DATABASES[database](folder))
                if isinstance(broker, str):
                    broker = stack.enter_context(BROKERS[broker](folder))
            site = Site(
                folder,
                database=database,
                broker=broker,
                settings={**mailers_settings(style or styles()[0], options), **settings},
            )
            site.manage("migrate", "-v0")
            return site

        yield make


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of the test's own, not yet started."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with skipping():
        server = RedisServer(folder)
    yield server
    server.stop()


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, not yet started."""
    # Not below pytest's own folder: nobody but its owner can get in there.
    with tempfile.TemporaryDirectory(prefix="smtpx-postgres-") as folder:
        with skipping():
            server = PostgresServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def silent_broker() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]
