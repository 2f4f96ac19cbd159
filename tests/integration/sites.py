"""A site in a temporary folder: its settings file, its processes and its workers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from tests.integration.tools import kill_group, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.stores import Broker

ROOT = Path(__file__).parents[2]


def mailers_settings(style: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that give the default mailer these OPTIONS, in one of the three styles.

    EMAIL_* knows a few options only; the rest of them is refused here.
    """
    backend = "django_smtpx.backend.EmailBackend"
    if style == "MAILERS":
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    if style == "SMTPX_MAILERS":
        return {"EMAIL_BACKEND": backend, "SMTPX_MAILERS": {"default": options}}
    assert style == "EMAIL_*"
    names = {"host": "EMAIL_HOST", "port": "EMAIL_PORT"}
    return {"EMAIL_BACKEND": backend, **{names[key]: value for key, value in options.items()}}


def styles() -> list[str]:
    """Return the styles that this Django knows."""
    newer = ["MAILERS"] if django.VERSION >= (6, 1) else []
    return [*newer, "SMTPX_MAILERS", "EMAIL_*"]


@dataclass
class Worker:
    """A running ``celery worker``."""

    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        """Return what it has said so far."""
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL it with all its children, as a power cut would."""
        kill_group(self.process)

    def children(self) -> list[int]:
        """Return its children's process ids, whichever of its threads has begun them."""
        found: list[int] = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text().split())
        return found


class Site:
    """One site: a database, a broker, one or more mailers, and what runs in it."""

    def __init__(
        self, folder: Path, *, database: dict[str, Any], broker: Broker, settings: dict[str, Any]
    ) -> None:
        self.folder = folder
        self.database = database
        self.file = folder / "site.json"
        self.file.write_text(
            json.dumps({"database": database, "broker": asdict(broker), "settings": settings})
        )
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.integration.site.settings",
            "SMTPX_SITE": str(self.file),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        # The tests' own process may run in development mode; the site's are as in production.
        self.env.pop("PYTHONDEVMODE", None)

    def elsewhere(self, **env: str) -> Site:
        """Return the same site on a machine that differs in ``env``."""
        other = copy(self)
        other.env = {**self.env, **env}
        return other

    def manage(self, *argv: str, seconds: float = 120.0) -> str:
        """Run a management command; return what it printed."""
        return self._run([sys.executable, "-m", "django", *argv], b"", seconds)

    def call(self, action: str, *, timeout: float = 600.0, **arguments: Any) -> Any:
        """Call a function of ``site.actions`` in a process of the site; return its answer."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".json") as answer:
            self._run(
                [sys.executable, "-m", "tests.integration.site", action],
                json.dumps(arguments).encode(),
                timeout,
                SMTPX_ANSWER=answer.name,
            )
            return json.loads(Path(answer.name).read_text())

    def start(self, action: str, **arguments: Any) -> subprocess.Popen[bytes]:
        """Begin a call whose answer nobody waits for."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.site", action],
            stdin=subprocess.PIPE,
            env={**self.env, "SMTPX_ANSWER": os.devnull},
            cwd=self.folder,
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(json.dumps(arguments).encode())
        return process

    def _run(self, argv: list[str], data: bytes, seconds: float, **env: str) -> str:
        done = subprocess.run(
            argv,
            input=data,
            capture_output=True,
            env={**self.env, **env},
            cwd=self.folder,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise AssertionError(
                f"{' '.join(argv)} ended with {done.returncode}:\n"
                + done.stdout.decode(errors="replace")[-4000:]
                + done.stderr.decode(errors="replace")[-8000:]
            )
        return done.stdout.decode()

    @contextmanager
    def worker(
        self, pool: str = "prefork", concurrency: int = 2, *options: str
    ) -> Iterator[Worker]:
        """Run ``celery worker`` until the block ends, from the moment that it is ready."""
        name = f"worker-{uuid.uuid4().hex[:8]}"
        log = self.folder / f"{name}.log"
        argv = [
            sys.executable, "-m", "celery", "-A", "tests.integration.site.celery", "worker",
            "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "INFO",
            "--hostname", f"{name}@localhost", "--without-gossip", "--without-mingle", *options,
        ]  # fmt: skip
        ready = re.compile(r" ready\.$", re.MULTILINE)
        with running(
            argv,
            log=log,
            ready=lambda: ready.search(log.read_text(errors="replace")) is not None,
            env=self.env,
            cwd=self.folder,
        ) as process:
            yield Worker(process, log)
