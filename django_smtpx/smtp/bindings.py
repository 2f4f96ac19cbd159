"""Channel bindings: what ties a login to the one TLS connection that it is made over (RFC 5056).

Those that Python's ssl module can give: ``tls-server-end-point``, and ``tls-unique`` below TLS 1.3
(RFC 5929). It has no ``tls-exporter`` (RFC 9266).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_HASHED = ("_rsa", "_dsa", "_ecdsa", "rsassa_pss")


def bindings_of(sock: ssl.SSLSocket) -> dict[str, bytes]:
    """Return the bindings of a TLS connection by name, the best first; {} where it has none."""
    found: dict[str, bytes] = {}
    if sock.version() != "TLSv1.3":
        # In TLS 1.3 it is not defined, whatever ssl returns (RFC 8446 appendix C.5).
        unique = sock.get_channel_binding("tls-unique")
        if unique:
            found["tls-unique"] = unique
    end_point = server_end_point(sock.getpeercert(binary_form=True) or b"")
    if end_point:
        found["tls-server-end-point"] = end_point
    return found


def server_end_point(certificate: bytes) -> bytes:
    """Return the hash of a DER certificate by its signature's own hash (RFC 5929 section 4.1).

    MD5 and SHA-1 are replaced by SHA-256. "" where the signature is made without one hash
    (Ed25519), for which the binding is not defined, or where asn1crypto cannot tell.
    """
    try:
        # It comes with scramp, without which nobody asks for a binding.
        from asn1crypto.x509 import Certificate
    except ImportError:
        return b""
    try:
        signature = Certificate.load(certificate)["signature_algorithm"]
        name = str(signature["algorithm"].native)
        if not name.endswith(_HASHED):
            return b""
        algorithm = str(signature.hash_algo)
        return hashlib.new(
            "sha256" if algorithm in ("md5", "sha1") else algorithm, certificate
        ).digest()
    except (ValueError, TypeError, KeyError):
        # It is the server's: nothing in it may keep anybody from logging in.
        return b""
