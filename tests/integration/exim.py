"""An Exim of the tests' own, in a temporary folder: the mail server of others.

Debian's package cannot be beside Postfix's: unpacked anywhere, its program is named by the
environment variable ``DJANGO_SMTPX_EXIM``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.tools import SBIN, NotThere, as_root, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.integration.faces import Face

USER = "Debian-exim"
"""Whom Debian's program wants to become."""

_CONF = """
exim_path = {program}
primary_hostname = exim.lab.test
spool_directory = {root}/spool
log_file_path = {root}/log/%slog
pid_file_path = {root}/exim.pid
local_interfaces = <; {interfaces}
tls_advertise_hosts = ${{if inlisti{{$received_ip_address}}{{{with_tls}}}{{*}}{{}}}}
tls_certificate = {root}/tls/$received_ip_address.pem
tls_privatekey = {root}/tls/$received_ip_address.pem
acl_smtp_rcpt = {rcpt}
acl_smtp_data = accept
host_lookup =
rfc1413_hosts =
keep_environment =
smtp_accept_max = 0
deliver_drop_privilege = true
{settings}

begin routers
everybody:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {root}/mail
  maildir_format
  create_directory = false
  mode = 0644
"""


@dataclass(frozen=True)
class Exim:
    """A running server, and what it has delivered."""

    root: Path
    program: str
    sudo: tuple[str, ...]

    def received(self) -> list[bytes]:
        """Return all that lies in the maildir, as it lies there."""
        return [file.read_bytes() for file in (self.root / "mail" / "new").iterdir()]

    def queued(self) -> int:
        """Return how many messages the server has taken and not yet put away."""
        spool = str(self.root / "spool")
        return self._run("find", spool, "-name", "*-H", "-printf", ".").count(b".")

    def settle(self) -> None:
        """Wait until all that was taken lies in the maildir."""
        wait_for("Exim has an empty queue", lambda: self.queued() == 0, seconds=120)

    def log(self) -> str:
        """Return the server's log."""
        return self._run("cat", str(self.root / "log" / "mainlog")).decode(errors="replace")

    def _run(self, *argv: str) -> bytes:
        return subprocess.run([*self.sudo, *argv], capture_output=True, check=True).stdout


@contextmanager
def exim_server(
    faces: Collection[Face], *, settings: str = "", rcpt: str = "accept"
) -> Iterator[Exim]:
    """Run Exim until the block ends; raise NotThere where it cannot run.

    ``settings`` are further lines of its configuration, and ``rcpt`` is the rule for recipients.
    """
    program = os.environ.get("DJANGO_SMTPX_EXIM") or shutil.which("exim4", path=SBIN)
    if not program or not Path(program).exists():
        raise NotThere(
            "Exim is not here: set DJANGO_SMTPX_EXIM to the exim4 of Debian's exim4-daemon-light, "
            "unpacked with dpkg-deb -x."
        )
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise NotThere(f"Exim has no user here (useradd --system {USER}).") from None
    sudo = tuple(as_root())
    # Not pytest's own folder: the server's users must be able to walk into this one.
    root = Path(tempfile.mkdtemp(prefix="smtpx-exim-"))
    try:
        server = Exim(root, program, sudo)
        config = _lay_out(server, faces, settings=settings, rcpt=rcpt)
        argv = [*sudo, program, "-C", str(config), "-bdf", "-q1h"]
        with running(argv, log=root / "exim.out", ready=(root / "exim.pid").exists):
            yield server
    finally:
        subprocess.run([*sudo, "rm", "-rf", str(root)], check=True)


def _lay_out(server: Exim, faces: Collection[Face], **rules: str) -> Path:
    """Write the configuration, and return its file."""
    root = server.root
    root.chmod(0o755)
    for name in ("spool", "log", "tls", "mail", "mail/new", "mail/cur", "mail/tmp"):
        (root / name).mkdir()
    for name in ("mail", "mail/new", "mail/cur", "mail/tmp"):
        (root / name).chmod(0o777)
    for face in faces:
        if face.chain is not None:
            shutil.copy(face.chain, root / "tls" / f"{face.address}.pem")
    server._run("chown", USER, str(root / "spool"), str(root / "log"))
    with_tls = ":".join(face.address for face in faces if face.chain is not None)
    config = root / "exim.conf"
    config.write_text(
        _CONF.format(
            root=root,
            program=server.program,
            interfaces=" ; ".join(f"{face.address}.{face.port}" for face in faces),
            with_tls=with_tls,
            **rules,
        )
    )
    server._run("chown", "root:root", str(config))
    return config
