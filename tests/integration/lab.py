"""The world that mail goes straight to, all of it on this machine's loopback addresses.

Domains in a signed zone, and in one that is not; mail servers with good and bad certificates, each
at an address of its own behind a relay that records what is said to it; a resolver that validates,
and a web server with MTA-STS policies. Everything is there twice, with Postfix and with Exim.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from tests.integration.exim import exim_server
from tests.integration.faces import Authorities, Face
from tests.integration.nameservers import NameServer, name_server
from tests.integration.policies_https import PolicyServer, policy, policy_server
from tests.integration.postfix import postfix_server
from tests.integration.recording import Recorder, nobody_answers
from tests.integration.tools import NotThere, free_port
from tests.integration.zones import UNSIGNED, Zones

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

NETWORKS = {"postfix": "127.0.1", "exim": "127.0.2"}
WEB = "127.0.3.1"
DEAD = "127.0.3.2"

_NO_DIGEST = "00" * 32


class Server(Protocol):
    """A mail server of the laboratory."""

    def settle(self) -> None:
        """Wait until all that was taken has been put away."""

    def received(self) -> list[bytes]:
        """Return all that was put away."""


@dataclass(frozen=True)
class Lab:
    """Everything, running."""

    resolver: NameServer
    policies: PolicyServer
    servers: dict[str, Server]
    recorder: Recorder
    ca_file: Path
    port: int

    def options(self, **changes: Any) -> dict[str, Any]:
        """Return the OPTIONS of a mailer that goes straight to everybody here."""
        return {
            "transport": "mx",
            "mx_port": self.port,
            "resolver": self.resolver.options(),
            "ca_file": str(self.ca_file),
            "helo": "out.lab.test",
            "timeout": 20,
            **changes,
        }

    def received(self, kind: str, token: str) -> list[bytes]:
        """Return what a server has got that has ``token`` in it."""
        self.servers[kind].settle()
        return [raw for raw in self.servers[kind].received() if token.encode() in raw]


@contextmanager
def laboratory() -> Iterator[Lab]:
    """Run everything until the block ends; raise NotThere where a part is missing."""
    _look_for_addresses()
    with ExitStack() as stack:
        # Not pytest's own folder: the servers' users must be able to walk into this one.
        root = Path(stack.enter_context(TemporaryDirectory(prefix="smtpx-lab-")))
        root.chmod(0o755)
        authorities, zones, texts = Authorities(), Zones(), {}
        ca_file = root / "ca.pem"
        authorities.known.cert_pem.write_to_path(str(ca_file))
        port, behind = free_port(), free_port()
        servers: dict[str, Server] = {}
        addresses: list[str] = []
        starts: dict[str, Callable[..., AbstractContextManager[Server]]] = {
            "postfix": lambda faces: postfix_server("", faces=faces),
            "exim": exim_server,
        }
        for kind, start in starts.items():
            made = authorities.faces(root, f"{kind}.lab.test", NETWORKS[kind], behind)
            servers[kind] = stack.enter_context(start(made.values()))
            addresses += [face.address for face in made.values()]
            texts |= _Domains(kind, port, made, authorities, zones).add()
        yield Lab(
            resolver=stack.enter_context(name_server(root, zones)),
            policies=stack.enter_context(policy_server(authorities.known, WEB, texts)),
            servers=servers,
            recorder=_enter(stack, addresses, port, behind),
            ca_file=ca_file,
            port=port,
        )


def _look_for_addresses() -> None:
    try:
        with socket.create_server((DEAD, 0)):
            pass
    except OSError:
        raise NotThere(
            f"{DEAD} is no address of this system; Linux has all of 127.0.0.0/8."
        ) from None


def _enter(stack: ExitStack, addresses: list[str], port: int, behind: int) -> Recorder:
    stack.enter_context(nobody_answers(DEAD, port))
    return stack.enter_context(Recorder(addresses, port, behind))


class _Domains:
    """The domains whose mail one server takes, each called after what is the matter with it."""

    def __init__(
        self, kind: str, port: int, faces: dict[str, Face], authorities: Authorities, zones: Zones
    ) -> None:
        self._kind = kind
        self._port = port
        self._faces = faces
        self._zones = zones
        self._right = authorities.ee_record(faces["stranger"])
        self._authority = authorities.ta_record()
        self._policies: dict[str, str] = {}

    def add(self) -> dict[str, str]:
        """Add their records, and return their policies."""
        for face in self._faces.values():
            self._zones.add(face.name, "A", face.address)
        self._plain()
        self._dane()
        self._mta_sts()
        return self._policies

    def _plain(self) -> None:
        """Domains without a policy."""
        zones, right = self._zones, self._faces["right"]
        for case in ("plain", "expired"):
            self._domain(f"open-{case}", self._faces[case].name)
        zones.add(self._name("null"), "MX", "0 .")
        zones.add(self._name("implicit"), "A", right.address)
        zones.add(self._name("silent"), "A", DEAD)
        zones.add(self._name("dead-first"), "MX", f"5 {self._name('silent')}.")
        zones.add(self._name("dead-first"), "MX", f"10 {right.name}.")
        zones.forge(self._name("forged"), "MX", f"10 {right.name}.")

    def _dane(self) -> None:
        """Domains whose server has TLSA records."""
        self._host("dane-ee", "stranger", self._right)
        self._host("dane-mismatch", "right", f"3 1 1 {_NO_DIGEST}")
        self._host("dane-plain", "plain", self._right)
        self._host("dane-unusable", "stranger", f"0 0 1 {_NO_DIGEST}")
        self._host("dane-unusable-plain", "plain", f"0 0 1 {_NO_DIGEST}")
        # The authority's certificate is there in both, and the name it is for in one.
        self._domain("dane-ta", self._faces["chain"].name)
        self._zones.add(self._tlsa(self._faces["chain"].name), "TLSA", self._authority)
        self._host("dane-ta-other", "chain", self._authority)
        self._host("dane-forged", "right")
        self._zones.forge(self._tlsa(self._name("dane-forged-mx")), "TLSA", self._right)
        self._zones.add(self._name("alias"), "CNAME", f"{self._name('dane-ee-mx')}.")
        self._domain("dane-alias", self._name("alias"))
        insecure = f"insecure.{self._kind}.{UNSIGNED}"
        self._zones.add(insecure, "MX", f"10 mx.{insecure}.")
        self._zones.add(f"mx.{insecure}", "A", self._faces["stranger"].address)
        self._zones.add(self._tlsa(f"mx.{insecure}"), "TLSA", f"3 1 1 {_NO_DIGEST}")

    def _mta_sts(self) -> None:
        """Domains with an MTA-STS policy."""
        for case in ("right", "other", "expired", "plain", "stranger"):
            name = self._faces[case].name
            self._domain(f"sts-{case}", name, policy("enforce", name))
        unnamed = policy("enforce", "*.elsewhere.test")
        self._domain("sts-unnamed", self._faces["right"].name, unnamed)
        for case in ("other", "plain", "expired"):
            name = self._faces[case].name
            self._domain(f"sts-testing-{case}", name, policy("testing", name))
        self._domain("sts-none", self._faces["plain"].name, policy("none"))
        self._domain("sts-and-dane", self._name("dane-ee-mx"), unnamed)
        self._domain("sts-lost", self._faces["plain"].name)
        self._record("sts-lost")

    def _name(self, case: str) -> str:
        return f"{case}.{self._kind}.lab.test"

    def _tlsa(self, host: str) -> str:
        return f"_{self._port}._tcp.{host}"

    def _domain(self, case: str, host: str, text: str | None = None) -> None:
        """Add a domain with one mail exchanger, and with a policy where there is a text of one."""
        self._zones.add(self._name(case), "MX", f"10 {host}.")
        if text is not None:
            self._record(case)
            self._policies[self._name(case)] = text

    def _record(self, case: str) -> None:
        """Say that the domain has a policy."""
        self._zones.add(f"_mta-sts.{self._name(case)}", "TXT", '"v=STSv1; id=1;"')
        self._zones.add(f"mta-sts.{self._name(case)}", "A", WEB)

    def _host(self, case: str, face: str, *records: str) -> None:
        """Add a domain, and its mail exchanger at that face's address with these TLSA records."""
        host = self._name(f"{case}-mx")
        self._domain(case, host)
        self._zones.add(host, "A", self._faces[face].address)
        for record in records:
            self._zones.add(self._tlsa(host), "TLSA", record)
