"""Mail servers with all that can be wrong between a mailer and them, each behind a port of its own.

Postfix with Dovecot's logins, Exim, OpenSMTPD, a resolver over zones of our own, and for what the
large providers alone say, scripted servers.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import trustme

from django_smtpx.testing import ScriptedServer
from tests.integration.exim import exim_server
from tests.integration.faces import Face
from tests.integration.nameservers import NameServer, name_server
from tests.integration.opensmtpd import opensmtpd_server
from tests.integration.postfix import Door, Postfix, postfix_server
from tests.integration.tools import free_port
from tests.integration.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Iterator

SENDER = "me@example.test"
"""Who sends, and may."""

REFUSED = "127.0.4.100"
"""An address that Exim takes nothing from."""
STRANGER = "127.0.4.101"
"""An address that Exim relays nothing for."""

_OPEN = {
    "smtpd_tls_security_level": "none",
    "smtpd_sasl_auth_enable": "no",
    "smtpd_relay_restrictions": "permit_auth_destination, reject",
}
"""Nothing in the way but what a door itself has."""

_TLS = {**_OPEN, "smtpd_tls_security_level": "encrypt"}
_OWNERS = f"inline:{{ {{ {SENDER} = another }} }}"

_DOORS = {
    "open": _OPEN,
    "not_logged_in": {
        **_OPEN,
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sender_login_maps": _OWNERS,
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    },
    "other_sender": {
        "smtpd_tls_security_level": "encrypt",
        "smtpd_sender_login_maps": _OWNERS,
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    },
    "no_relay": {
        **_OPEN,
        "rewrite_service_name": "rewrite-lab",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
    },
    "full_names": {
        **_OPEN,
        "smtpd_helo_required": "yes",
        "smtpd_delay_reject": "no",
        "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
    },
    "greylisting": {
        **_OPEN,
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ "
        "{ lab.test = 450 4.2.0 Greylisted, please try again in 5 minutes } }",
    },
    "known_only": {**_OPEN, "virtual_mailbox_maps": "inline:{ { known@lab.test = maildir/ } }"},
    "small": {**_OPEN, "message_size_limit": "200"},
    "hurried": {
        **_OPEN,
        "smtpd_client_connection_rate_limit": "1",
        "smtpd_client_event_limit_exceptions": "",
    },
    "listed": {
        **_OPEN,
        "smtpd_delay_reject": "no",
        "smtpd_client_restrictions": "check_client_access inline:{ { 127.0.0.1 = "
        "REJECT Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org } }",
    },
    "known_clients": {**_TLS, "smtpd_tls_req_ccert": "yes"},
    "old_tls": {
        **_TLS,
        "smtpd_tls_mandatory_protocols": "TLSv1",
        "smtpd_tls_protocols": "TLSv1",
        "tls_medium_cipherlist": "ALL:@SECLEVEL=0",
    },
}

_EXIM = f"host_reject_connection = {REFUSED}"
_EXIM_RCPT = (
    f"${{if eq{{$sender_host_address}}{{{STRANGER}}}"
    "{deny message = relay not permitted}{accept}}"
)

# Its port with TLS is one to be turned away from: with OpenSSL 3 this version ends each handshake.
_OPENSMTPD = """
pki lab cert "{root}/cert.pem"
pki lab key "{root}/key.pem"
listen on 127.0.0.1 port PLAIN hostname mail.lab.test
listen on 127.0.0.1 port TLS tls-require pki lab hostname mail.lab.test
action "away" relay
match from local for domain "lab.test" action "away"
"""

_PROVIDERS = {
    "microsoft": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
    "the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
    "google": "534-5.7.9 Application-specific password required. For more information, go to\n"
    "534 5.7.9 https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
}
"""What they say to a password (the rest of it is theirs alone to say)."""

_FACES = ("right", "expired", "other", "unknown", "early")


@dataclass(frozen=True)
class World:
    """Everything, running; ``ports`` are those of the doors by their names."""

    postfix: Postfix
    faces: dict[str, Face]
    ca_file: Path
    resolver: NameServer
    ports: dict[str, int] = field(default_factory=dict)

    def at(self, door: str, **options: Any) -> dict[str, Any]:
        """Return the OPTIONS of a mailer that submits to a door."""
        return {
            "host": "127.0.0.1",
            "port": self.ports[door],
            "security": "none",
            "ca_file": str(self.postfix.ca_file),
            "helo": "client.example.test",
            **options,
        }

    def face(self, kind: str, **options: Any) -> dict[str, Any]:
        """Return the OPTIONS of a mailer that submits to a face of Exim."""
        face = self.faces[kind]
        return {
            "host": face.address,
            "port": face.port,
            "security": "starttls",
            "ca_file": str(self.ca_file),
            "helo": "client.example.test",
            **options,
        }


@contextmanager
def world() -> Iterator[World]:
    """Run everything until the block ends; raise NotThere where a part is missing."""
    with ExitStack() as stack:
        # Not pytest's own folder: the servers' users must be able to walk into this one.
        root = Path(stack.enter_context(TemporaryDirectory(prefix="smtpx-wrong-")))
        root.chmod(0o755)
        authority = trustme.CA()
        ca_file = root / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        ports = {name: free_port() for name in (*_DOORS, "opensmtpd", "opensmtpd_tls")}
        doors = [Door(ports[name], settings) for name, settings in _DOORS.items()]
        faces = _faces(root, authority)
        postfix = stack.enter_context(postfix_server(doors=doors))
        stack.enter_context(exim_server(faces.values(), settings=_EXIM, rcpt=_EXIM_RCPT))
        stack.enter_context(_opensmtpd(ports, authority))
        ports |= {"submission": postfix.submission, "smtps": postfix.smtps}
        ports |= {"firewall": stack.enter_context(_behind_a_firewall()), **_scripted(stack)}
        resolver = stack.enter_context(name_server(root, _zones()))
        yield World(postfix, faces, ca_file, resolver, ports)


def _faces(root: Path, authority: trustme.CA) -> dict[str, Face]:
    """Make Exim's faces: certificates for an address, all but one of them of no use."""
    now, day, port = datetime.now(UTC), timedelta(days=1), free_port()
    made = {}
    for number, kind in enumerate(_FACES, start=1):
        address = f"127.0.4.{number}"
        name = "mail.elsewhere.test" if kind == "other" else address
        issuer = trustme.CA() if kind == "unknown" else authority
        dates = {
            "expired": {"not_before": now - 30 * day, "not_after": now - day},
            "early": {"not_before": now + day, "not_after": now + 30 * day},
        }.get(kind, {})
        file = root / f"{address}.pem"
        issuer.issue_cert(name, **dates).private_key_and_cert_chain_pem.write_to_path(file)
        file.chmod(0o644)
        made[kind] = Face(kind, name, address, port, file)
    return made


