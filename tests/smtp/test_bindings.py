from __future__ import annotations

import datetime as dt
import hashlib
import ssl
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from django_smtpx.smtp.bindings import server_end_point
from django_smtpx.testing.auth import own_certificate

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


def certificate(key, algorithm, **more) -> bytes:
    """Return a certificate that is signed so, in DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
    then = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, then, then.replace(year=2040)
    )
    return builder.sign(key, algorithm, **more).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("key", "algorithm", "more", "hashed"),
    [
        (RSA, hashes.SHA256(), {}, "sha256"),
        (RSA, hashes.SHA384(), {}, "sha384"),
        (RSA, hashes.SHA512(), {}, "sha512"),
        (RSA, hashes.SHA384(), {"rsa_padding": PSS}, "sha384"),
        (EC, hashes.SHA256(), {}, "sha256"),
        (EC, hashes.SHA512(), {}, "sha512"),
    ],
)
def test_server_end_point(key, algorithm, more, hashed):
    """The hash is that of the signature (RFC 5929 section 4.1)."""
    der = certificate(key, algorithm, **more)
    assert server_end_point(der) == hashlib.new(hashed, der).digest()


def test_old_hashes():
    """A signature by SHA-1 or MD5 is bound by SHA-256."""
    der = certificate(RSA, hashes.SHA256())
    for old in (5, 4):  # sha1WithRSAEncryption, md5WithRSAEncryption
        other = der.replace(
            bytes.fromhex("06092a864886f70d01010b"),
            bytes.fromhex("06092a864886f70d0101") + bytes([old]),
        )
        assert other != der
        assert server_end_point(other) == hashlib.sha256(other).digest()


@pytest.mark.parametrize("der", [certificate(ED, None), b"", b"\x30\x03abc", b"no certificate"])
def test_no_end_point(der):
    """Where a signature has no single hash, or there is no certificate, there is no binding."""
    assert server_end_point(der) == b""


def test_without_asn1crypto(monkeypatch):
    """Without the extra there is no binding, and no error."""
    monkeypatch.setitem(sys.modules, "asn1crypto.x509", None)
    assert server_end_point(certificate(EC, hashes.SHA256())) == b""


def test_own_certificate(authority):
    """A server-side context is asked for its certificate as a client would see it."""
    issued = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert own_certificate(context) == b""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    pem = issued.cert_chain_pems[0].bytes().decode()
    assert own_certificate(context) == ssl.PEM_cert_to_DER_cert(pem)
