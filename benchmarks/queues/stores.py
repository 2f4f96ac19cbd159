"""A PostgreSQL database and a place in Redis that a benchmark makes and takes away again."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any, LiteralString

from benchmarks.processes import NotThere
from benchmarks.queues.cpu import Spent, cpu_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

PREFIX = "benchmark_outbox_"
INTERVAL = 0.1
"""Seconds between two looks at the backends; one that ends in between has spent a little more."""


class Database:
    """One database; ``settings`` are Django's."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def settle(self) -> None:
        """Let what autovacuum would do some time be done now, in nobody's measurement."""
        with _connect(self.settings) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    @contextlib.contextmanager
    def measured(self) -> Iterator[Spent]:
        """Sum up the CPU time of all backends of this database until the block ends.

        Nothing is found where the server runs on another machine.
        """
        spent, over = Spent(), threading.Event()
        with _connect(self.settings) as connection:

            def look() -> None:
                spent.note({pid: self._cpu_of(pid) for pid in _backends(connection)})

            def look_on() -> None:
                while not over.wait(INTERVAL):
                    look()

            look()
            spent.begin()
            thread = threading.Thread(target=look_on)
            thread.start()
            try:
                yield spent
            finally:
                over.set()
                thread.join()
                look()

    def _cpu_of(self, pid: int) -> float | None:
        return cpu_of(pid, named=self.settings["NAME"])


def _backends(connection: psycopg.Connection[Any]) -> list[int]:
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return [pid for (pid,) in rows]


@contextlib.contextmanager
def postgres() -> Iterator[Database]:
    """Make a database in the server that ``PGHOST`` and its like name, until the block ends.

    Raises :class:`NotThere` without a server, or without psycopg.
    """
    server = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    }
    name = PREFIX + uuid.uuid4().hex[:12]
    with _connect({**server, "NAME": "postgres"}) as admin:
        admin.execute(_sql("CREATE DATABASE", name))
        try:
            yield Database({**server, "NAME": name})
        finally:
            admin.execute(_sql("DROP DATABASE", name, "WITH (FORCE)"))


def _sql(verb: LiteralString, name: str, rest: LiteralString = "") -> Any:
    from psycopg import sql

    return sql.SQL(" ").join([sql.SQL(verb), sql.Identifier(name), sql.SQL(rest)])


def _connect(settings: dict[str, Any]) -> psycopg.Connection[Any]:
    try:
        import psycopg
    except ImportError as error:
        raise NotThere("psycopg is not installed: pip install 'django-smtpx[bench]'") from error
    try:
        return psycopg.connect(
            host=settings["HOST"],
            port=settings["PORT"],
            user=settings["USER"],
            password=settings["PASSWORD"],
            dbname=settings["NAME"],
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise NotThere(
            f"PostgreSQL does not answer at {settings['HOST']}:{settings['PORT']} "
            f"(PGHOST, PGPORT, PGUSER and PGPASSWORD say where it is): {error}"
        ) from error


@contextlib.contextmanager
def redis() -> Iterator[dict[str, str]]:
    """Give a prefix in the Redis server that ``REDIS_URL`` names, until the block ends.

    Raises :class:`NotThere` without a server, or without its client.
    """
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        import redis as client
    except ImportError as error:
        raise NotThere("redis is not installed: pip install 'django-smtpx[bench]'") from error
    prefix = f"{PREFIX}{uuid.uuid4().hex[:12]}:"
    with client.Redis.from_url(url) as server:
        try:
            server.ping()
        except client.exceptions.ConnectionError as error:
            raise NotThere(
                f"Redis does not answer at {url} (REDIS_URL says where it is): {error}"
            ) from error
        try:
            yield {"url": url, "prefix": prefix}
        finally:
            for key in server.scan_iter(f"{prefix}*"):
                server.delete(key)
