"""One query and its answer, over UDP or TCP, as bytes and as a message."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 65_535


class Silent(Exception):
    """The server did not answer; the text says what happened instead. Another try may help."""


def exchange(
    query: dns.message.QueryMessage, address: str, port: int, limit: float
) -> dns.message.Message:
    """Return one server's answer: over UDP or, where it does not fit, over TCP, within ``limit``
    seconds in all. Raises :class:`Silent`.

    A record of the answer that is malformed is in it as a ``GenericRdata``: that it is there is
    known, and its neighbours are none the worse.
    """
    end = time.monotonic() + limit
    answer = _over_udp(query, address, port, end)
    if not answer.flags & dns.flags.TC:
        return answer
    return _over_tcp(query, address, port, end)


def _over_udp(
    query: dns.message.QueryMessage, address: str, port: int, end: float
) -> dns.message.Message:
    """Return the answer. What does not fit the question is passed over: anybody can send it.

    The socket is a connected one, so that nobody else's answers arrive, and
    that a port without a server is known as such at once.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    came = ""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, port))
            sock.send(query.to_wire())
            while True:
                sock.settimeout(_left(end))
                try:
                    answer = _read(sock.recv(_LARGEST), query)
                except ValueError as error:
                    came = str(error)
                else:
                    return answer
    except TimeoutError as error:
        raise Silent(came or said("gave no answer")) from error
    except OSError as error:
        raise Silent(
            said("cannot be reached: %(reason)s", reason=error.strerror or error)
        ) from error


def _over_tcp(
    query: dns.message.QueryMessage, address: str, port: int, end: float
) -> dns.message.Message:
    wire = query.to_wire()
    try:
        with socket.create_connection((address, port), _left(end)) as sock:
            sock.sendall(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", _exactly(sock, 2, end))
            answer = _exactly(sock, length, end)
    except TimeoutError as error:
        raise Silent(said("has a long answer, and did not give it over TCP in time")) from error
    except (EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Silent(
            said("has a long answer, and did not give it over TCP: %(reason)s", reason=reason)
        ) from error
    try:
        return _read(answer, query)
    except ValueError as error:
        raise Silent(said("%(error)s over TCP", error=error)) from error


def _exactly(sock: socket.socket, count: int, end: float) -> bytes:
    read = b""
    while len(read) < count:
        sock.settimeout(_left(end))
        part = sock.recv(count - len(read))
        if not part:
            raise EOFError(said("the connection was closed"))
        read += part
    return read


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(wire: bytes, query: dns.message.QueryMessage) -> dns.message.Message:
    """Return the message; raise ValueError, saying why, where it is no answer to ``query``."""
    answer = _parsed(lambda: dns.message.from_wire(wire, continue_on_error=True))
    if not query.is_response(answer):
        raise ValueError(said("answered another question"))
    if answer.errors and not answer.flags & dns.flags.TC:
        _parsed(lambda: _add_malformed(answer, wire))
    return answer


def _parsed(parse: Callable[[], dns.message.Message]) -> dns.message.Message:
    try:
        return parse()
    except (dns.exception.DNSException, ValueError) as error:
        text = str(error).rstrip(".") or type(error).__name__
        raise ValueError(said("gave a malformed answer (%(text)s)", text=text)) from error


def _add_malformed(answer: dns.message.Message, wire: bytes) -> dns.message.Message:
    """Add the records of the answer section that could not be read, as they are."""
    parser = dns.wire.Parser(wire)
    *_, questions, answers, _, _ = parser.get_struct("!HHHHHH")
    for _ in range(questions):
        _name(parser)
        parser.get_bytes(4)
    for _ in range(answers):
        name = _name(parser)
        number, rdclass, ttl, length = parser.get_struct("!HHIH")
        rdtype, start = dns.rdatatype.RdataType.make(number), parser.current
        try:
            with parser.restrict_to(length):
                dns.rdata.from_wire_parser(rdclass, rdtype, parser)
        except dns.exception.DNSException:
            parser.seek(start)
            rdata = dns.rdata.GenericRdata(rdclass, rdtype, parser.get_bytes(length))
            records = answer.find_rrset(answer.answer, name, rdclass, rdtype, create=True)
            records.add(rdata, ttl)
    return answer


def _name(parser: dns.wire.Parser) -> dns.name.Name:
    name, length = dns.name.from_wire(parser.wire, parser.current)
    parser.get_bytes(length)
    return name
