"""The site in a process of its own: ``python -m tests.integration.browser.serving PORT``.

Where it has no past yet it gets one first, and the keys of its rows are put down beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from tests.integration.tools import free_port, listening, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

ROOT = Path(__file__).parents[3]
DATABASE = "site.sqlite3"
SEED = "seed.sqlite3"
KEYS = "keys.json"


@dataclass(eq=False)
class Served:
    """A running site, and its database as anybody may read it."""

    folder: Path
    port: int
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return where it is, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Return what the database answers."""
        with closing(sqlite3.connect(self.folder / DATABASE, timeout=20)) as database:
            return database.execute(sql, arguments).fetchall()

    def value(self, sql: str, *arguments: Any) -> Any:
        """Return the first value of the database's answer; None where there is no row."""
        rows = self.rows(sql, *arguments)
        return rows[0][0] if rows else None

    def restore(self) -> None:
        """Forget all that was done since the site has its past."""
        with (
            closing(sqlite3.connect(self.folder / SEED)) as seed,
            closing(sqlite3.connect(self.folder / DATABASE, timeout=20)) as live,
        ):
            seed.backup(live)


@contextmanager
def served(
    folder: Path,
    *,
    settings: str = "tests.integration.browser.settings",
    past: str | Served = "shop",
    smtp: int | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Served]:
    """Run the site until the block ends, with a ``past`` of :mod:`seeding`, or that of another one.

    ``smtp`` is the port that its mailers send to (None: one where a server takes all mail), and
    ``env`` is added to the process's environment.
    """
    from django_smtpx.testing import ScriptedServer

    if isinstance(past, Served):
        for name in (SEED, KEYS):
            shutil.copy(past.folder / name, folder)
        shutil.copy(folder / SEED, folder / DATABASE)
    with ExitStack() as stack:
        if smtp is None:
            smtp = stack.enter_context(ScriptedServer()).port
        site = Served(folder, free_port())
        stack.enter_context(
            running(
                [sys.executable, "-m", "tests.integration.browser.serving", str(site.port)],
                log=folder / "site.log",
                ready=lambda: listening(site.port),
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": settings,
                    "PYTHONPATH": str(ROOT),
                    "SMTPX_BROWSER_SITE": str(folder),
                    "SMTPX_BROWSER_SMTP": str(smtp),
                    "SMTPX_BROWSER_PAST": past if isinstance(past, str) else "",
                    **(env or {}),
                },
                cwd=folder,
            )
        )
        site.keys.update(json.loads((folder / KEYS).read_text()))
        yield site


def main(port: int) -> None:
    """Serve the site of the environment on a port of the loopback address."""
    from celery import Celery
    from django.conf import settings

    app = Celery("browser", broker="memory://")
    app.set_default()
    django.setup()
    folder = Path(settings.DATABASES["default"]["NAME"]).parent
    if not (folder / SEED).exists():
        _give_past(folder)

    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class KeptFiles(StaticFilesHandler):
        """A browser does not ask again for what it has."""

        def serve(self, request: HttpRequest) -> HttpResponseBase:
            response = super().serve(request)
            response.headers["Cache-Control"] = "max-age=86400"
            return response

    server = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    server.set_app(KeptFiles(get_wsgi_application()))
    server.serve_forever()


def _give_past(folder: Path) -> None:
    from django.core.management import call_command
    from django.db import connection

    from tests.integration.browser import seeding

    call_command("migrate", verbosity=0)
    keys = getattr(seeding, os.environ["SMTPX_BROWSER_PAST"])()
    connection.close()
    shutil.copy(folder / DATABASE, folder / SEED)
    (folder / KEYS).write_text(json.dumps(keys))


if __name__ == "__main__":
    main(int(sys.argv[1]))
