"""Fetching a domain's MTA-STS policy from its web server (RFC 8461 section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from django_smtpx.mx.https import MOST, PORT, TIMEOUT, HTTPSError, Request, Response, ask
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.mx.answers import Answer

_PATH = "/.well-known/mta-sts.txt"
_OK = 200


class Addresses(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``."""


class Unavailable(Exception):
    """A policy file could not be had; ``tls_failure`` is a result type of RFC 8460 section 4.3."""

    def __init__(self, text: str, tls_failure: str = "sts-policy-fetch-error") -> None:
        super().__init__(text)
        self.tls_failure = tls_failure


class PolicyHosts:
    """The web servers that policies are fetched from: ``mta-sts`` below each domain.

    ``timeout`` is in seconds, for connecting, the handshake and the response together; ``ca_file``
    names authorities that are trusted besides the default ones.
    """

    def __init__(
        self,
        resolver: Addresses,
        *,
        port: int = PORT,
        ca_file: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._resolver = resolver
        self._port = port
        self._ca_file = ca_file
        self._timeout = timeout

    def __call__(self, domain: str) -> bytes:
        """Return the bytes of the policy file of ``domain``. Raises :class:`Unavailable`."""
        host = f"mta-sts.{domain}"
        request = Request(host=host, port=self._port, path=_PATH, headers={"Accept": "text/plain"})
        try:
            addresses = self._resolver.addresses(host).records
            response = ask(
                request, addresses, ca_file=self._ca_file, timeout=self._timeout, most=MOST
            )
        except ResolveError as error:
            raise Unavailable(str(error)) from error
        except HTTPSError as error:
            raise Unavailable(str(error), _kind(error)) from error
        return _body(host, response)


def _kind(error: HTTPSError) -> str:
    if error.certificate:
        return "sts-webpki-invalid"
    return "sts-policy-invalid" if error.too_large else "sts-policy-fetch-error"


def _body(host: str, response: Response) -> bytes:
    if response.status != _OK:
        # A redirect, too: it could lead anywhere (section 3.3).
        raise Unavailable(
            said(
                "%(host)s answered with the status %(status)s, not %(wanted)s",
                host=host,
                status=response.status,
                wanted=_OK,
            )
        )
    if response.media_type != "text/plain":
        raise Unavailable(
            said(
                "%(host)s answered with %(media_type)s, not text/plain",
                host=host,
                media_type=response.media_type,
            ),
            "sts-policy-invalid",
        )
    return response.body
