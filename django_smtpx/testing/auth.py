"""The server's side of AUTH: what a scripted server asks for, and whom it lets in (RFC 4954)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.bindings import server_end_point

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Mapping, Sequence

    Steps = Generator[bytes, bytes, bool]
    """A mechanism: it gives challenges, is sent the client's answers, and returns whether the
    user may come in. The first challenge is not said where the client has begun by itself.
    """

AUTH = ("PLAIN", "LOGIN")
"""The mechanisms that a server with users offers."""
CHANNEL_BINDINGS = ("tls-unique", "tls-server-end-point")
"""The channel bindings that a server knows (RFC 5929)."""


@dataclass(slots=True)
class Place:
    """What a mechanism has to know; ``user`` is who the client says it is."""

    users: Mapping[str, str] = field(repr=False)
    offered: Sequence[str]
    sock: socket.socket
    context: ssl.SSLContext | None
    known_bindings: Sequence[str] = CHANNEL_BINDINGS
    user: str = ""

    def knows(self, secret: str) -> bool:
        """Whether ``secret`` is that of ``user``."""
        return self.users.get(self.user) == secret

    def bindings(self) -> dict[str, bytes]:
        """Return the channel bindings of the connection."""
        sock, found = self.sock, {}
        if isinstance(sock, ssl.SSLSocket) and self.context is not None:
            if sock.version() != "TLSv1.3":
                found["tls-unique"] = sock.get_channel_binding("tls-unique") or b""
            found["tls-server-end-point"] = server_end_point(own_certificate(self.context))
        return {name: data for name, data in found.items() if data and name in self.known_bindings}


class Exchange:
    """One AUTH command and what follows it; gives the replies as code, enhanced code and text."""

    def __init__(self, mechanism: str, place: Place) -> None:
        self.place = place
        steps = _MECHANISMS.get(mechanism)
        known = steps is not None and mechanism in place.offered
        self._steps: Steps | None = steps(mechanism, place) if steps and known else None

    def begin(self, initial: str) -> tuple[str, str, str]:
        """Return the reply to AUTH, which may have brought an initial response."""
        if self._steps is None:
            return "504", "5.5.4", "Unrecognized mechanism"
        try:
            challenge = next(self._steps)
        except StopIteration:
            return self._end(let_in=False)
        return self.answer(initial) if initial else _challenge(challenge)

    def answer(self, line: str) -> tuple[str, str, str]:
        """Return the reply to a line of the client's."""
        if line == "*":
            return "501", "5.7.0", "Cancelled"
        try:
            response = b"" if line == "=" else base64.b64decode(line.encode(), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return "501", "5.5.2", "Cannot decode"
        if self._steps is None:
            return self._end(let_in=False)
        try:
            return _challenge(self._steps.send(response))
        except StopIteration as end:
            return self._end(let_in=bool(end.value))
        except UnicodeDecodeError:
            return self._end(let_in=False)

    def _end(self, *, let_in: bool) -> tuple[str, str, str]:
        self._steps = None
        if let_in:
            return "235", "2.7.0", "Authentication successful"
        return "535", "5.7.8", "Authentication credentials invalid"


def _challenge(data: bytes) -> tuple[str, str, str]:
    return "334", "", base64.b64encode(data).decode("ascii")


# -- mechanisms ----------------------------------------------------------------------------------


def _plain(_: str, place: Place) -> Steps:
    parts = (yield b"").decode().split("\0")
    if len(parts) != 3:
        return False
    place.user = parts[1]
    return place.knows(parts[2])


def _login(_: str, place: Place) -> Steps:
    place.user = (yield b"Username:").decode()
    return place.knows((yield b"Password:").decode())


def _cram_md5(_: str, place: Place) -> Steps:
    asked = b"<1896.697170952@scripted.example>"
    place.user, _, digest = (yield asked).decode().rpartition(" ")
    key = place.users.get(place.user, "").encode()
    expected = hmac.new(key, asked, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return place.user in place.users and hmac.compare_digest(digest, expected)


def _external(_: str, place: Place) -> Steps:
    place.user = (yield b"").decode()
    sock = place.sock
    shown: Any = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    if not shown:
        return False
    names = [value for kind, value in shown.get("subjectAltName", ()) if kind == "email"]
    place.user = place.user or next(iter(names), "")
    return place.user in names


def _xoauth2(_: str, place: Place) -> Steps:
    fields = (yield b"").decode().split("\1")
    place.user = fields[0].removeprefix("user=")
    return (yield from _bearer(place, fields))


def _oauthbearer(_: str, place: Place) -> Steps:
    header, *fields = (yield b"").decode().split("\1")
    name = header.split(",")[1].removeprefix("a=") if header.count(",") == 2 else ""
    place.user = name.replace("=2C", ",").replace("=3D", "=")
    return (yield from _bearer(place, fields))


def _bearer(place: Place, fields: Sequence[str]) -> Steps:
    tokens = [each.removeprefix("auth=Bearer ") for each in fields if each.startswith("auth=")]
    if len(tokens) == 1 and place.knows(tokens[0]):
        return True
    # Whatever the client says to that (RFC 7628 section 3.2.3).
    yield json.dumps({"status": "401", "schemes": "bearer"}).encode()
    return False


def _scram(name: str, place: Place) -> Steps:
    from scramp import ScramException, ScramMechanism

    first = (yield b"").decode()
    flag = first.partition(",")[0]
    wanted = flag.partition("=")[2]
    bindings = place.bindings()
    if wanted and wanted not in bindings:
        yield b"e=unsupported-channel-binding-type"
        return False
    bound = wanted or next(iter(bindings), "")
    supports = name.endswith("-PLUS") or f"{name}-PLUS" in place.offered
    if bool(wanted) != name.endswith("-PLUS"):
        return False
    mechanism = ScramMechanism(name)

    def stored(user: str) -> Any:
        place.user = user
        password = place.users.get(user)
        return None if password is None else mechanism.make_auth_info(password)

    server = mechanism.make_server(
        stored, channel_binding=(bound, bindings[bound]) if bound and supports else None
    )
    try:
        server.set_client_first(first)
        final = (yield server.get_server_first().encode()).decode()
        server.set_client_final(final)
    except (ScramException, LookupError, TypeError, ValueError) as error:
        reason = str(getattr(error, "server_error", None) and server.get_server_final())
        if "binding" not in reason:
            return False
    else:
        yield server.get_server_final().encode()
        return True
    yield reason.encode()
    return False


_MECHANISMS: dict[str, Callable[[str, Place], Steps]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "EXTERNAL": _external,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
    **{f"SCRAM-SHA-{size}{plus}": _scram for size in ("1", "256", "512") for plus in ("", "-PLUS")},
}


@lru_cache(maxsize=16)
def own_certificate(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a server-side context shows, in DER; b"" where it shows none."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            break
    try:
        return client.getpeercert(binary_form=True) or b""
    except ValueError:
        return b""
