"""TLS contexts, made once per set of options because making one costs more than a handshake; and
what it means when TLS fails.
"""

from __future__ import annotations

import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django_smtpx.smtp import certificates, dane, mode, names, verdict
from django_smtpx.smtp.errors import TLSError
from django_smtpx.smtp.failures import no_tls
from django_smtpx.smtp.options import expected_names, server_name, verifies
from django_smtpx.smtp.wording import joined, said
from django_smtpx.smtp.wrapping import wrapped

if TYPE_CHECKING:
    import socket
    from typing import Literal

    from django_smtpx.smtp.failures import TLSFailure
    from django_smtpx.smtp.options import Options

    _Check = Literal["nothing", "chain", "policy", "host"]

_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "UNKNOWN_PROTOCOL",
    }
)
# The second is what Python 3.11.2, as Debian has it, makes of the first within a handshake.
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_TOO_OLD = frozenset({"PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"})
_NOTHING_SHARED = frozenset({"HANDSHAKE_FAILURE", "INSUFFICIENT_SECURITY", "NO_SHARED_CIPHER"})
_TOO_WEAK = frozenset({"DH_KEY_TOO_SMALL", "EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})
_ABOUT_OUR_CERTIFICATE = frozenset(
    {
        "ACCESS_DENIED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "DECRYPT_ERROR",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)
# By OpenSSL's reason, or the name of the alert that came (RFC 8446 section 6.2).
_MEANINGS = dict.fromkeys(
    _TOO_OLD, said("the server speaks TLS 1.1 or older alone, and 1.2 is the least")
) | dict.fromkeys(_TOO_WEAK, said("the server's key is too weak"))
_MEANINGS |= dict.fromkeys(
    _NOTHING_SHARED,
    said(
        "the two sides share no cipher, curve or kind of signature, or the server wants a client "
        "certificate (ssl_certfile, ssl_keyfile)"
    ),
)
_MEANINGS["CERTIFICATE_REQUIRED"] = said(
    "the server wants a client certificate: set ssl_certfile and ssl_keyfile"
)
_MEANINGS["UNRECOGNIZED_NAME"] = said("the server knows no host of this name")
_VERIFY_FLAGS = (
    ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
)
"""Set, not added, so that each Python judges a certificate alike: 3.13 has PARTIAL_CHAIN and STRICT
by default, those before it have neither.

What stands in ca_file is trusted as it stands there, be it an intermediate one. RFC 5280 is not
held against a certificate to the letter (STRICT): no other sender of mail does so, and mail would
wait for ever at servers that all others deliver to.
"""
_HOLDS = {
    "ca_file": said("the certificates of authorities"),
    "ssl_certfile": said("a certificate, and its private key where ssl_keyfile is not set"),
    "ssl_keyfile": said("a private key"),
}


# -- contexts ------------------------------------------------------------------------------------


class _File(NamedTuple):
    """A file that an option names; ``stamp`` is another one when the file was replaced."""

    option: str
    path: str
    stamp: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.option} {self.path!r}"


def context_for(options: Options) -> ssl.SSLContext:
    """Return the context for ``options``; the same one for the same TLS options and files.

    A file that was replaced since, such as a renewed client certificate, is read anew. Raises
    :class:`TLSError` when a file cannot be used; it names the option.
    """
    return _context(
        _check(options),
        _file("ca_file", options.ca_file),
        _file("ssl_certfile", options.ssl_certfile),
        _file("ssl_keyfile", options.ssl_keyfile),
    )


def _check(options: Options) -> _Check:
    """Return what OpenSSL is to look at in a handshake; the rest is :func:`judge`'s."""
    if options.tlsa or not verifies(options):
        return "nothing"
    if len(options.names) > 1:
        return "chain"
    return "policy" if options.names else "host"


def _file(option: str, path: str | None) -> _File | None:
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        raise _unusable(_File(option, path, ()), error) from error
    return _File(option, path, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=64)
def _context(
    check: _Check,
    ca_file: _File | None,
    certfile: _File | None,
    keyfile: _File | None,
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = _VERIFY_FLAGS
    # A policy wants the name where RFC 9525 section 2 has it (RFC 8461 section 4.1).
    context.hostname_checks_common_name = check == "host"
    context.check_hostname = check in ("policy", "host")
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file.path)
        except OSError as error:
            raise _unusable(ca_file, error) from error
    if check == "nothing":
        context.verify_mode = ssl.CERT_NONE
    if certfile is not None:
        _load_client_certificate(context, certfile, keyfile)
    elif keyfile is not None:
        raise _failure(
            said(
                "%(keyfile)s is a key without a certificate: set ssl_certfile, too", keyfile=keyfile
            )
        )
    return context


def _load_client_certificate(
    context: ssl.SSLContext, certfile: _File, keyfile: _File | None
) -> None:
    key = keyfile or certfile

    def passphrase() -> str:
        # Without this, OpenSSL asks on the terminal, and a worker waits for ever.
        raise _failure(
            said(
                "The private key in %(key)s is encrypted, and nobody can be asked for "
                "its passphrase: store the key without one, readable by this process "
                "alone",
                key=key,
            )
        )

    try:
        context.load_cert_chain(certfile.path, keyfile and keyfile.path, password=passphrase)
    except TLSError:
        raise
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _failure(
                said(
                    "The private key in %(key)s is not that of the certificate in %(certfile)s",
                    key=key,
                    certfile=certfile,
                )
            ) from error
        raise _unusable(_culprit(certfile, key), error) from error
    except OSError as error:
        raise _unusable(_culprit(certfile, key), error) from error


def _culprit(certfile: _File, key: _File) -> _File:
    """Return which of the two files holds not what it should; OpenSSL does not say."""
    try:
        holds_certificate = b"-----BEGIN CERTIFICATE-----" in Path(certfile.path).read_bytes()
    except OSError:
        return certfile
    return key if holds_certificate else certfile


def _unusable(file: _File, error: Exception) -> TLSError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return _failure(
        said(
            "%(file)s is to be a PEM file with %(content)s: %(reason)s",
            file=file,
            content=_HOLDS[file.option],
            reason=reason,
        )
    )


def wrap(sock: socket.socket, options: Options) -> ssl.SSLSocket:
    """Put TLS around ``sock``, before the handshake; raises :class:`TLSError`."""
    context = context_for(options)
    try:
        return wrapped(
            context, sock, server_hostname=server_name(options), do_handshake_on_connect=False
        )
    except (OSError, ValueError) as error:
        raise no_tls(
            said("TLS with %(host)s cannot begin: %(error)s", host=options.host, error=error),
            options,
        ) from error


def judge(sock: ssl.SSLSocket, options: Options) -> str:
    """Judge, right behind the handshake, what OpenSSL was not asked to; return how the
    certificate was verified: "dane", "pkix", or "" where it need not be.

    Raises :class:`TLSError`.
    """
    if options.tlsa:
        if not dane.usable(options.tlsa):
            # They ask for TLS, and vouch for nobody (RFC 7672 section 2.2).
            return ""
        try:
            dane.verify(
                certificates.der_chain(sock), options.tlsa, expected_names(options), now=time.time()
            )
        except certificates.Refused as refused:
            raise _refused(str(refused), refused.failure, sock, options) from refused
        return "dane"
    if not verifies(options):
        return ""
    if _check(options) == "chain" and not _is_for(sock, options):
        raise _refused(said("it is somebody else's"), "certificate-host-mismatch", sock, options)
    return "pkix"


def _is_for(sock: ssl.SSLSocket, options: Options) -> bool:
    shown: Any = (sock.getpeercert() or {}).get("subjectAltName", ())
    return names.is_for(
        [str(value) for kind, value in shown if kind == "DNS"],
        [str(value) for kind, value in shown if kind == "IP Address"],
        expected_names(options),
    )


def describe(sock: ssl.SSLSocket) -> str:
    """Return version and cipher, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``."""
    cipher = sock.cipher()
    return f"{sock.version() or ''} {cipher[0] if cipher else ''}".strip()


# -- failures ------------------------------------------------------------------------------------


def handshake_failure(
    error: OSError, sock: ssl.SSLSocket, options: Options, *, implicit: bool, rest: bytes = b""
) -> TLSError:
    """Return what a handshake's failure means, with the name expected and the one shown.

    ``rest`` is what the server said behind the five bytes that are no TLS record, if that is what
    it was about.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return no_tls(
            certificates.refusal(error, sock, options.host, options.names),
            options,
            certificates.failure_of(error),
        )
    if _reason(error) in _NOT_TLS:
        if implicit and b"SMTP" in rest.upper():
            return mode.speaks_plain(
                options, said("it said '...%(rest)s", rest=mode.shown(rest)[1:])
            )
        return no_tls(
            said(
                "Port %(port)s of %(host)s does not answer in TLS (%(error)s; what came "
                "ends with %(rest)s)",
                port=options.port,
                host=options.host,
                error=_reason(error),
                rest=mode.shown(rest),
            ),
            options,
        )
    return no_tls(
        said(
            "The TLS handshake with %(host)s failed: %(reason)s",
            host=options.host,
            reason=_meaning(error, options),
        ),
        options,
    )


def is_answer(error: OSError) -> bool:
    """Whether a handshake that failed with ``error`` was answered in TLS."""
    return (
        isinstance(error, ssl.SSLError)
        and not isinstance(error, _ENDED)
        and _reason(error) not in _NOT_TLS
    )


def strange_answer(answer: bytes, options: Options, *, implicit: bool) -> TLSError:
    """Return what it means that a server answered a handshake with what is no TLS."""
    if implicit and mode.is_reply(answer):
        return mode.speaks_plain(options, said("it said %(answer)s", answer=mode.shown(answer)))
    return no_tls(
        said(
            "Port %(port)s of %(host)s does not answer in TLS: %(answer)s came",
            port=options.port,
            host=options.host,
            answer=mode.shown(answer),
        ),
        options,
    )


def handshake_timeout(options: Options) -> TLSError:
    """Return the error of a handshake that came to no end in time."""
    return no_tls(said("The TLS handshake with %(host)s took too long", host=options.host), options)


def broken(error: ssl.SSLError, options: Options) -> TLSError:
    """Return the error of a connection whose TLS failed behind the handshake.

    With TLS 1.3 that is where a server says what it thinks of the client's certificate.
    """
    if "ALERT" in _reason(error):
        return no_tls(
            said(
                "%(host)s ended TLS: %(reason)s",
                host=options.host,
                reason=_meaning(error, options),
            ),
            options,
        )
    return no_tls(
        said(
            "What came from %(host)s is no valid TLS: %(reason)s",
            host=options.host,
            reason=_meaning(error, options),
        ),
        options,
    )


def _refused(reason: str, failure: TLSFailure, sock: ssl.SSLSocket, options: Options) -> TLSError:
    text = certificates.sentence(reason, sock, options.host, options.names)
    return no_tls(text, options, failure)


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or ""


def _meaning(error: OSError, options: Options) -> str:
    if isinstance(error, _ENDED):
        return said("the server closed the connection")
    if not isinstance(error, ssl.SSLError):
        return said("the server closed the connection (%(reason)s)", reason=error.strerror or error)
    reason = _reason(error)
    name = reason.rpartition("ALERT_")[2]
    if name in _ABOUT_OUR_CERTIFICATE and options.ssl_certfile:
        return said(
            "the server does not accept the client certificate in ssl_certfile (%(reason)s)",
            reason=reason,
        )
    if name in _MEANINGS:
        return joined("", (_MEANINGS[name], f" ({reason})"))
    return str(error) or reason


def _failure(message: str) -> TLSError:
    """Return the error of what is wrong on this side."""
    return TLSError(message, **verdict.TLS_FAILED.fields)
