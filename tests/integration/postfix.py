"""A Postfix of the tests' own, with Dovecot for its logins, in a temporary folder.

It takes mail for any address from whoever has logged in, and puts it into one maildir.
Nothing in it may alter a message: all that it adds are the trace headers in front.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from tests.integration.tools import (
    SBIN,
    NotThere,
    as_root,
    free_port,
    listening,
    running,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.integration.faces import Face

USERNAME = "outbox"
PASSWORD = "s3cret ä \\ =pass"  # a colon would end it in Dovecot's file

BEYOND = "gone@example.net"
"""Mail for it is taken, and goes on to the server at ``next_hop``, if there is one."""

NOBODY = 65534  # virtual(8) does not write as root

_TRACE = (b"Return-Path", b"X-Original-To", b"Delivered-To", b"Received")

_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {root}/log/postfix.log
maillog_file_prefixes = {root}
myhostname = mail.example.test
mydomain = example.test
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks =
mydestination =
relay_domains =
local_recipient_maps =
alias_maps =
alias_database =
notify_classes =

# Every address has the one mailbox.
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:maildir/
virtual_mailbox_base = {root}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
virtual_transport = virtual
# But one, whose mail is taken, and goes on to another server.
transport_maps = inline:{{ {{{beyond} = smtp:[127.0.0.1]:{next_hop}}} }}

# Who has logged in may send to anybody; nobody else may.
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@example.org=REJECT}}
smtpd_tls_chain_files = {root}/tls/server.pem
smtpd_tls_session_cache_database =
smtpd_tls_loglevel = 1
smtpd_discard_ehlo_keywords =
smtputf8_enable = yes
strict_rfc821_envelopes = no

# Not a byte is changed, added, dropped or too much.
receive_override_options = no_header_body_checks
local_header_rewrite_clients =
remote_header_rewrite_domain =
always_add_missing_headers = no
message_drop_headers =
message_strip_characters =
message_reject_characters =
append_dot_mydomain = no
append_at_myorigin = no
swap_bangpath = no
allow_percent_hack = no
disable_mime_input_processing = yes
header_size_limit = 10000000
hopcount_limit = 1000
message_size_limit = 0
mailbox_size_limit = 0

# As fast as it goes.
in_flow_delay = 0s
smtpd_recipient_limit = 2000
smtpd_error_sleep_time = 0s
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
smtpd_client_auth_rate_limit = 0
smtpd_timeout = 60s
"""

_SUBMISSION_CF = """
127.0.0.1:{submission} inet n - n - - smtpd -o syslog_name=submission -o smtpd_tls_security_level=encrypt
127.0.0.1:{smtps} inet n - n - - smtpd -o syslog_name=smtps -o smtpd_tls_wrappermode=yes
"""

_MASTER_CF = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
rewrite-lab unix - - n - - trivial-rewrite -o virtual_mailbox_domains=lab.test
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# Another's mail server: whoever comes may leave mail, and TLS is as its face has it.
_FACE_CF = """{address}:{port} inet n - n - - smtpd -o syslog_name={kind}
    -o smtpd_sasl_auth_enable=no -o smtpd_relay_restrictions=permit_auth_destination,reject
    -o smtpd_tls_received_header=yes {tls}
"""

# One more door: what it does otherwise than the others is said here.
_DOOR_CF = """127.0.0.1:{port} inet n - n - - smtpd -o syslog_name=door-{port}
"""

