"""TLS contexts: made once per set of options, because making one costs more than a handshake."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp import verdict
from django_smtpx.smtp.errors import TLSError, TLSModeMismatch
from django_smtpx.smtp.options import Security

if TYPE_CHECKING:
    import socket

    from django_smtpx.smtp.options import Options

_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "UNKNOWN_PROTOCOL",
    }
)


def verifies(options: Options) -> bool:
    """Whether the server must show a certificate that holds.

    Opportunistic TLS does not ask for one (RFC 7435), unless it is there to protect a credential.
    """
    if options.security is Security.OPPORTUNISTIC:
        return (
            options.verify and options.credential is not None and not options.allow_plaintext_auth
        )
    return options.verify


def context_for(options: Options) -> ssl.SSLContext:
    """Return the context for ``options``; the same one for the same TLS options.

    Raises :class:`TLSError` when a file that they name cannot be used.
    """
    try:
        return _context(
            verifies(options), options.ca_file, options.ssl_certfile, options.ssl_keyfile
        )
    except OSError as error:
        named = [
            name
            for name in (options.ca_file, options.ssl_certfile, options.ssl_keyfile)
            if name is not None
        ]
        raise _failure(
            TLSError,
            f"The TLS context cannot be made from {', '.join(named) or 'the system'}: {error}",
        ) from error


@lru_cache(maxsize=64)
def _context(
    verify: bool,  # noqa: FBT001
    ca_file: str | None,
    certfile: str | None,
    keyfile: str | None,
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context


def wrap(sock: socket.socket, options: Options) -> ssl.SSLSocket:
    """Put TLS around ``sock``, before the handshake; raises :class:`TLSError`."""
    context = context_for(options)
    try:
        return context.wrap_socket(
            sock, server_hostname=options.host, do_handshake_on_connect=False
        )
    except (OSError, ValueError) as error:
        raise _failure(TLSError, f"TLS with {options.host} cannot begin: {error}") from error


def describe(sock: ssl.SSLSocket) -> str:
    """Return version and cipher, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``."""
    cipher = sock.cipher()
    return f"{sock.version() or ''} {cipher[0] if cipher else ''}".strip()


def handshake_failure(
    error: OSError, sock: ssl.SSLSocket, options: Options, *, implicit: bool
) -> TLSError:
    """Return what a handshake's failure means, with the name expected and the one shown."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _failure(
            TLSError,
            f"The certificate of {options.host} does not hold: {error.verify_message} "
            f"(expected {options.host}, shown {_shown(sock)})",
        )
    reason = getattr(error, "reason", None) or ""
    if implicit and reason in _NOT_TLS:
        return _failure(
            TLSModeMismatch,
            f"Port {options.port} of {options.host} does not speak TLS from the first byte: set "
            "security to 'starttls' (use_tls=True), or use the port for implicit TLS, 465",
        )
    return _failure(
        TLSError, f"The TLS handshake with {options.host} failed: {str(error) or reason}"
    )


def handshake_timeout(options: Options) -> TLSError:
    """Return the error of a handshake that came to no end in time."""
    return _failure(TLSError, f"The TLS handshake with {options.host} took too long")


def _failure(cls: type[TLSError], message: str) -> TLSError:
    judged = verdict.TLS_FAILED
    return cls(message, category=judged.category, action=judged.action, temporary=judged.temporary)


def _shown(sock: ssl.SSLSocket) -> str:
    """Return the names in the certificate that was refused, as far as ssl lets one see it."""
    inner: Any = getattr(sock, "_sslobj", None)
    try:
        info: dict[str, Any] = inner.get_unverified_chain()[0].get_info()
    except (AttributeError, IndexError, TypeError, ValueError, ssl.SSLError):
        return "unknown"
    names = [value for _, value in info.get("subjectAltName", ())]
    names += [
        value for part in info.get("subject", ()) for key, value in part if key == "commonName"
    ]
    expiry = f", valid until {info['notAfter']}" if "notAfter" in info else ""
    return f"{', '.join(dict.fromkeys(names)) or 'no name'}{expiry}"
