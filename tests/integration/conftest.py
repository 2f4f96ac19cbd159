"""The real parts: each is the thing itself, and a test that cannot have it says why it skips."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.postfix import Postfix, postfix_server
from tests.integration.sites import Site, mailers_settings, styles
from tests.integration.stores import BROKERS, DATABASES, Broker, RedisServer
from tests.integration.tools import NotThere, free_port, listening, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make sites, migrated; each has a database and a broker of its own until the test ends."""
    with ExitStack() as stack:

        def make(
            database: str,
            broker: str | Broker,
            options: dict[str, Any],
            *,
            style: str | None = None,
            **settings: Any,
        ) -> Site:
            folder = tmp_path / f"site-{free_port()}"
            folder.mkdir()
            with skipping():
                rows = stack.enter_context(DATABASES[database](folder))
                if isinstance(broker, str):
                    broker = stack.enter_context(BROKERS[broker](folder))
            site = Site(
                folder,
                database=rows,
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
def silent_broker() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]
