"""A site whose settings are what a page shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.integration.sites import ROOT
from tests.integration.tools import running

if TYPE_CHECKING:
    from pathlib import Path

    from django_smtpx.testing import ScriptedServer
    from tests.integration.moving.pages import Command, Settings
    from tests.integration.stores import Broker

PASSWORD = "s3cret"
_MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
_CELERY = """\
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
_BASE = """\
import os
from datetime import timedelta
SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
DEFAULT_FROM_EMAIL = "shop@example.com"
"""


class MovingSite:
    """A Django project in a folder, that reaches ``server`` as smtp.example.com, port 587."""

    def __init__(
        self,
        folder: Path,
        packages: Path,
        database: dict[str, Any],
        server: ScriptedServer,
        ca_file: str,
        broker: Broker | None = None,
    ) -> None:
        self.folder = folder
        self.server = server
        self.stack = ExitStack()
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "proj.settings",
            "PYTHONPATH": os.pathsep.join(map(str, (folder, packages, ROOT))),
            # This authority, and no other: for Django's own backend as well.
            "SSL_CERT_FILE": ca_file,
            "SMTP_PASSWORD": PASSWORD,
            "TMPDIR": str(folder),
        }
        self.env.pop("PYTHONDEVMODE", None)
        (folder / "proj").mkdir()
        (folder / "manage.py").write_text(_MANAGE)
        base = f"{_BASE}DATABASES = {{'default': {database!r}}}\n"
        base += f"MEDIA_ROOT = {str(folder / 'media')!r}\n"
        if database["ENGINE"].endswith("mysql"):
            base += "import pymysql\npymysql.install_as_MySQLdb()\n"
        if broker is not None:
            base += f"CELERY_BROKER_URL = {broker.url!r}\n"
            base += f"CELERY_BROKER_TRANSPORT_OPTIONS = {broker.options!r}\n"
            (folder / "proj" / "celery.py").write_text(_CELERY)
        app = "from proj.celery import app\n" if broker is not None else ""
        (folder / "proj" / "__init__.py").write_text(app)
        (folder / "proj" / "base.py").write_text(base)

    def write(self, settings: Settings, *more: str) -> None:
        """Write the settings that a page shows, but for the server's name and port."""
        text = settings.text.replace("smtp.example.com", "localhost")
        text = text.replace("EMAIL_PORT = 587", f"EMAIL_PORT = {self.server.port}")
        whole = "\n".join(["from proj.base import *", text, *more])
        (self.folder / "proj" / "settings.py").write_text(whole)

    def call(self, action: str, *arguments: str) -> Any:
        """Call a function of ``mails`` in a process of the site, and return what it does."""
        argv = [sys.executable, "-m", "tests.integration.moving.mails", action, *arguments]
        return json.loads(self._run(argv).splitlines()[-1])

    def run(self, command: Command) -> None:
        """Run a command of a page; what is shown there has to be printed."""
        program, *arguments = shlex.split(command.line)
        if arguments[:3] == ["-m", "pip", "install"]:
            # It is on the path already.
            assert arguments[3:] == ["django-smtpx"]
            return
        argv = [sys.executable, *(["-m", "celery"] if program == "celery" else []), *arguments]
        assert program in ("python", "celery"), command.line
        if program == "celery" and "worker" in arguments:
            self._start(argv)
            return
        printed = self._run(argv).splitlines()
        # What else is said depends on the mail that is there.
        assert [line for line in command.shown.splitlines() if line not in printed] == []

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a management command, in a group of its own."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            stdout=subprocess.DEVNULL,
            env=self.env,
            cwd=self.folder,
            start_new_session=True,
        )

    def _start(self, argv: list[str]) -> None:
        log = self.folder / "worker.log"
        ready = re.compile(r" ready\.$", re.MULTILINE)
        argv = [*argv, "--concurrency", "1", "--loglevel", "INFO"]
        self.stack.enter_context(
            running(
                argv,
                log=log,
                ready=lambda: ready.search(log.read_text(errors="replace")) is not None,
                env=self.env,
                cwd=self.folder,
            )
        )

    def _run(self, argv: list[str]) -> str:
        done = self._done(argv)
        said = f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said[-8000:]
        return done.stdout

    def _done(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, capture_output=True, text=True, env=self.env, cwd=self.folder, check=False
        )