def _opensmtpd(ports: dict[str, int], authority: trustme.CA) -> Any:
    issued = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    files = {
        "key.pem": issued.private_key_pem.bytes(),
        "cert.pem": b"".join(pem.bytes() for pem in issued.cert_chain_pems),
    }
    conf = _OPENSMTPD
    for word, name in (("PLAIN", "opensmtpd"), ("TLS", "opensmtpd_tls")):
        conf = conf.replace(f"port {word}", f"port {ports[name]}")
    return opensmtpd_server(conf, [ports["opensmtpd"], ports["opensmtpd_tls"]], files)


@contextmanager
def _behind_a_firewall() -> Iterator[int]:
    """Give a port that drops what comes: its queue of connections is full, and nobody takes any."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def _scripted(stack: ExitStack) -> dict[str, int]:
    """Start what answers as the large providers do, and return its ports."""
    found = {}
    for name, reply in _PROVIDERS.items():
        server = ScriptedServer(
            {"AUTH": reply}, users={"outbox": "another"}, auth=["PLAIN", "LOGIN"]
        )
        found[name] = stack.enter_context(server).port
    return found


def _zones() -> Zones:
    """Make zones with a domain that has no answer, and one whose answers are forged."""
    zones = Zones()
    zones.add("right.lab.test", "MX", "10 mx.right.lab.test.")
    zones.add("mx.right.lab.test", "A", "127.0.4.1")
    zones.forge("forged.lab.test", "MX", "10 mx.right.lab.test.")
    zones.add("null.lab.test", "MX", "0 .")
    zones.add("sender.lab.test", "TXT", '"v=spf1 ip4:203.0.113.7 -all"')
    zones.add("sender.lab.test", "MX", "10 mx.right.lab.test.")
    zones.add("out.lab.test", "A", "203.0.113.9")
    return zones
