"""The certificates that mail servers of the tests show, each at an address of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("right", "plain", "other", "expired", "stranger", "chain")
"""A certificate that holds; no STARTTLS; another's name; one that has expired; one that nothing
speaks for but a TLSA record (other's name, expired, from an unknown authority); one of an unknown
authority, with it."""


@dataclass(frozen=True)
class Face:
    """One address of a server: the name it is to be known by, and its certificate's file.

    ``chain`` is None where it offers no STARTTLS.
    """

    kind: str
    name: str
    address: str
    port: int
    chain: Path | None


class Authorities:
    """One that the tests' mailers trust, and one that they have never heard of."""

    def __init__(self) -> None:
        self.known = trustme.CA()
        self.unknown = trustme.CA()

    def ee_record(self, face: Face) -> str:
        """Return the TLSA record for the key of a face's certificate (3 1 1)."""
        assert face.chain is not None
        certificate = x509.load_pem_x509_certificates(face.chain.read_bytes())[0]
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"3 1 1 {hashlib.sha256(key).hexdigest()}"

    def ta_record(self) -> str:
        """Return the TLSA record for the authority that nobody knows (2 0 1)."""
        (certificate,) = x509.load_pem_x509_certificates(self.unknown.cert_pem.bytes())
        return f"2 0 1 {hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()}"

    def faces(self, folder: Path, domain: str, network: str, port: int) -> dict[str, Face]:
        """Make a face of each kind, called after it below ``domain``, in ``network`` ("127.0.1")."""
        made = {}
        for number, kind in enumerate(KINDS, start=1):
            name, address = f"{kind}.{domain}", f"{network}.{number}"
            chain = self._chain(kind, name)
            file = folder / f"{address}.pem"
            if chain is not None:
                file.write_bytes(chain)
                file.chmod(0o644)
            made[kind] = Face(kind, name, address, port, file if chain is not None else None)
        return made

    def _chain(self, kind: str, name: str) -> bytes | None:
        now = datetime.now(UTC)
        past = {"not_before": now - timedelta(days=30), "not_after": now - timedelta(days=1)}
        if kind == "plain":
            return None
        if kind == "other":
            issued = self.known.issue_cert("somebody.else.test")
        elif kind == "expired":
            issued = self.known.issue_cert(name, **past)
        elif kind == "stranger":
            issued = self.unknown.issue_cert("somebody.else.test", **past)
        elif kind == "chain":
            issued = self.unknown.issue_cert(name)
            return issued.private_key_and_cert_chain_pem.bytes() + self.unknown.cert_pem.bytes()
        else:
            issued = self.known.issue_cert(name)
        return issued.private_key_and_cert_chain_pem.bytes()