_DOVECOT_CONF = """
protocols =
ssl = no
base_dir = {root}/dovecot/run
state_dir = {root}/dovecot/state
log_path = {root}/log/dovecot.log
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
# Nor is who comes from one address with many wrong passwords made to wait.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/dovecot/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}
}}
service auth {{
  unix_listener {root}/spool/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""


@dataclass(frozen=True)
class Door:
    """One more port of the server, with settings of main.cf that are for it alone."""

    port: int
    settings: dict[str, str]


@dataclass(frozen=True)
class Delivered:
    """One file of the maildir: whom it was for, and its bytes as they were sent."""

    recipient: str
    content: bytes


@dataclass(frozen=True)
class Postfix:
    """A running server: its two ports, the certificate to trust, and what it has delivered."""

    root: Path
    submission: int
    smtps: int
    ca_file: Path
    sudo: tuple[str, ...]
    next_hop: int

    host = "127.0.0.1"
    username = USERNAME
    password = PASSWORD

    def options(self, *, implicit: bool = False) -> dict[str, object]:
        """Return the OPTIONS of a mailer that submits here."""
        return {
            "host": self.host,
            "port": self.smtps if implicit else self.submission,
            "security": "implicit" if implicit else "starttls",
            "username": self.username,
            "password": self.password,
            "ca_file": str(self.ca_file),
        }

    def delivered(self) -> list[Delivered]:
        """Return all that lies in the maildir, with CRLF line ends and without the trace headers."""
        return [without_trace(raw) for raw in self.received()]

    def received(self) -> list[bytes]:
        """Return all that lies in the maildir, as it lies there."""
        archive = self._run("tar", "-C", str(self.root / "mail"), "-cf", "-", ".")
        found = []
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                if member.isfile() and "/new/" in member.name:
                    data = tar.extractfile(member)
                    assert data is not None
                    found.append(data.read())
        return found

    def count(self) -> int:
        """Return how many files lie in the maildir."""
        new = str(self.root / "mail" / "maildir" / "new")
        return self._run("find", new, "-type", "f", "-printf", ".").count(b".")

    def queued(self) -> int:
        """Return how many messages the server has taken and not yet put away."""
        folders = [str(self.root / "spool" / name) for name in ("incoming", "active", "deferred")]
        return self._run("find", *folders, "-type", "f", "-printf", ".").count(b".")

    def settle(self, *, seconds: float = 120.0) -> None:
        """Wait until all that was taken lies in the maildir."""
        wait_for("Postfix has an empty queue", lambda: self.queued() == 0, seconds=seconds)

    def clear(self) -> None:
        """Empty the maildir."""
        self._run("find", str(self.root / "mail"), "-type", "f", "-delete")

    def log(self) -> str:
        """Return the server's log."""
        return self._run("cat", str(self.root / "log" / "postfix.log")).decode(errors="replace")

    def _run(self, *argv: str) -> bytes:
        return subprocess.run([*self.sudo, *argv], capture_output=True, check=True).stdout


def without_trace(data: bytes) -> Delivered:
    """Split one maildir file into its recipient and the bytes that were sent.

    Postfix puts one of each trace header in front, in this order; a header of the same name
    that comes after them was in the message.
    """
    recipient = ""
    for name in _TRACE:
        match = re.match(rb"%s:[ \t]*(.*(?:\n[ \t].*)*)\n" % name, data)
        if match is None:
            raise AssertionError(f"No {name.decode()} in front of {data[:200]!r}")
        if name == b"X-Original-To":
            recipient = match[1].decode()
        data = data[match.end() :]
    return Delivered(recipient, data.replace(b"\n", b"\r\n"))


@contextmanager
def postfix_server(
    mechanisms: str = "plain login",
    *,
    faces: Collection[Face] = (),
    doors: Collection[Door] = (),
) -> Iterator[Postfix]:
    """Run Postfix and Dovecot until the block ends; raise NotThere where they cannot run.

    ``mechanisms`` are those that Dovecot offers, under its own names; "": there is none, and
    nobody can submit mail. With ``faces`` it is the mail server of others, too. ``doors`` are further
    ports, which are as the settings have them.
    """
    for program in ("postfix", "dovecot") if mechanisms else ("postfix",):
        if shutil.which(program, path=SBIN) is None:
            raise NotThere(f"{program} is not installed (apt-get install postfix dovecot-core).")
    sudo = tuple(as_root())
    # Not pytest's own folder: the servers' users must be able to walk into this one.
    root = Path(tempfile.mkdtemp(prefix="smtpx-postfix-"))
    try:
        masters = [*map(_face_cf, faces), *map(_door_cf, doors)]
        server = _lay_out(root, sudo, mechanisms, masters)
        places = [(face.address, face.port) for face in faces]
        places += [(server.host, door.port) for door in doors]
        with _serving(server, places, logins=bool(mechanisms)):
            yield server
    finally:
        subprocess.run([*sudo, "rm", "-rf", str(root)], check=True)


