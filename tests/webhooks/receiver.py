"""A real web server that takes events, or does not, as a test says."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of the examples of Standard Webhooks' own libraries."""


class Request(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]

    @property
    def json(self):
        """Its body."""
        return json.loads(self.body)

    @property
    def event(self):
        """The event's id, which is in the headers, too."""
        return self.headers["webhook-id"]


class Receiver:
    """Has each request in ``requests``; ``answer`` is called with each and returns a status, or
    that with headers and a body.
    """

    def __init__(self):
        self.requests: list[Request] = []
        self.answer = lambda request: 200
        self.taken: list[Request] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                receiver._handle(self)

            def log_message(self, *args):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # (Whoever is killed amid a request hangs up.)
        self._server.handle_error = lambda request, client: None
        self.port = self._server.server_address[1]

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?key=secret-in-the-path"

    def _handle(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.path, headers, body, handler.client_address)
        with self._lock:
            self.requests.append(request)
        answer = self.answer(request)
        if answer is None:
            # Hang up without a word.
            handler.close_connection = True
            return
        status, more, text = answer if isinstance(answer, tuple) else (answer, {}, b"ok")
        if 200 <= status < 300:
            with self._lock:
                self.taken.append(request)
        handler.send_response(status)
        for name, value in more.items():
            handler.send_header(name, value)
        if "Content-Length" not in more:
            handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def by_delivery(self):
        """Return the types of the events that were taken, each once, by delivery, in order."""
        seen, found = set(), defaultdict(list)
        for request in self.taken:
            if request.event not in seen:
                seen.add(request.event)
                found[request.json["data"]["delivery"]].append(request.json["type"])
        return dict(found)

    def stop(self):
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving():
    """Yield a receiver that runs."""
    receiver = Receiver()
    thread = threading.Thread(
        target=receiver._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join()
