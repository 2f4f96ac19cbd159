"""The other packages, from the package registry into a folder that is kept."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import django

from tests.integration.tools import NotThere

PACKAGES = [
    "django-post-office~=3.12.0",
    "nh3",
    "django-mailer~=2.3.0",
    "lockfile",
    "django-celery-email~=3.0.0",
    "django-appconf",
]
"""With what they need beyond Django and Celery, which are here."""


def folder_of_packages() -> Path:
    """Return the folder that they are in; NotThere where they cannot be had."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    versions = f"{platform.python_version()}-{django.get_version()}"
    folder = Path(caches) / "django-smtpx-tests" / f"moving-{versions}"
    wanted = "\n".join(PACKAGES)
    made = folder / "packages.txt"
    if made.exists() and made.read_text() == wanted:
        return folder
    # Whole or not there: another run may want it as well.
    fresh = folder.with_name(f"{folder.name}-{uuid.uuid4().hex}")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", "--target", str(fresh), *PACKAGES]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise NotThere(f"{', '.join(PACKAGES)} cannot be installed: {done.stderr}")
    (fresh / "packages.txt").write_text(wanted)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder
