"""One HTTPS request: what is taken, what is refused, and that it ends in time."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack

import pytest

from django_smtpx.mx import https, waiting
from django_smtpx.mx.answers import Answer
from django_smtpx.mx.https import HTTPSError, Request, Response, ask
from django_smtpx.mx.policy_host import PolicyHosts, Unavailable
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.testing.certificates import make_certificate
from tests.mx.web import Web, response

HOST = "mta-sts.example.com"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 86400\n"
QUICK = 0.4
"""Seconds that a request may take where the test waits for its end."""
LONG = 20.0
"""Seconds after which it has certainly not ended in time."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for the policy host."""
    return make_certificate(tmp_path_factory.mktemp("web"), HOST)


@pytest.fixture
def serve(certificate):
    """Return a function that starts a server, which ends with the test."""
    servers = []

    def start(answer, context=certificate.ssl_context):
        servers.append(Web(context, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def request(server, **values):
    """Return a request to ``server``."""
    return Request(**{"host": HOST, "path": "/file", "headers": {}, "port": server.port, **values})


class Names:
    """A resolver that knows the addresses of every host."""

    def __init__(self, *addresses, error=None):
        self.addresses_of = addresses
        self.error = error
        self.asked = []

    def addresses(self, host):
        """Return the same for each."""
        self.asked.append(host)
        if self.error is not None:
            raise self.error
        return Answer(name=host, canonical=host, records=self.addresses_of)


def fetch(server, certificate, *, names=None, timeout=LONG, ca_file=None):
    """Return what a fetch of the policy of example.com gives."""
    hosts = PolicyHosts(
        names or Names("127.0.0.1"),
        port=server.port,
        ca_file=ca_file or certificate.ca_file,
        timeout=timeout,
    )
    return hosts("example.com")


# -- what is asked and taken -----------------------------------------------------------------------


def test_a_policy_is_fetched(serve, certificate):
    """The path, the name and nothing else are those of RFC 8461 section 3.3."""
    server = serve(response(POLICY, media_type="Text/Plain; charset=utf-8"))
    names = Names("127.0.0.1")
    assert fetch(server, certificate, names=names) == POLICY
    assert names.asked == [HOST]
    first, *headers = server.asked[0].decode().split("\r\n")
    assert first == "GET /.well-known/mta-sts.txt HTTP/1.1"
    assert f"Host: {HOST}:{server.port}" in headers
    assert "Accept: text/plain" in headers


def test_a_body_is_sent(serve, certificate):
    """A POST carries its body, and the response to it is returned whatever its status."""
    server = serve(response(b"no", status="403 Forbidden", media_type=None))
    said = ask(
        request(server, method="POST", body=b"report", headers={"Content-Type": "x/y"}),
        ["127.0.0.1"],
        ca_file=certificate.ca_file,
    )
    assert said == Response(403, "", b"no")
    assert server.asked[0].startswith(b"POST /file HTTP/1.1\r\n")
    assert b"Content-Type: x/y\r\n" in server.asked[0]
    assert server.asked[0].endswith(b"\r\n\r\nreport")


def test_a_chunked_response_is_read(serve, certificate):
    """A server may not know the length beforehand."""
    said = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    server = serve(said)
    assert fetch(server, certificate) == b"abcde"


def test_the_next_address_is_taken_where_one_is_dead(serve, certificate):
    """A host with one address that nobody listens at can be reached by the other."""
    server = serve(response(POLICY))
    assert fetch(server, certificate, names=Names("127.0.0.2", "127.0.0.1")) == POLICY


def test_exactly_as_much_as_is_read_at_most(serve, certificate):
    """64 KiB are taken, and not a byte more."""
    whole = b"a" * 65536
    assert fetch(serve(response(whole)), certificate) == whole


# -- what is refused -------------------------------------------------------------------------------


def refused(server, certificate, **values):
    """Return the error of a fetch: its kind, and its words."""
    with pytest.raises(Unavailable) as caught:
        fetch(server, certificate, **values)
    return caught.value.tls_failure, str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("404 Not Found", {}),
        ("301 Moved", {"Location": "https://elsewhere.example/policy"}),
        ("302 Found", {"Location": "/policy"}),
        ("204 No Content", {}),
        ("500 Oops", {}),
    ],
)
def test_no_status_but_200_is_taken(serve, certificate, status, headers):
    """Missing or moved: nothing is followed, and nobody is asked twice."""
    server = serve(response(POLICY, status=status, **headers))
    kind, text = refused(server, certificate)
    assert kind == "sts-policy-fetch-error"
    assert text == f"{HOST} answered with the status {status[:3]}, not 200"
    assert len(server.asked) == 1


@pytest.mark.parametrize("media_type", ["text/html", "application/octet-stream", None])
def test_no_type_but_plain_text_is_taken(serve, certificate, media_type):
    """A web server that shows a page for every address has no policy."""
    kind, text = refused(serve(response(POLICY, media_type=media_type)), certificate)
    assert kind == "sts-policy-invalid"
    assert f"{media_type or ''}, not text/plain" in text


def test_more_than_is_read(serve, certificate):
    """A file that is too large is refused as a whole."""
    kind, text = refused(serve(response(b"a" * 65537)), certificate)
    assert (kind, text) == ("sts-policy-invalid", f"{HOST} sent more than 65536 bytes")


def test_a_response_without_end_is_too_large(serve, certificate):
    """Nobody waits for the end of what has none."""

    def pour(sock, _):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            sock.sendall(b"a" * 10_000)

    assert refused(serve(pour), certificate)[0] == "sts-policy-invalid"


@pytest.mark.parametrize(
    "said",
    [
        response(POLICY)[:-10],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n3\r\nab",
        b"",
        b"SMTP? 220 hello\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["cut", "cut-chunk", "nothing", "not-http", "headers"],
)
def test_what_is_no_whole_response(serve, certificate, said):
    """Half a policy could lack half of its servers."""

    def answer(sock, _):
        sock.sendall(said)
        sock.unwrap()

    assert refused(serve(answer), certificate)[0] == "sts-policy-fetch-error"


def test_an_end_that_anybody_could_have_made(serve, certificate):
    """Without a length, a connection that is cut is told from one that is closed."""
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + POLICY

    def answer(sock, _):
        sock.sendall(cut)
        socket.socket(fileno=sock.detach()).close()

    assert refused(serve(answer), certificate)[0] == "sts-policy-fetch-error"


def test_nobody_there(certificate):
    """A host without an address, or where nobody listens, is a fetch that failed."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for names in (Names(), Names("127.0.0.1"), Names("127.0.0.2", "127.0.0.1")):
        with pytest.raises(Unavailable, match=HOST) as caught:
            PolicyHosts(names, port=port, ca_file=certificate.ca_file)("example.com")
        assert caught.value.tls_failure == "sts-policy-fetch-error"


def test_a_name_server_that_does_not_answer(certificate):
    """It is the policy that cannot be had, and no mail waits for that."""
    names = Names(error=ResolveError("nobody could say"))
    with pytest.raises(Unavailable, match="nobody could say") as caught:
        PolicyHosts(names, port=1)("example.com")
    assert caught.value.tls_failure == "sts-policy-fetch-error"


# -- certificates ----------------------------------------------------------------------------------


def test_an_expired_certificate(serve, tmp_path):
    """It is refused before anything is asked, and the report can say what it was."""
    made = make_certificate(tmp_path, HOST, expired=True)
    server = serve(response(POLICY), made.ssl_context)
    kind, text = refused(server, made)
    assert kind == "sts-webpki-invalid"
    assert "certificate has expired" in text
    assert server.asked == []


def test_somebody_elses_certificate(serve, tmp_path):
    """The name is that of the policy host, and not of the domain."""
    made = make_certificate(tmp_path, "example.com", "mx.example.com")
    kind, text = refused(serve(response(POLICY), made.ssl_context), made)
    assert kind == "sts-webpki-invalid"
    assert HOST in text


def test_an_authority_that_nobody_trusts(serve, certificate, tmp_path):
    """Who signs for himself is nobody."""
    other = make_certificate(tmp_path, HOST)
    server = serve(response(POLICY), other.ssl_context)
    assert refused(server, certificate)[0] == "sts-webpki-invalid"


def test_old_tls(serve, tmp_path):
    """A server that speaks no TLS 1.2 has no policy."""
    made = make_certificate(tmp_path, HOST)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        made.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_1
    made.ssl_context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    kind, _ = refused(serve(response(POLICY), made.ssl_context), made)
    assert kind == "sts-policy-fetch-error"


# -- time ------------------------------------------------------------------------------------------


def drip(sock, _):
    """Send an endless header, a byte at a time."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        sock.sendall(b"y")
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_a_slow_server_costs_the_timeout_and_no_more(serve, certificate, kind):
    """Whatever comes, and however slowly, the clock on the wall ends it."""

    def silent(_, __):
        server.over.wait(LONG)

    server = serve(drip if kind == "drip" else silent)
    begun = time.monotonic()
    failed, text = refused(server, certificate, timeout=QUICK)
    assert time.monotonic() - begun < LONG / 2
    assert (failed, text) == ("sts-policy-fetch-error", f"{HOST} took longer than {QUICK:g} s")


def test_a_handshake_that_never_begins(certificate):
    """Who accepts the connection and says nothing is waited for as long as anybody."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        with pytest.raises(HTTPSError, match="longer than"):
            ask(
                Request(host=HOST, path="/", headers={}, port=mute.getsockname()[1]),
                ["127.0.0.1"],
                ca_file=certificate.ca_file,
                timeout=QUICK,
            )
        assert time.monotonic() - begun < LONG / 2


@pytest.fixture
def full():
    """A server whose queue takes no more connections."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(server.getsockname())
        yield server


@pytest.mark.parametrize("where", ["connect", "handshake", "response"])
def test_whoever_waits_may_end_it(serve, certificate, full, monkeypatch, where):
    """While a connection, a handshake or a response is awaited, again and again."""
    monkeypatch.setattr(waiting, "EVERY", 0.02)
    looks = []

    def look():
        looks.append(where)
        if len(looks) == 20:
            raise Enough

    def silent(_, __):
        server.over.wait(LONG)

    server = serve(silent)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ports = {"connect": full.getsockname()[1], "handshake": mute.getsockname()[1]}
        asked = Request(host=HOST, path="/", headers={}, port=ports.get(where, server.port))
        begun = time.monotonic()
        with waiting.meanwhile(look), pytest.raises(Enough):
            ask(asked, ["127.0.0.1"], ca_file=certificate.ca_file)
    assert time.monotonic() - begun < LONG
    assert bool(server.asked) == (where == "response")


class Enough(Exception):
    """What a caller ends its waiting with."""


def test_a_connection_that_nobody_takes(certificate, full):
    """It costs the time that there is, and no more."""
    asked = Request(host=HOST, path="/", headers={}, port=full.getsockname()[1])
    with pytest.raises(HTTPSError, match="longer than"):
        ask(asked, ["127.0.0.1"], ca_file=certificate.ca_file, timeout=QUICK)


def test_each_python_looks_at_certificates_alike():
    """What counts is set, and not what the Python of the day adds to it."""
    flags = https._context(None).verify_flags
    assert flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
