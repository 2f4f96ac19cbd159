"""The web server of MTA-STS policies: one for all domains, with a certificate for each."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import trustme

PATH = "/.well-known/mta-sts.txt"


def policy(mode: str, *hosts: str) -> str:
    """Return the text of a policy file (RFC 8461 section 3.2)."""
    lines = ["version: STSv1", f"mode: {mode}", "max_age: 86400"]
    return "".join(f"{line}\r\n" for line in [*lines, *(f"mx: {host}" for host in hosts)])


class PolicyServer:
    """Gives ``texts``, by the domain that the policy is of, and counts who asks."""

    def __init__(self, server: ThreadingHTTPServer, texts: Mapping[str, str]) -> None:
        self.port: int = server.server_address[1]
        self.texts = dict(texts)
        self.asked: list[str] = []
        """The domain of each request, in order."""


@contextmanager
def policy_server(
    authority: trustme.CA, address: str, texts: Mapping[str, str]
) -> Iterator[PolicyServer]:
    """Serve policies at ``address`` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            domain = self.headers.get("Host", "").partition(":")[0].removeprefix("mta-sts.")
            running.asked.append(domain)
            text = running.texts.get(domain) if self.path == PATH else None
            self.send_response(200 if text is not None else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text or "")))
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = [f"mta-sts.{domain}" for domain in texts]
    authority.issue_cert(*names).configure_cert(context)
    # The handshake is the handler's thread's, not that of all.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    running = PolicyServer(server, texts)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
