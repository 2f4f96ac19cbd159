"""An OpenSMTPD of the tests' own: the third kind of server.

Debian's package cannot be beside Postfix's: unpacked anywhere, its program is named by the
environment variable ``DJANGO_SMTPX_OPENSMTPD``. Its spool and its empty folder are where it was
built for, so that one of it runs at a time.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.tools import SBIN, NotThere, as_root, listening, running

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

USERS = ("opensmtpd", "opensmtpq")
"""Whom Debian's program wants to become."""

_FOLDERS = {"/var/lib/opensmtpd/empty": "755", "/var/spool/smtpd": "711"}


@contextmanager
def opensmtpd_server(
    conf: str, ports: Collection[int], files: Mapping[str, bytes]
) -> Iterator[None]:
    """Run OpenSMTPD with ``conf`` until the block ends; raise NotThere where it cannot run.

    ``{root}`` in ``conf`` stands for a folder with these ``files``, which are root's alone.
    """
    program = os.environ.get("DJANGO_SMTPX_OPENSMTPD") or shutil.which("smtpd", path=SBIN)
    if not program or not Path(program).exists():
        raise NotThere(
            "OpenSMTPD is not here: set DJANGO_SMTPX_OPENSMTPD to the smtpd of Debian's opensmtpd, "
            "unpacked with dpkg-deb -x."
        )
    for user in USERS:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise NotThere(f"OpenSMTPD has no user here (useradd --system {user}).") from None
    sudo = as_root()
    for folder, mode in _FOLDERS.items():
        argv = ["install", "-d", "-o", "root", "-g", "root", "-m", mode, folder]
        subprocess.run([*sudo, *argv], check=True)
    root = Path(tempfile.mkdtemp(prefix="smtpx-opensmtpd-"))
    try:
        root.chmod(0o755)
        config = root / "smtpd.conf"
        config.write_text(conf.replace("{root}", str(root)))
        for name, content in files.items():
            (root / name).write_bytes(content)
            (root / name).chmod(0o600)
            subprocess.run([*sudo, "chown", "root:root", str(root / name)], check=True)
        with running(
            [*sudo, program, "-d", "-f", str(config)],
            log=root / "smtpd.log",
            ready=lambda: all(map(listening, ports)),
        ):
            yield
    finally:
        subprocess.run([*sudo, "rm", "-rf", str(root)], check=True)
