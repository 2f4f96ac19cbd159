"""One HTTPS request, with the server's certificate verified, bounded in time and in size.

The addresses are the caller's, so that the names are asked of the same resolver as the rest of the
DNS. No redirect is followed, nothing is cached, no proxy is used and no header of a response is
obeyed: what comes back is what that server said.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import select
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django_smtpx.mx import waiting
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.wording import said
from django_smtpx.smtp.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT = 443
TIMEOUT = 60.0
"""Seconds that a request may take in all (RFC 8461 section 3.3 suggests a minute)."""

MOST = 64 * 1024
"""Bytes of a response that are read (RFC 8461 section 3.3 suggests 64 KB)."""

_LEAST_SHARE = 1.0
_VERIFY_FLAGS = (
    ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
)
"""Set, not added, as for servers of mail: 3.13 has other defaults than the Pythons before it."""


class HTTPSError(Exception):
    """No response could be had; ``certificate`` says that it is since the server showed none that
    holds, and ``too_large`` that there was more of it than is read.
    """

    def __init__(self, text: str, *, certificate: bool = False, too_large: bool = False) -> None:
        super().__init__(text)
        self.certificate = certificate
        self.too_large = too_large


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask of ``host``, whose name the certificate has to be for."""

    host: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str]
    body: bytes = b""
    port: int = PORT


@dataclass(frozen=True, slots=True)
class Response:
    """What the server said; ``media_type`` is in lower case and without its parameters."""

    status: int
    media_type: str
    body: bytes


def ask(
    request: Request,
    addresses: Sequence[str],
    *,
    ca_file: str | None = None,
    timeout: float = TIMEOUT,
    most: int = MOST,
) -> Response:
    """Send ``request`` to the first of ``addresses`` that can be connected to.

    ``timeout`` bounds all of it by the clock on the wall, whatever comes meanwhile. ``ca_file``
    holds authorities that are trusted besides the default ones. Raises :class:`HTTPSError`.
    """
    deadline = Deadline(timeout)
    if not addresses:
        raise HTTPSError(said("%(host)s has no address", host=request.host))
    try:
        sock = _connect(request, addresses, _context(ca_file), deadline)
        with sock:
            return _converse(request, _Wire(sock, deadline), most)
    except ssl.SSLCertVerificationError as error:
        raise HTTPSError(
            said(
                "the certificate of %(host)s does not hold: %(reason)s",
                host=request.host,
                reason=error.verify_message,
            ),
            certificate=True,
        ) from error
    except TimeoutError as error:
        raise HTTPSError(
            said(
                "%(host)s took longer than %(seconds)s s", host=request.host, seconds=f"{timeout:g}"
            )
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise HTTPSError(
            said("%(host)s gave no valid response: %(reason)s", host=request.host, reason=reason)
        ) from error


def _connect(
    request: Request, addresses: Sequence[str], context: ssl.SSLContext, deadline: Deadline
) -> ssl.SSLSocket:
    """Return a connection whose handshake is done."""
    plain = _reach(request.port, addresses, deadline)
    try:
        # An end without a close_notify could be anybody's, and what came before it be cut short.
        sock = wrapped(
            context,
            plain,
            server_hostname=request.host,
            suppress_ragged_eofs=False,
            do_handshake_on_connect=False,
        )
    except BaseException:
        plain.close()
        raise
    try:
        while True:
            sock.settimeout(_step(deadline))
            try:
                sock.do_handshake()
            except TimeoutError:
                continue
            return sock
    except BaseException:
        sock.close()
        raise


def _reach(port: int, addresses: Sequence[str], deadline: Deadline) -> socket.socket:
    """Connect to the first that lets us; none may use up the time of those behind it."""
    *others, last = addresses
    for behind, address in zip(range(len(others), 0, -1), others, strict=True):
        share = max(_LEAST_SHARE, deadline.left / (behind + 1))
        try:
            return _dial(address, port, Deadline(min(share, _left(deadline))))
        except OSError:
            if deadline.passed:
                raise
    return _dial(last, port, deadline)


def _dial(address: str, port: int, deadline: Deadline) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            _await_connection(sock, deadline)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _await_connection(sock: socket.socket, deadline: Deadline) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while not poll.poll(_step(deadline) * 1000):
        pass


def _converse(request: Request, wire: _Wire, most: int) -> Response:
    connection = http.client.HTTPConnection(request.host, request.port)
    connection.sock = wire
    headers = {"User-Agent": "django-smtpx", "Connection": "close", **request.headers}
    connection.request(request.method, request.path, request.body or None, headers)
    with connection.getresponse() as response:
        body = response.read(most + 1)
        if len(body) > most:
            raise HTTPSError(
                said("%(host)s sent more than %(most)s bytes", host=request.host, most=most),
                too_large=True,
            )
        if response.length:
            raise HTTPSError(
                said(
                    "%(host)s ended its response %(length)s bytes early",
                    host=request.host,
                    length=response.length,
                )
            )
        media_type = str(response.headers.get("Content-Type", ""))
        return Response(response.status, media_type.partition(";")[0].strip().lower(), body)


class _Wire:
    """As much of a socket as ``http.client`` needs, with one deadline over all that it does.

    A socket's own timeout begins anew with every byte.
    """

    def __init__(self, sock: ssl.SSLSocket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(_left(self._deadline))
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _: str) -> io.BufferedReader:
        """Return what the response is read from."""
        return io.BufferedReader(_Reading(self._sock, self._deadline))

    def close(self) -> None:
        """Leave that to whoever has made the socket."""


class _Reading(io.RawIOBase):
    def __init__(self, sock: ssl.SSLSocket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, or wait for it until the deadline."""
        while True:
            self._sock.settimeout(_step(self._deadline))
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                continue


def _step(deadline: Deadline) -> float:
    """Let the caller see to what it holds, and return for how long to wait before the next time.

    Raises TimeoutError at the deadline.
    """
    waiting.look()
    return min(waiting.EVERY, _left(deadline))


def _left(deadline: Deadline) -> float:
    left = deadline.left
    if not left:
        raise TimeoutError
    return left


@lru_cache(maxsize=4)
def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = _VERIFY_FLAGS
    # Some Pythons let OpenSSL take a connection that is cut for one that was closed.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    # RFC 8461 section 3.3: a DNS-ID, and never the subject's common name.
    context.hostname_checks_common_name = False
    return context
