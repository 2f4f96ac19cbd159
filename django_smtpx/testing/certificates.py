"""Certificates for tests."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate and the authority that vouches for it.

    ``ssl_context`` is for the server, ``ca_file`` (a PEM file) for whoever is to
    trust it: the option of that name, or ``ssl.create_default_context(cafile=…)``.
    """

    ssl_context: ssl.SSLContext = field(repr=False)
    ca_file: str


def make_certificate(
    directory: str | os.PathLike[str], *names: str, expired: bool = False
) -> Certificate:
    """Make a certificate for ``names`` (``localhost`` and ``127.0.0.1`` where none is given).

    The authority's file is written to ``directory``, such as pytest's
    ``tmp_path``. ``expired`` makes one whose time is over. Raises
    ``ImportError`` where trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise ImportError("Making certificates for tests needs: pip install trustme") from error
    authority = trustme.CA()
    not_after = _LONG_AGO if expired else None
    certificate = authority.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=not_after)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    ca_file = Path(directory) / f"ca-{id(authority):x}.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Certificate(context, str(ca_file))
