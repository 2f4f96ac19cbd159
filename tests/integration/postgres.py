"""A PostgreSQL server of the tests' own, which can be restarted and told to refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.tools import NotThere, free_port

_DATABASE = "site"


class PostgresServer:
    """A cluster in ``folder``, which must be one that the user ``postgres`` can get at."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = free_port()
        self._bin = _programs()
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            # The server refuses to run as root.
            shutil.chown(folder, "postgres")
            self._prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]

    def start(self, **env: str) -> dict[str, Any]:
        """Make the cluster, start it, and return Django's settings of an empty database in it.

        ``env`` is added to the environment of the server alone.

        It does not wait for the disk: what it has written outlives it all the same, if not a power
        cut.
        """
        self._run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        self._ctl("start", "-o", f"-p {self._port} -h 127.0.0.1 -k '' -c fsync=off", **env)
        self.execute(f"CREATE DATABASE {_DATABASE}", database="postgres")
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _DATABASE,
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "USER": "postgres",
        }

    def restart(self, mode: str) -> None:
        """Restart it: "fast" ends all sessions, "immediate" is a crash."""
        self._ctl("restart", "-m", mode)

    def stop(self) -> None:
        """Stop it, and do not wait for anybody."""
        if (self._data / "postmaster.pid").exists():
            self._ctl("stop", "-m", "immediate")

    def execute(self, statement: str, *, database: str = _DATABASE) -> list[tuple[Any, ...]]:
        """Execute one statement outside a transaction; return its rows."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self._port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def refuse_writes(self, refuse: bool) -> None:
        """Refuse to write from each session's next transaction on, or take it back."""
        self.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if refuse else 'off'}"
        )
        self.execute("SELECT pg_reload_conf()")

    def _ctl(self, *argv: str, **env: str) -> None:
        self._run("pg_ctl", "-w", "-s", "-l", str(self._log), *argv, **env)

    def _run(self, program: str, *argv: str, **env: str) -> None:
        done = subprocess.run(
            # Set where the user is who he is to be: what is preloaded makes files of its own.
            [
                *self._prefix,
                "env",
                *(f"{name}={value}" for name, value in env.items()),
                str(self._bin / program),
                "-D",
                str(self._data),
                *argv,
            ],
            # The server inherits them, and a pipe would be waited for until it ends.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
            check=False,
        )
        if done.returncode:
            log = self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""
            raise RuntimeError(f"{program} {' '.join(argv)} ended with {done.returncode}:\n{log}")


def _programs() -> Path:
    """Return the folder of the newest version's programs."""
    homes = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    found = homes[-1] if homes else shutil.which("initdb")
    if found is None:
        raise NotThere("PostgreSQL's server is not installed (apt-get install postgresql).")
    return Path(found).parent
