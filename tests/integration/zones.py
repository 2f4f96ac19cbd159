"""Zones of the tests' own: one signed, and one below it to which no signature leads."""

from __future__ import annotations

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm, DSDigest

SIGNED = "lab.test"
UNSIGNED = "unsigned.lab.test"

_HEAD = """
$ORIGIN {origin}.
$TTL 300
@ SOA ns hostmaster 1 7200 900 1209600 300
@ NS ns
ns A 127.0.0.1
"""


class Zones:
    """Both zones, as they are built: records first, then the signatures, then what is forged."""

    def __init__(self) -> None:
        self._lines = {
            SIGNED: [_HEAD.format(origin=SIGNED), f"{UNSIGNED}. NS ns.{UNSIGNED}."],
            UNSIGNED: [_HEAD.format(origin=UNSIGNED)],
        }
        self._forgeries: list[tuple[str, str, str]] = []

    def add(self, name: str, rdtype: str, data: str) -> None:
        """Add a record; names are whole ones without the last dot, those in ``data`` with it."""
        origin = UNSIGNED if name.endswith(UNSIGNED) else SIGNED
        self._lines[origin].append(f"{name}. {rdtype} {data}")

    def forge(self, name: str, rdtype: str, data: str) -> None:
        """Add a record that is signed, and then become another one."""
        self.add(name, rdtype, data)
        self._forgeries.append((name, rdtype, data))

    def build(self) -> tuple[dict[str, str], str]:
        """Return the text of each zone by its name, and the DS record of the signed one."""
        zones = {
            origin: dns.zone.from_text("\n".join(lines), origin, relativize=False)
            for origin, lines in self._lines.items()
        }
        key = ec.generate_private_key(ec.SECP256R1())
        public = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
        signed = zones[SIGNED]
        dns.dnssec.sign_zone(signed, keys=[(key, public)], lifetime=86_400)
        for name, rdtype, data in self._forgeries:
            _forge(signed, name, rdtype, data)
        ds = dns.dnssec.make_ds(dns.name.from_text(SIGNED), public, DSDigest.SHA256)
        texts = {
            origin: zone.to_text(relativize=False, want_origin=True)
            for origin, zone in zones.items()
        }
        return texts, f"{SIGNED}. DS {ds.to_text()}"


def _forge(zone: dns.zone.Zone, name: str, rdtype: str, data: str) -> None:
    """Take the record away, and put the one in its place that an attacker would."""
    forgeries = {
        "MX": "10 attacker.lab.test.",
        "A": "127.0.0.99",
        "TLSA": f"3 1 1 {'00' * 32}",
        "TXT": '"v=STSv1; id=forged;"',
    }
    rdata = dns.rdata.from_text("IN", rdtype, forgeries[rdtype])
    records = zone.find_rdataset(dns.name.from_text(name), rdtype)
    ttl = records.ttl
    records.clear()
    records.add(rdata, ttl)
