"""One connection to an endpoint: a POST bounded in time and in size, and the next over the same.

No redirect is followed, no proxy is used, nothing of a response is kept but its status and its
``Retry-After``.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.wording import said
from django_smtpx.smtp.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.webhooks.endpoint import Endpoint

MOST = 64 * 1024
"""Bytes of a response that are read; after more the connection is closed."""

_LEAST_SHARE = 1.0
_MOST_WORDS = 200
_BROKEN = (ConnectionError, http.client.RemoteDisconnected)


class Answer(NamedTuple):
    """What came of a request: ``status``, or 0 and ``error`` where there was no response.

    ``retry_after`` is in seconds, 0 where none was asked for.
    """

    status: int
    error: str = ""
    retry_after: float = 0.0

    def __str__(self) -> str:
        if not self.status:
            return self.error
        phrase = http.client.responses.get(self.status, "")
        return f"HTTP {self.status} {phrase}".rstrip()


class Poster:
    """Posts to one endpoint, over one connection as long as that lives."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection: _Connection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post ``body``; nothing that goes wrong is raised.

        The endpoint's ``timeout`` bounds all of it but the look-up of its name, which ends when the
        system's resolver says so.
        """
        deadline = Deadline(self._endpoint.timeout)
        try:
            return self._post(body, headers, deadline)
        except TimeoutError:
            fault: str = said(
                "no answer within %(seconds)s s", seconds=f"{self._endpoint.timeout:g}"
            )
        except ssl.SSLCertVerificationError as error:
            fault = said("its certificate does not hold: %(reason)s", reason=error.verify_message)
        except (OSError, http.client.HTTPException, ValueError) as error:
            fault = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_WORDS]
        self.close()
        return Answer(0, fault)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection.end()
            self._connection = None

    def _post(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        used = self._connection is not None
        try:
            return self._ask(body, headers, deadline)
        except _BROKEN:
            # An idle connection that the other side has closed meanwhile says nothing about it.
            if not used:
                raise
        self.close()
        return self._ask(body, headers, deadline)

    def _ask(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        if self._connection is None:
            self._connection = _Connection(self._endpoint)
        connection = self._connection
        connection.deadline = deadline
        every = {"User-Agent": "django-smtpx", "Accept": "*/*", **headers}
        connection.request("POST", self._endpoint.target, body, every)
        response = connection.getresponse()
        with response:
            asked = response.headers.get("Retry-After")
            answer = Answer(response.status, "", _seconds(asked) if asked else 0.0)
            whole = _read_all(response)
        if not whole or connection.sock is None:
            self.close()
        return answer


class _Connection(http.client.HTTPConnection):
    """A connection whose every step is within :attr:`deadline`."""

    deadline: Deadline

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        if endpoint.tls:
            # What is left out of the Host header.
            self.default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Connect to the first address that lets us, and say hello."""
        sock = _dial(self._endpoint, self.deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.tls:
                sock.settimeout(_left(self.deadline))
                context = _context(self._endpoint.ca_file)
                sock = wrapped(context, sock, server_hostname=self._endpoint.host)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self.sock: Any = _Wire(sock, self)

    def end(self) -> None:
        """Close the socket: what reads a response from it has come to its end."""
        if self._socket is not None:
            self._socket.close()


class _Wire:
    """As much of a socket as ``http.client`` needs; a socket's own timeout begins anew with every
    byte.
    """

    def __init__(self, sock: socket.socket, of: _Connection) -> None:
        self._sock = sock
        self._of = of

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(_left(self._of.deadline))
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _: str) -> io.BufferedReader:
        """Return what the response is read from."""
        return io.BufferedReader(_Reading(self._sock, self._of))

    def close(self) -> None:
        """Leave that to :meth:`_Connection.end`: there may be more of a response to read."""


class _Reading(io.RawIOBase):
    def __init__(self, sock: socket.socket, of: _Connection) -> None:
        self._sock = sock
        self._of = of

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, or wait for it until the deadline."""
        self._sock.settimeout(_left(self._of.deadline))
        return self._sock.recv_into(buffer)


def _dial(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """Connect to the first address that lets us; none may use up the time of those behind it."""
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        behind = len(found) - number
        sock = socket.socket(family, kind, protocol)
        try:
            left = _left(deadline)
            sock.settimeout(min(left, max(_LEAST_SHARE, left / (behind + 1))))
            sock.connect(address)
        except OSError:
            sock.close()
            if not behind or deadline.passed:
                raise
        else:
            return sock
    raise OSError(said("it has no address"))


def _left(deadline: Deadline) -> float:
    left = deadline.left
    if not left:
        raise TimeoutError
    return left


def _read_all(response: http.client.HTTPResponse) -> bool:
    """Read a response to its end, so that the connection can be used again; False: it cannot."""
    try:
        return len(response.read(MOST + 1)) <= MOST and not response.length
    except (OSError, http.client.HTTPException, ValueError):
        # The status has been heard, and is what counts.
        return False


def _seconds(text: str) -> float:
    """Return how long ``Retry-After`` asks to wait (RFC 9110 section 10.2.3)."""
    try:
        if text.strip().isdecimal():
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


@lru_cache(maxsize=8)
def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
