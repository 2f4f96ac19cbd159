"""The other ports of a host, looked at to say which of them would work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.diagnosis.bounds import Bounded
from django_smtpx.smtp.errors import ConnectError, SMTPError
from django_smtpx.smtp.options import SMTP_PORT, Security
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options

PORTS = (25, 465, 587, 2525)
"""Where mail is usually taken."""
TIMEOUT = 1.25
"""Seconds that the opening may take with one of them, in either mode."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A port that answers, and the ``security`` to set for it."""

    port: int
    security: str

    def __str__(self) -> str:
        if self.security == Security.IMPLICIT:
            return said(
                "port %(port)s speaks TLS from the first byte (security='implicit')", port=self.port
            )
        if self.security == Security.STARTTLS:
            return said("port %(port)s offers STARTTLS (security='starttls')", port=self.port)
        return said("port %(port)s answers without TLS (security='none')", port=self.port)


def look(options: Options) -> tuple[Sibling, ...]:
    """Return which of the other ports answer, and how.

    Nobody logs in, and each server is let speak first: TLS from the first byte is tried where
    none is heard, and never on port 25.
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
        verify=False,
        tlsa=(),
        ca_file=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        timeout=min(options.timeout, TIMEOUT),
        # What is found out about one mode of TLS is not to be remembered for the other.
        probe=False,
    )
    try:
        connection = Connection.open(plain, Bounded(TIMEOUT))
    except ConnectError:
        return None
    except SMTPError:
        return None if port == SMTP_PORT else _implicit(plain)
    starttls = connection.protocol.capabilities.starttls
    connection.quit()
    return Sibling(port, Security.STARTTLS if starttls else Security.NONE)


def _implicit(plain: Options) -> Sibling | None:
    """Look whether a port that does not greet in clear speaks TLS from the first byte."""
    try:
        connection = Connection.open(replace(plain, security=Security.IMPLICIT), Bounded(TIMEOUT))
    except SMTPError:
        return None
    connection.quit()
    return Sibling(plain.port, Security.IMPLICIT)
