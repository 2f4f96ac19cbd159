"""Databases and brokers of the tests' own, made for one site and taken away behind it."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.tools import SBIN, NotThere, free_port, kill_group, listening, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Broker:
    """Where a site's hints go: an URL for Celery, its transport options and a queue of its own."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    transport: str | None = None
    queue: str = field(default_factory=lambda: f"smtpx-{uuid.uuid4().hex}")


def _database_name() -> str:
    return f"smtpx_{uuid.uuid4().hex}"


@contextmanager
def sqlite(folder: Path) -> Iterator[dict[str, Any]]:
    """A SQLite file, set up as Django's documentation advises for more than one process."""
    yield {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "site.sqlite3"),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


@contextmanager
def postgres(_folder: Path) -> Iterator[dict[str, Any]]:
    """A database in the PostgreSQL server that ``PGHOST`` and its like name."""
    try:
        import psycopg
    except ImportError as error:
        raise NotThere(f"PostgreSQL's client is not installed: {error}.") from error
    settings = {
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    }
    name = _database_name()
    try:
        admin = psycopg.connect(
            host=settings["HOST"],
            port=settings["PORT"],
            user=settings["USER"],
            password=settings["PASSWORD"],
            dbname="postgres",
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise NotThere(f"PostgreSQL does not answer: {error}") from error
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield {"ENGINE": "django.db.backends.postgresql", "NAME": name, **settings}
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def pgbouncer(folder: Path) -> Iterator[dict[str, Any]]:
    """A PostgreSQL database behind PgBouncer, whose two connections are whoever's is at work."""
    program = shutil.which("pgbouncer", path=SBIN)
    if program is None:
        raise NotThere("PgBouncer is not installed (apt-get install pgbouncer).")
    port = free_port()
    with (
        postgres(folder) as settings,
        tempfile.TemporaryDirectory(prefix="smtpx-pgbouncer-") as place,
    ):
        own = Path(place)
        # It does not run as root.
        own.chmod(0o755)
        (own / "users").write_text(f'"{settings["USER"]}" "{settings["PASSWORD"]}"\n')
        (own / "ini").write_text(
            f"""[databases]
* = host={settings["HOST"]} port={settings["PORT"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {own / "users"}
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
"""
        )
        user = ["-u", "postgres"] if os.geteuid() == 0 else []
        argv = [program, *user, str(own / "ini")]
        with running(argv, log=folder / "pgbouncer.log", ready=lambda: listening(port)):
            yield {
                **settings,
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "DISABLE_SERVER_SIDE_CURSORS": True,
            }


@contextmanager
def mariadb(_folder: Path) -> Iterator[dict[str, Any]]:
    """A database in the MariaDB server that ``MYSQL_HOST`` and its like name."""
    try:
        import pymysql
    except ImportError as error:
        raise NotThere(f"MariaDB's client is not installed: {error}.") from error
    settings = {
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MYSQL_TCP_PORT", "3306"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PWD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
    }
    name = _database_name()

    def execute(statement: str) -> None:
        with (
            pymysql.connect(
                host=settings["HOST"],
                port=int(settings["PORT"]),
                user=settings["USER"],
                password=settings["PASSWORD"],
            ) as admin,
            admin.cursor() as cursor,
        ):
            cursor.execute(statement)

    try:
        execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    except pymysql.err.OperationalError as error:
        raise NotThere(f"MariaDB does not answer: {error}") from error
    try:
        yield {"ENGINE": "django.db.backends.mysql", "NAME": name, **settings}
    finally:
        execute(f"DROP DATABASE `{name}`")


@contextmanager
def filesystem(folder: Path) -> Iterator[Broker]:
    """A folder: no server at all."""
    for name in ("messages", "control", "processed"):
        (folder / "broker" / name).mkdir(parents=True)
    yield Broker(
        "filesystem://",
        {
            "data_folder_in": str(folder / "broker" / "messages"),
            "data_folder_out": str(folder / "broker" / "messages"),
            "control_folder": str(folder / "broker" / "control"),
            "processed_folder": str(folder / "broker" / "processed"),
        },
        transport="django_smtpx.broker.Transport",
    )


@contextmanager
def redis(_folder: Path) -> Iterator[Broker]:
    """The Redis server that ``REDIS_URL`` names, under a prefix that nobody else has."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        import redis as client
    except ImportError as error:
        raise NotThere(f"Redis' client is not installed: {error}.") from error
    prefix = f"smtpx-{uuid.uuid4().hex}:"
    with client.Redis.from_url(url) as server:
        try:
            server.ping()
        except client.exceptions.ConnectionError as error:
            raise NotThere(f"Redis does not answer at {url}: {error}") from error
        try:
            yield Broker(url, {"global_keyprefix": prefix})
        finally:
            for key in server.scan_iter(f"{prefix}*"):
                server.delete(key)


@contextmanager
def rabbitmq(_folder: Path) -> Iterator[Broker]:
    """The RabbitMQ server that ``AMQP_URL`` names, with a queue that nobody else has."""
    from kombu import Connection, Queue

    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
    with Connection(url, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1)
        except connection.connection_errors as error:
            raise NotThere(f"RabbitMQ does not answer at {url}: {error}") from error
        broker = Broker(url)
        try:
            yield broker
        finally:
            queue = Queue(broker.queue)(connection.default_channel)
            queue.delete()


class RedisServer:
    """A Redis server of the tests' own, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._running: AbstractContextManager[subprocess.Popen[bytes]] | None = None
        if shutil.which("redis-server") is None:
            raise NotThere("redis-server is not installed (apt-get install redis-server).")

    @property
    def broker(self) -> Broker:
        """The site's broker, whether the server runs or not."""
        return Broker(f"redis://127.0.0.1:{self.port}/0", queue="celery")

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        self._running = running(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
             "--appendonly", "no", "--dir", str(self.folder)],
            log=self.folder / "redis.log",
            ready=lambda: listening(self.port),
        )  # fmt: skip
        self.process = self._running.__enter__()

    def kill(self) -> None:
        """SIGKILL it; what it held is gone."""
        assert self.process is not None
        kill_group(self.process)
        self.stop()

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


DATABASES: dict[str, Callable[[Path], AbstractContextManager[dict[str, Any]]]] = {
    "sqlite": sqlite,
    "postgres": postgres,
    "pgbouncer": pgbouncer,
    "mariadb": mariadb,
}
BROKERS: dict[str, Callable[[Path], AbstractContextManager[Broker]]] = {
    "filesystem": filesystem,
    "redis": redis,
    "rabbitmq": rabbitmq,
}
