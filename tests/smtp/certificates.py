"""Certificates of all kinds, made for a test."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from django_smtpx.smtp.dane import TLSA

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SHA256 = hashes.SHA256()


@dataclass
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: object

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def tlsa(self, usage, selector, mtype) -> TLSA:
        """Return a TLSA record of it."""
        return TLSA(usage, selector, mtype, b"").of(self.der)


def make(
    name,
    issuer=None,
    *,
    ca=None,
    dns=(),
    ips=(),
    begin=-DAY,
    end=DAY,
    digest=SHA256,
    path_length=None,
    extensions=(),
    key=None,
    signer=None,
    subject=None,
):
    """Make a certificate for ``name`` (its common name), signed by ``issuer``, or by itself.

    ``ca`` None leaves the basic constraints out.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = signer or (issuer.key if issuer else key)
    own = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer.certificate.subject if issuer else own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
    )
    names = [x509.DNSName(each) for each in dns]
    names += [x509.IPAddress(ip_address(each)) for each in ips]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if ca is not None:
        basic = x509.BasicConstraints(ca=ca, path_length=path_length)
        builder = builder.add_extension(basic, critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        digest = None
    return Made(builder.sign(signer, digest), key)


def authority(name="An Authority", issuer=None, **changes):
    """Make the certificate of an authority."""
    return make(name, issuer, ca=True, **changes)


def server_context(leaf, *others):
    """Return the TLS context of a server that sends these certificates."""
    key = leaf.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "chain.pem"
        path.write_bytes(key + b"".join(each.pem for each in (leaf, *others)))
        context.load_cert_chain(path)
    return context