def _lay_out(
    root: Path, sudo: tuple[str, ...], mechanisms: str, services: Collection[str]
) -> Postfix:
    """Write the configuration of both servers; ``services`` are further lines of master.cf."""
    root.chmod(0o755)
    for name in ("etc", "spool", "data", "mail", "log", "tls", "dovecot"):
        (root / name).mkdir()
    server = Postfix(root, free_port(), free_port(), root / "tls" / "ca.pem", sudo, free_port())
    authority = trustme.CA()
    authority.cert_pem.write_to_path(server.ca_file)
    issued = authority.issue_cert("127.0.0.1", "localhost", "mail.example.test")
    issued.private_key_and_cert_chain_pem.write_to_path(root / "tls" / "server.pem")
    values = {
        "root": root,
        "uid": NOBODY,
        "beyond": BEYOND,
        "next_hop": server.next_hop,
        "gid": NOBODY,
        "mechanisms": mechanisms,
        "submission": server.submission,
        "smtps": server.smtps,
    }
    (root / "etc" / "main.cf").write_text(_MAIN_CF.format(**values))
    submission = _SUBMISSION_CF.format(**values) if mechanisms else ""
    masters = [_MASTER_CF, submission, *services]
    (root / "etc" / "master.cf").write_text("".join(masters))
    (root / "dovecot" / "dovecot.conf").write_text(_DOVECOT_CONF.format(**values))
    (root / "dovecot" / "users").write_text(f"{USERNAME}:{{PLAIN}}{PASSWORD}\n")
    # The spool's own folder and its parents belong to root, data and mail to whom writes there.
    server._run("chown", "root:root", str(root / "etc"), str(root / "spool"))
    server._run("chown", "-R", "root:root", str(root / "etc"))
    server._run("chown", "postfix", str(root / "data"))
    server._run("chown", f"{NOBODY}:{NOBODY}", str(root / "mail"))
    return server


def _face_cf(face: Face) -> str:
    tls = "-o smtpd_tls_security_level=none"
    if face.chain is not None:
        tls = f"-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={face.chain}"
    return _FACE_CF.format(address=face.address, port=face.port, kind=face.kind, tls=tls)


def _door_cf(door: Door) -> str:
    settings = [f"    -o {{ {name} = {value} }}\n" for name, value in door.settings.items()]
    return _DOOR_CF.format(port=door.port) + "".join(settings)


@contextmanager
def _serving(
    server: Postfix, places: Collection[tuple[str, int]], *, logins: bool
) -> Iterator[None]:
    """Start Postfix, which makes the folders of the spool, then Dovecot, whose socket lies there."""
    root = server.root
    env = {**os.environ, "PATH": SBIN}
    doors = list(places)
    if logins:
        doors += [(server.host, server.submission), (server.host, server.smtps)]
    with ExitStack() as stack:
        stack.enter_context(
            running(
                [*server.sudo, "postfix", "-c", str(root / "etc"), "start-fg"],
                log=root / "log" / "postfix.out",
                ready=lambda: all(listening(port, host) for host, port in doors),
                env=env,
            )
        )
        # `postfix start-fg` may stand between us and the master, and pass no signal on.
        stack.callback(_stop_master, server, env)
        if logins:
            stack.enter_context(_dovecot(server, env))
        yield


def _dovecot(server: Postfix, env: dict[str, str]) -> AbstractContextManager[object]:
    root = server.root
    return running(
        [*server.sudo, "dovecot", "-F", "-c", str(root / "dovecot" / "dovecot.conf")],
        log=root / "log" / "dovecot.out",
        ready=lambda: _exists(server, root / "spool" / "private" / "auth"),
        env=env,
    )


def _exists(server: Postfix, path: Path) -> bool:
    try:
        server._run("test", "-S", str(path))
    except subprocess.CalledProcessError:
        return False
    return True


def _stop_master(server: Postfix, env: dict[str, str]) -> None:
    subprocess.run(
        [*server.sudo, "postfix", "-c", str(server.root / "etc"), "stop"],
        env=env,
        capture_output=True,
        check=False,
    )
