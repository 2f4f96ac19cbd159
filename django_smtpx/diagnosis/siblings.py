"""The other ports of a host, looked at to say which of them would work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_smtpx.diagnosis.bounds import Bounded
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.errors import SMTPError, TLSModeMismatch
from django_smtpx.smtp.options import Security

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options

PORTS = (25, 465, 587, 2525)
"""Where mail is usually taken."""
TIMEOUT = 1.5
"""Seconds that each command, and the opening as a whole, may take with one of them."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A port that answers, and the ``security`` to set for it."""

    port: int
    security: str

    def __str__(self) -> str:
        words = {
            Security.IMPLICIT: "speaks TLS from the first byte",
            Security.STARTTLS: "offers STARTTLS",
            Security.NONE: "answers without TLS",
        }
        return f"port {self.port} {words[Security(self.security)]} (security='{self.security}')"


def look(options: Options) -> tuple[Sibling, ...]:
    """Return which of the other ports answer, and how.

    Nobody logs in, and each server is let speak first; to port 25 nothing but EHLO is said.
    """
    ports = [port for port in PORTS if port != options.port]
    with ThreadPoolExecutor(len(ports) or 1) as pool:
        found = pool.map(lambda port: _look(options, port), ports)
        return tuple(sibling for sibling in found if sibling is not None)


def _look(options: Options, port: int) -> Sibling | None:
    plain = replace(
        options,
        port=port,
        security=Security.NONE,
        credential=None,
        tlsa=(),
        timeout=min(options.timeout, TIMEOUT),
        transcript="never",
    )
    try:
        connection = Connection.open(plain, Bounded(TIMEOUT))
    except TLSModeMismatch:
        return Sibling(port, Security.IMPLICIT)
    except SMTPError:
        return None
    starttls = connection.protocol.capabilities.starttls
    connection.quit()
    return Sibling(port, Security.STARTTLS if starttls else Security.NONE)
