"""A DNS server on the loopback address that says what a test tells it to, over UDP and TCP."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Reply = Callable[[dns.message.Message, bool], "Sequence[bytes]"]
    """From a query, and whether it came over TCP, to the datagrams that answer it."""

SOA = "ns.example. hostmaster.example. 1 7200 900 1209600 {minimum}"


class Asked(NamedTuple):
    """A query that came."""

    name: str
    rdtype: str
    tcp: bool
    message: dns.message.Message


class Responder:
    """Answers by name and type; what it was not told of does not exist.

    A type "*" stands for all that have no answer of their own. Several answers
    to one question are given in turn, and the last of them from then on.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.asked: list[Asked] = []
        self._replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
        self._tcp, self._udp = _sockets(host, port)
        self.port: int = self._udp.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join(10)
        for sock in (self._tcp, self._udp, self._wake, self._woken):
            sock.close()

    def questions(self) -> list[tuple[str, str]]:
        """Return name and type of all that was asked."""
        return [(one.name, one.rdtype) for one in self.asked]

    # -- what it says ----------------------------------------------------------------------------

    def does(self, name: str, rdtype: str, reply: Reply) -> None:
        """Answer by calling ``reply``."""
        self._replies[name, rdtype].append(reply)

    def gives(
        self,
        name: str,
        rdtype: str,
        *records: str,
        ad: bool = False,
        ttl: int = 300,
        rcode: str = "NOERROR",
        minimum: int | None = 300,
        aliases: Sequence[tuple[str, str]] = (),
        malformed: Sequence[bytes] = (),
        change: Callable[[dns.message.Message], None] = lambda _: None,
    ) -> None:
        """Answer with ``records`` and ``malformed`` ones, behind the CNAMEs ``aliases`` (from, to).

        Without any the authority section has an SOA with ``minimum``, unless that is None.
        """

        def reply(query: dns.message.Message, tcp: bool) -> list[bytes]:
            answer = response(query, rcode, ad=ad)
            owner = name
            for alias, target in aliases:
                answer.answer.append(dns.rrset.from_text(f"{alias}.", ttl, "IN", "CNAME", target))
                owner = target.rstrip(".")
            if records or malformed:
                found = dns.rrset.from_text(f"{owner}.", ttl, "IN", rdtype, *records)
                for data in malformed:
                    found.add(dns.rdata.GenericRdata(found.rdclass, found.rdtype, data), ttl)
                answer.answer.append(found)
            elif minimum is not None and rcode in ("NOERROR", "NXDOMAIN"):
                soa = SOA.format(minimum=minimum)
                answer.authority.append(dns.rrset.from_text(".", 900, "IN", "SOA", soa))
            change(answer)
            return [answer.to_wire()]

        self.does(name, rdtype, reply)

    # -- serving ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._tcp, self._udp, self._woken):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                if self._udp in ready:
                    wire, peer = self._udp.recvfrom(65535)
                    for part in self._answer(wire, tcp=False):
                        self._udp.sendto(part, peer)
                if self._tcp in ready:
                    self._serve_connection()

    def _serve_connection(self) -> None:
        connection, _ = self._tcp.accept()
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(10)
            (length,) = struct.unpack("!H", stream.read(2))
            for part in self._answer(stream.read(length), tcp=True):
                stream.write(struct.pack("!H", len(part)) + part)

    def _answer(self, wire: bytes, *, tcp: bool) -> Sequence[bytes]:
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = question.rdtype.name
        self.asked.append(Asked(name, rdtype, tcp, query))
        replies = self._replies.get((name, rdtype)) or self._replies.get((name, "*"))
        if not replies:
            return [response(query, "NXDOMAIN").to_wire()]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply(query, tcp)


def response(
    query: dns.message.Message, rcode: str = "NOERROR", *, ad: bool = False
) -> dns.message.Message:
    """Return an answer of a recursive server that has nothing in it yet."""
    answer = dns.message.make_response(query, recursion_available=True)
    answer.set_rcode(dns.rcode.from_text(rcode))
    if ad:
        answer.flags |= dns.flags.AD
    return answer


def silence(query: dns.message.Message, tcp: bool) -> list[bytes]:
    """Say nothing."""
    return []


def _sockets(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return one that listens and one for datagrams, at one port."""
    for _ in range(50):
        tcp = socket.create_server((host, port))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp
    raise OSError(f"No port of {host} is free for both UDP and TCP")
