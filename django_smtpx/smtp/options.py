"""How one server is to be spoken to, as frozen values without a secret in their repr."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.smtp.dane import TLSA
    from django_smtpx.smtp.rules import Rule

IMPLICIT_TLS_PORT = 465
SUBMISSION_PORT = 587
SMTP_PORT = 25

Transcript = Literal["always", "failures", "never"]
"""Of which transactions the redacted dialogue is kept."""


class Security(StrEnum):
    """How the connection becomes private; ``AUTO`` is resolved by :func:`resolve_security`."""

    AUTO = "auto"
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    OPPORTUNISTIC = "opportunistic"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Credential:
    """What to log in with: a user name, and its password or a source of bearer tokens.

    Neither is part of the repr. ``token`` is called for each login by
    OAUTHBEARER or XOAUTH2, and once more when the server refuses what it gave.
    """

    username: str = field(repr=False)
    password: str = field(default="", repr=False)
    token: Callable[[], str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that makes two sessions with one server differ (and so the pool's key).

    ``timeout`` bounds each command and ``eod_timeout`` the reply after the
    content, both in seconds (RFC 5321 section 4.5.3.2). ``security`` is never
    ``AUTO`` here. ``auth`` names the SASL mechanisms that may be used, best
    first; empty means any that is known. ``chunking_window`` is how many
    contents may be unanswered at once with CHUNKING: each of them is
    ``unknown`` when the connection is lost. ``probe`` lets a second connection
    find out whether a silent server speaks the other mode of TLS; never on
    port 25. ``rules`` judge its replies before those of this package do.
    ``relay`` says whether mail is submitted to the server, or whether it is the
    recipient's own.

    The rest is what a policy on the host says. ``addresses`` are connected to, in
    their order, and the system's resolver is not asked. A certificate may be for
    any of ``names``, in the place of ``host``; the first of them is the one that
    the server is told (SNI). With any ``tlsa`` the certificate is judged by these
    records alone, whatever ``verify`` says (RFC 7672 section 2.2), and TLS is
    required: ``ValueError`` where ``security`` leaves it open. ``tls_reason`` says
    who asks for TLS ("the MTA-STS policy of example.com (enforce)"), and is part
    of each :class:`TLSError`.
    """

    host: str
    port: int
    security: Security
    verify: bool = True
    ca_file: str | None = None
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    credential: Credential | None = None
    auth: tuple[str, ...] = ()
    allow_plaintext_auth: bool = False
    helo: str = ""
    source_address: str | None = None
    timeout: float = 60.0
    eod_timeout: float = 600.0
    pipelining: bool = True
    chunking: bool = True
    chunking_window: int = 1
    transcript: Transcript = "failures"
    probe: bool = True
    rules: tuple[Rule, ...] = ()
    relay: bool = True
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tlsa: tuple[TLSA, ...] = ()
    tls_reason: str = ""

    def __post_init__(self) -> None:
        if self.tlsa and self.security not in (Security.IMPLICIT, Security.STARTTLS):
            raise ValueError(f"TLSA records require TLS, and security={self.security.value!r}")


def server_name(options: Options) -> str:
    """Return the name that the server is told in the handshake (RFC 6066 section 3): with TLSA
    records their base domain (RFC 7672 section 8.1).
    """
    return (options.names[0] if options.names else options.host).rstrip(".")


def expected_names(options: Options) -> tuple[str, ...]:
    """Return the reference names: the certificate has to be for one of them (RFC 9525)."""
    return tuple(name.rstrip(".") for name in options.names or (options.host,))


def relaxed(options: Options) -> tuple[Options, ...]:
    """Return how to reach the host for a message that says ``TLS-Required: No``, in the order to
    try (RFC 8689 section 5): with TLS that is not verified, and without it.

    What a policy of the recipient's domain asks for is left aside. A credential is not sent like
    that: with one there is no such way.
    """
    asked = verifies(options) or (options.security is Security.STARTTLS and options.tls_reason)
    if options.credential is not None or not asked:
        return ()
    free = replace(options, verify=False, tlsa=(), tls_reason="")
    if options.security is Security.IMPLICIT:
        return (free,)
    return tuple(
        replace(free, security=security) for security in (Security.OPPORTUNISTIC, Security.NONE)
    )


def verifies(options: Options) -> bool:
    """Whether the server must show a certificate that holds.

    Opportunistic TLS does not ask for one (RFC 7435), unless it is there to protect a credential.
    TLSA records always do.
    """
    if options.tlsa:
        return True
    if options.security is Security.NONE:
        return False
    if options.security is Security.OPPORTUNISTIC:
        return (
            options.verify and options.credential is not None and not options.allow_plaintext_auth
        )
    return options.verify


def resolve_security(
    security: Security, port: int, *, credentials: bool, allow_plaintext_auth: bool
) -> Security:
    """Return what ``AUTO`` means on ``port``: 465 is implicit TLS (RFC 8314 section 3.3), and
    587, or any port that credentials are sent to, requires STARTTLS.
    """
    if security is not Security.AUTO:
        return security
    if port == IMPLICIT_TLS_PORT:
        return Security.IMPLICIT
    if port == SUBMISSION_PORT or (credentials and not allow_plaintext_auth):
        return Security.STARTTLS
    return Security.OPPORTUNISTIC


def default_port(security: Security) -> int:
    """Return the port that goes with ``security``: 465, 587, else 25."""
    if security is Security.IMPLICIT:
        return IMPLICIT_TLS_PORT
    if security is Security.STARTTLS:
        return SUBMISSION_PORT
    return SMTP_PORT


def security_and_port(
    security: Security, port: int | None, *, credentials: bool, allow_plaintext_auth: bool
) -> tuple[Security, int]:
    """Return both, resolved: without a port it follows from the security, as if on no port yet."""
    if port is None:
        port = default_port(
            resolve_security(
                security, 0, credentials=credentials, allow_plaintext_auth=allow_plaintext_auth
            )
        )
    resolved = resolve_security(
        security, port, credentials=credentials, allow_plaintext_auth=allow_plaintext_auth
    )
    return resolved, port


@cache
def local_helo_name() -> str:
    """Return the name to say in EHLO: the FQDN, or an address literal where there is none
    (RFC 5321 section 4.1.4).
    """
    name = socket.getfqdn()
    if "." in name and name.isascii():
        return name
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "127.0.0.1"
    return f"[{address}]"
