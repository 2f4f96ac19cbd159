"""A resolver that knows what a test tells it, and asks nobody."""

from __future__ import annotations

from ipaddress import ip_address

from django_smtpx.mx.answers import MX, Answer
from django_smtpx.mx.dns import failure

SILENT = "(silent)"
"""A record in the place of which there is no answer."""


class Zone:
    """Records by name and type; a name without any does not exist."""

    def __init__(self, records):
        self._records = {
            name: {
                kind: [values] if isinstance(values, str) else values
                for kind, values in own.items()
            }
            for name, own in records.items()
        }
        self.asked = []

    def txt(self, name):
        """Return the TXT records at a name."""
        return self._answer(name, self._of(name, "TXT"))

    def addresses(self, host):
        """Return the addresses of a host."""
        return self._answer(host, [*self._of(host, "A"), *self._of(host, "AAAA")])

    def mx(self, domain):
        """Return the exchangers of a domain."""
        return self._answer(domain, [MX(10, host) for host in self._of(domain, "MX")])

    def ptr(self, address):
        """Return the names of an address."""
        name = ip_address(address).reverse_pointer
        return self._answer(name, self._of(name, "PTR"))

    def _of(self, name, kind):
        self.asked.append((name, kind))
        found = self._records.get(name, {}).get(kind, [])
        if SILENT in found:
            raise failure(f"{kind} of {name}: nobody answers")
        return found

    def _answer(self, name, records):
        exists = name in self._records
        return Answer(name=name, canonical=name, records=tuple(records), exists=exists)
