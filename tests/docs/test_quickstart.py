"""Who follows the ten minutes, step by step, has sent a mail at the end of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import django
from django.core.management import call_command

import django_smtpx
from django_smtpx.testing import ScriptedServer
from tests.docs.blocks import DOCS, blocks

STEPS = [block.text for block in blocks(DOCS / "quickstart.md")]
BY_NAME = django.VERSION >= (6, 1)

ELSEWHERE = """
INSTALLED_APPS = [*OTHERS, *INSTALLED_APPS]
USE_TZ = True
if {by_name}:
    MAILERS["default"]["OPTIONS"] |= dict(host="{host}", port={port}, username=None, password=None)
else:
    EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS = "{host}", {port}, False
    EMAIL_HOST_USER = EMAIL_HOST_PASSWORD = ""
"""
RUN = """
import sys
import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")
call_command("smtpx_check", to="you@example.net")
{send}
call_command("sendtestemail", "you@example.net")
call_command("smtpx_deliver")
call_command("smtpx_queue")
call_command("smtpx_health")
"""


def having(*words):
    """Return the one step that has all of these words."""
    (found,) = (step for step in STEPS if all(word in step for word in words))
    return found


def site(path, server):
    """Build the project of the page, whose mail goes to ``server``."""
    call_command("startproject", "proj", str(path))
    settings = path / "proj" / "settings.py"
    mailer = having("\nMAILERS = {") if BY_NAME else having("EMAIL_BACKEND = ")
    steps = [having("INSTALLED_APPS"), mailer, having("BROKER = "), having("DATABASES = ")]
    own = "\n".join(["OTHERS = INSTALLED_APPS", *steps])
    other = ELSEWHERE.format(by_name=BY_NAME, host=server.host, port=server.port)
    settings.write_text(f"{settings.read_text('utf-8')}\n{own}\n{other}", encoding="utf-8")
    (path / "proj" / "celery.py").write_text(having("autodiscover_tasks"), encoding="utf-8")
    (path / "proj" / "__init__.py").write_text(having("import app as celery_app"), encoding="utf-8")
    sending = having("send_mail(") + having("message.smtpx.deliveries")
    (path / "follow.py").write_text(RUN.format(send=sending), encoding="utf-8")


def test_following_the_page_sends_mail(tmp_path):
    """A new project with the page's own blocks checks, sends and delivers, and says that it does."""
    with ScriptedServer() as server:
        site(tmp_path, server)
        paths = os.pathsep.join([str(tmp_path), str(Path(django_smtpx.__file__).parents[1])])
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "proj.settings",
            "PYTHONPATH": paths,
            "SMTP_PASSWORD": "secret",
        }
        done = subprocess.run(
            [sys.executable, "follow.py"],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    recipients = [message.recipients for message in server.messages]
    assert sorted(recipients) == [("to@example.net",), ("to@example.net",), ("you@example.net",)]
    assert "ok     recipient" in done.stdout
    assert "Mail flows." in done.stdout
