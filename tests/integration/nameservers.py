"""The DNS of the tests: NSD has the zones, and Unbound validates what it asks it for."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query

from tests.integration.tools import SBIN, NotThere, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.zones import Zones

HOST = "127.0.3.3"
"""Not the address that connections of this machine come from: they would take its ports away between
one's choice and its use."""

_NSD = """
server:
    ip-address: {host}@{port}
    do-ip6: no
    server-count: 1
    username: ""
    database: ""
    zonesdir: "{root}"
    pidfile: "{root}/nsd.pid"
    xfrdfile: "{root}/xfrd.state"
    xfrdir: "{root}"
    zonelistfile: "{root}/zone.list"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""

_NSD_ZONE = """
zone:
    name: "{name}"
    zonefile: "{root}/{name}.zone"
"""

_UNBOUND = """
server:
    interface: {host}
    port: {port}
    do-ip6: no
    do-daemonize: no
    use-syslog: no
    verbosity: 1
    val-log-level: 2
    num-threads: 1
    username: ""
    chroot: ""
    directory: "{root}"
    pidfile: "{root}/unbound.pid"
    module-config: "validator iterator"
    trust-anchor: "{anchor}"
    ede: yes
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    local-zone: "test." nodefault
remote-control:
    control-enable: no
# Nobody else is ever asked: who knows nothing of the rest of the world refuses to speak of it.
forward-zone:
    name: "."
    forward-addr: {host}@{nsd}
"""

_STUB = """
stub-zone:
    name: "{name}"
    stub-addr: {host}@{port}
"""


@dataclass(frozen=True)
class NameServer:
    """A running resolver that validates."""

    port: int
    log: Path

    def options(self, **changes: object) -> dict[str, object]:
        """Return the ``resolver`` option of a mailer that believes it."""
        return {
            "nameservers": [HOST],
            "port": self.port,
            "trust_ad": True,
            # Long enough for a busy machine: what is answered is answered at once.
            "timeout": 20,
            **changes,
        }


@contextmanager
def name_server(folder: Path, zones: Zones) -> Iterator[NameServer]:
    """Run both servers until the block ends. About what is in neither zone they say SERVFAIL.

    Raises NotThere where one of them is not installed.
    """
    for program in ("nsd", "unbound"):
        if shutil.which(program, path=SBIN) is None:
            raise NotThere(f"{program} is not installed (apt-get install nsd unbound).")
    texts, anchor = zones.build()
    nsd, port = free_port(), free_port()
    config = _NSD.format(host=HOST, port=nsd, root=folder)
    stubs = ""
    for name, text in texts.items():
        (folder / f"{name}.zone").write_text(text)
        config += _NSD_ZONE.format(name=name, root=folder)
        stubs += _STUB.format(name=name, host=HOST, port=nsd)
    (folder / "nsd.conf").write_text(config)
    (folder / "unbound.conf").write_text(
        _UNBOUND.format(host=HOST, port=port, nsd=nsd, root=folder, anchor=anchor) + stubs
    )
    with ExitStack() as stack:
        for program, at in (("nsd", nsd), ("unbound", port)):
            path = shutil.which(program, path=SBIN)
            assert path is not None
            # At its own path AppArmor may let it read its own folders only.
            copy = shutil.copy(path, folder / program)
            stack.enter_context(
                running(
                    [copy, "-d", "-c", str(folder / f"{program}.conf")],
                    log=folder / f"{program}.log",
                    ready=lambda at=at: _answers(at),
                )
            )
        yield NameServer(port, folder / "unbound.log")


def _answers(port: int) -> bool:
    query = dns.message.make_query("ns.lab.test", "A")
    try:
        return bool(dns.query.udp(query, HOST, timeout=1, port=port).answer)
    except (OSError, dns.exception.DNSException):
        return False
