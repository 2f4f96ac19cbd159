"""An environment of its own for each queue, made once and kept."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import django

from benchmarks.processes import NotThere

CLIENTS = ["psycopg[binary]~=3.2", "celery[redis]~=5.5"]
REQUIREMENTS = {
    "post_office": ["django-post-office~=3.12.0"],
    "django-mailer": ["django-mailer~=2.3.0"],
    "celery-email": ["django-celery-email~=3.0.0", "Django~=5.2.0"],
}
"""What is compared; django-celery-email works with no later Django than 5.2."""


def cache() -> Path:
    """Return the folder that the environments are kept in."""
    own = os.environ.get("DJANGO_SMTPX_BENCHMARKS_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(caches) / "django-smtpx-benchmarks"


def python_of(kind: str) -> str:
    """Return the Python of the environment of a queue, which is made where there is none yet.

    It is the running Python, with the queue from the package registry and, if
    the queue works with it, the Django that is here. Our own queue needs no
    other environment than this one. Raises :class:`NotThere` when it cannot
    be made.
    """
    if kind not in REQUIREMENTS:
        return sys.executable
    wanted = requirements(kind)
    folder = cache() / f"{kind}-{platform.python_version()}-{_version_here()}"
    made = folder / "requirements.txt"
    python = _python_in(folder)
    if not (made.exists() and made.read_text().splitlines() == wanted):
        sys.stderr.write(f"Making an environment for {kind} in {folder}\n")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _install(python, wanted)
        made.write_text("\n".join(wanted) + "\n")
    return str(python)


def requirements(kind: str) -> list[str]:
    """Return what is installed into the environment of a queue."""
    wanted = [*REQUIREMENTS[kind], *CLIENTS]
    if not any(requirement.startswith("Django") for requirement in wanted):
        wanted.append(f"Django~={_version_here()}.0")
    return wanted


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def _version_here() -> str:
    return ".".join(map(str, django.VERSION[:2]))


def _install(python: Path, requirements: list[str]) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotThere(f"{' '.join(requirements)} cannot be installed:\n{done.stderr}")
