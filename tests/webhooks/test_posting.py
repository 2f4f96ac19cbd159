"""One connection to an endpoint, in front of servers that do as they should, or do not."""

from __future__ import annotations

import pickle
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate

import pytest
import trustme

from django_smtpx.webhooks import Endpoint, Poster
from django_smtpx.webhooks.posting import MOST
from tests.webhooks.receiver import receiving


def endpoint(port, **values):
    """Return an endpoint on this machine."""
    defaults = {"name": "crm", "tls": False, "host": "127.0.0.1", "port": port, "target": "/hook"}
    return Endpoint(**{**defaults, "secrets": (b"s" * 24,), "timeout": 5.0, **values})


@contextmanager
def posting(port, **values):
    """Yield a function that posts over one connection."""
    poster = Poster(endpoint(port, **values))
    try:
        yield lambda: poster.post(b"{}", {"webhook-id": "1"})
    finally:
        poster.close()


@contextmanager
def speaking(*answers, linger=False):
    """Yield the port of a server that says these bytes, one a connection, whatever it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        for answer in answers:
            peer, _ = listener.accept()
            with peer:
                asked = b""
                while not asked.endswith(b"{}"):
                    asked += peer.recv(65536)
                for part in [answer] if isinstance(answer, bytes) else answer:
                    peer.sendall(part)
                if linger:
                    stop.wait(30)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()
        thread.join(30)


def test_events_share_a_connection():
    """One handshake for many, as long as the server lets it be."""
    with receiving() as receiver, posting(receiver.port) as post:
        assert [post().status for _ in range(3)] == [200, 200, 200]
        assert len({request.client for request in receiver.requests}) == 1
        assert receiver.requests[0].path == "/hook"
        assert receiver.requests[0].headers["host"] == f"127.0.0.1:{receiver.port}"


def test_an_idle_connection_that_was_closed_is_no_failure():
    """The next event goes over a fresh one."""
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    with speaking(answer, answer) as port, posting(port) as post:
        assert [post().status, post().status] == [204, 204]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "RemoteDisconnected"),
        (b"220 mx.example.com ESMTP\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300, "HTTPException"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, "LineTooLong"),
    ],
)
def test_what_is_no_response_is_an_error_in_words(answer, said):
    """Nothing is raised, and what is kept of it is short."""
    with speaking(answer) as port, posting(port) as post:
        answer = post()
    assert answer.status == 0
    assert said in str(answer)
    assert len(str(answer)) <= 200


def test_nobody_listens():
    """A closed port is an error in words, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with posting(port) as post:
        assert "refused" in str(post())


@pytest.mark.parametrize(
    "bytes_in_time",
    [[], [b"HTTP/1.1 200 OK\r\n"]],
    ids=["silence", "half a head"],
)
def test_a_server_that_says_nothing_is_waited_for_so_long(bytes_in_time):
    """And no longer: the connection is not used again."""
    with speaking(bytes_in_time, linger=True) as port, posting(port, timeout=0.2) as post:
        assert str(post()) == "no answer within 0.2 s"


def test_a_body_that_never_ends_changes_nothing():
    """The status has been heard, and what comes behind it is read up to a bound."""
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 * MOST)
    with speaking(endless, endless) as port, posting(port) as post:
        assert [post().status, post().status] == [200, 200]


def test_redirects_are_not_followed():
    """What it says is what counts: 302."""
    with receiving() as elsewhere, receiving() as receiver, posting(receiver.port) as post:
        receiver.answer = lambda request: (302, {"Location": elsewhere.url}, b"")
        assert post().status == 302
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (lambda: "120", 120, 120),
        (lambda: formatdate(time.time() + 6000, usegmt=True), 5000, 6000),
        (lambda: formatdate(time.time() - 600, usegmt=True), 0, 0),
        (lambda: "soon", 0, 0),
        (lambda: "-5", 0, 0),
    ],
    ids=["seconds", "date", "date that is over", "words", "below zero"],
)
def test_how_long_it_wishes_to_be_left_alone(text, least, most):
    """``Retry-After`` is a number of seconds or a date."""
    with receiving() as receiver, posting(receiver.port) as post:
        receiver.answer = lambda request: (503, {"Retry-After": text()}, b"busy")
        assert least <= post().retry_after <= most


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    """Events go where the setting says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with receiving() as receiver, posting(receiver.port) as post:
        assert post().status == 200


def test_the_certificate_is_verified(tmp_path):
    """By the system's authorities, and those in ``ca_file``, and for the name."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with receiving() as receiver:
        server = receiver._server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        tls = {"tls": True, "host": "localhost"}
        with posting(receiver.port, **tls, ca_file=str(ca_file)) as post:
            assert [post().status, post().status] == [200, 200]
        with posting(receiver.port, **tls) as post:
            assert "certificate does not hold" in str(post())
        with posting(receiver.port, tls=True, ca_file=str(ca_file)) as post:
            assert "certificate does not hold" in str(post())


def test_no_repr_has_a_secret_and_none_is_pickled():
    """Neither the keys nor the path, which may be one."""
    one = endpoint(443, tls=True, host="crm.example.com", target="/hook?key=hidden")
    assert "hidden" not in repr(one)
    assert "sss" not in repr(one)
    assert one.where == "https://crm.example.com"
    with pytest.raises(TypeError):
        pickle.dumps(one)
