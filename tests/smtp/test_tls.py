from __future__ import annotations

import os
import socket
import ssl
import struct
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from django_smtpx.smtp import certificates, tls
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.errors import TLSError
from django_smtpx.smtp.options import Security, verifies
from tests.smtp.certificates import authority as made_authority
from tests.smtp.certificates import make
from tests.smtp.certificates import server_context as made_context
from tests.smtp.talk import BYE, LOGIN, PLAIN_HELLO, Server, error_of, opening, options

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def server_with(certificate=None, **settings):
    """Return a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        certificate.configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in settings.items():
            setattr(context, name, value)
    return context


def self_made(directory, *, begin=-DAY, end=DAY, usage=ExtendedKeyUsageOID.SERVER_AUTH):
    """Make a certificate that vouches for itself; return its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example\n")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = Path(directory) / "self.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path)


def refused(context, **changes):
    """Return the error of an opening against a server with ``context``."""
    with Server(["tls", *opening(PLAIN_HELLO), "eof"], context=context) as server:
        made = options(port=server.port, security=Security.IMPLICIT, **changes)
        error = error_of(Connection.open, made)
        assert server.connections == 1
    assert type(error) is TLSError
    assert (error.category, error.action, error.temporary) == ("tls_error", "next_host", True)
    return error


# -- certificates -----


def test_wrong_address(other_context, ca_file):
    """A certificate for somebody else: both names are in the error."""
    error = refused(other_context, ca_file=ca_file)
    assert (error.phase, error.tls_failure) == ("connect", "certificate-host-mismatch")
    assert "somebody else's (expected 127.0.0.1, shown other.example, issued by " in str(error)


def test_wrong_name(server_context, ca_file):
    """A certificate for the address only does not do for a name."""
    error = refused(server_context, ca_file=ca_file, host="localhost")
    assert "(expected localhost, shown 127.0.0.1, " in str(error)


def test_many_names(authority, ca_file):
    """Of very many names some are shown."""
    names = [f"mx{number}.example" for number in range(20)]
    error = refused(server_with(authority.issue_cert(*names)), ca_file=ca_file)
    assert "shown mx0.example, " in str(error)
    assert " and 12 more, issued by" in str(error)


def test_unknown_authority(server_context):
    """A certificate that nobody vouches for does not hold, and ca_file is the mend."""
    error = refused(server_context)
    assert "its authority is not known here" in str(error)
    assert error.tls_failure == "certificate-not-trusted"
    assert "ca_file" in str(error)
    assert "ca_file" in error.transcript


def test_self_signed(tmp_path):
    """A certificate that vouches for itself says so; its names cannot break a line."""
    context = server_with()
    context.load_cert_chain(self_made(tmp_path))
    error = refused(context)
    assert "it is self-signed" in str(error)
    assert error.tls_failure == "certificate-not-trusted"
    assert "shown localhost, mx.example?, issued by mx.example?," in str(error)


def test_expired(authority, ca_file):
    """A certificate whose time is over: when that was, in UTC."""
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    made = authority.issue_cert("127.0.0.1", not_after=long_ago)
    error = refused(server_with(made), ca_file=ca_file)
    assert "it expired on 2001-01-01 00:00 UTC; by the clock here it is 20" in str(error)
    assert "until 2001-01-01 00:00 UTC)" in str(error)
    assert error.tls_failure == "certificate-expired"


def test_not_yet_valid(tmp_path):
    """A certificate whose time has not come: when it does."""
    path = self_made(tmp_path, begin=300 * DAY, end=400 * DAY)
    context = server_with()
    context.load_cert_chain(path)
    error = refused(context, ca_file=path, host="localhost")
    assert f"it is valid only from {NOW + 300 * DAY:%Y-%m-%d %H:%M} UTC" in str(error)
    assert error.tls_failure == "certificate-not-trusted"


def test_wrong_purpose(tmp_path):
    """A certificate that is not made for servers."""
    path = self_made(tmp_path, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    context = server_with()
    context.load_cert_chain(path)
    assert "not made for a server" in str(refused(context, ca_file=path))


def info(name, begin, end):
    """Return a certificate as ssl describes it."""
    return {
        "subject": ((("commonName", name),),),
        "issuer": ((("organizationName", "The Authority"),),),
        "notBefore": begin,
        "notAfter": end,
    }


FRESH = info("mx.example", "Jan  1 00:00:00 2020 GMT", "Jan  1 00:00:00 2999 GMT")
STALE = info("CA", "Jan  1 00:00:00 2001 GMT", "Jan  2 00:00:00 2002 GMT")


@pytest.mark.parametrize(
    ("code", "chain", "says"),
    [
        (10, [FRESH, STALE], "its authority's (CA) expired on 2002-01-02 00:00 UTC; by the clock"),
        (10, [FRESH], "its authority's has expired (expected mx.example, shown mx.example"),
        (10, [], "it, or its authority's, has expired (expected mx.example, shown not known)"),
        (9, [{}], "its authority's is not yet valid (expected mx.example, shown no name)"),
        (10, [{"notAfter": "?"}], "has expired"),
        (92, [FRESH], "not made as RFC 5280 wants it (said OpenSSL)"),
        (23, [FRESH], "does not hold: said OpenSSL (expected"),
        (20, [FRESH], "issued by The Authority, valid from 2020-01-01 00:00 UTC until 2999-"),
    ],
)
def test_refusals(monkeypatch, code, chain, says):
    """What is known of a refused certificate is said, also where it is little."""
    monkeypatch.setattr(certificates, "shown_chain", lambda sock: chain)
    error = SimpleNamespace(verify_code=code, verify_message="said OpenSSL.")
    assert says in certificates.refusal(error, None, "mx.example")


def test_chain_unknown():
    """Where ssl does not let one see the certificates, there are none."""
    assert certificates.shown_chain(object()) == []


# -- what a policy asks for -----

POLICY = "the MTA-STS policy of example.com (enforce)"
STARTTLS = [*opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n", "tls"]


def by_policy(context, *names, **changes):
    """Open a connection to a server that a policy wants a name of; return it, or the error, and
    the lines that the server heard.
    """
    with Server([*STARTTLS, "line", PLAIN_HELLO, "eof"], context=context) as server:
        made = options(
            host="mx.example.com", addresses=("127.0.0.1",), port=server.port, names=names,
            security=Security.STARTTLS, tls_reason=POLICY, **changes,
        )  # fmt: skip
        try:
            came = Connection.open(made)
            came.abort()
        except TLSError as error:
            came = error
    return came, [line for line in server.heard if line]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["mx.example.com"], "mx.example.com"),
        (["mx.example.com"], "*.example.com"),
        (["mx.example.com", "example.com"], "example.com"),
        (["mx.example.com", "example.com"], "*.example.com"),
        (["mx.example.com", "127.0.0.1"], "127.0.0.1"),
    ],
)
def test_any_of_the_names(authority, ca_file, names, shown):
    """A certificate may be for any of the names, be there one or several."""
    context = server_with(authority.issue_cert("a.example", shown))
    came, heard = by_policy(context, *names, ca_file=ca_file)
    assert came.facts["tls_verified_by"] == "pkix"
    assert len(heard) == 3


@pytest.mark.parametrize("names", [["mx.example.com"], ["mx.example.com", "example.com"]])
def test_none_of_the_names(authority, ca_file, names):
    """A certificate for somebody else is refused before another byte is said, and the error says
    who wants it otherwise.
    """
    context = server_with(authority.issue_cert("other.example"))
    error, heard = by_policy(context, *names, ca_file=ca_file)
    assert str(error).startswith(
        "The certificate of mx.example.com does not hold: it is somebody else's "
        f"(expected {' or '.join(names)}, shown other.example, issued by "
    )
    assert str(error).endswith(f"; TLS is asked for by {POLICY}")
    assert (error.phase, error.tls_failure) == ("starttls", "certificate-host-mismatch")
    assert heard == [b"EHLO me.example", b"STARTTLS"]


@pytest.mark.parametrize("names", [["mx.example.com"], ["mx.example.com", "example.com"]])
def test_names_and_authorities(authority, names):
    """The right name helps nobody whom no authority vouches for."""
    error, _ = by_policy(server_with(authority.issue_cert("mx.example.com")), *names)
    assert "its authority is not known here" in str(error)
    assert error.tls_failure == "certificate-not-trusted"


@pytest.mark.parametrize("names", [["localhost"], ["localhost", "example.com"]])
def test_common_names(tmp_path, names):
    """A policy wants the name among the alternative ones (RFC 8461 section 4.1); a host that is
    configured may have it as its common name alone, as ever.
    """
    made = make("localhost", ca=True)
    (tmp_path / "ca.pem").write_bytes(made.pem)
    came, _ = by_policy(made_context(made), *names, ca_file=str(tmp_path / "ca.pem"))
    assert type(came) is TLSError
    assert came.tls_failure == "certificate-host-mismatch"
    accepted(made_context(made), host="localhost", ca_file=str(tmp_path / "ca.pem"))


def test_server_name():
    """The server is told the first of the names, or the host where there are none."""
    told = []
    context = server_with()
    context.sni_callback = lambda sock, name, context: told.append(name)
    for names in ([], ["base.example", "example.com"]):
        by_policy(context, *names)
    assert told == ["mx.example.com", "base.example"]


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.OPPORTUNISTIC])
def test_no_starttls(security):
    """A server that does not offer STARTTLS: who wanted it is in the error."""
    with Server([*opening(PLAIN_HELLO), *BYE]) as server:
        made = options(port=server.port, security=security, tls_reason=POLICY)
        if security is Security.OPPORTUNISTIC:
            Connection.open(made).quit()
            return
        error = error_of(Connection.open, made)
    assert str(error) == (
        f"TLS is required, and the server does not offer STARTTLS; TLS is asked for by {POLICY}"
    )
    assert error.tls_failure == "starttls-not-supported"


def test_starttls_refused():
    """A server that refuses the command it has offered."""
    hello = opening(b"250-mx\r\n250 STARTTLS\r\n")
    with Server([*hello, "line", b"454 4.7.0 not now\r\n", *BYE]) as server:
        error = error_of(Connection.open, options(port=server.port, security=Security.STARTTLS))
    assert (error.code, error.tls_failure) == (454, "starttls-not-supported")


def test_no_tls_behind_starttls():
    """What answers a handshake with something else fails in general."""
    hello = opening(b"250-mx\r\n250 STARTTLS\r\n")
    script = [*hello, "line", b"220 go\r\n", lambda sock: sock.recv(1), b"no TLS\r\n", "eof"]
    with Server(script) as server:
        made = options(port=server.port, security=Security.STARTTLS, tls_reason=POLICY)
        error = error_of(Connection.open, made)
    assert error.tls_failure == "validation-failure"
    assert str(error).endswith(f"; TLS is asked for by {POLICY}")


def test_own_mistakes_are_nobody_elses():
    """A file of ours that cannot be read is no failure of the server's."""
    error = error_of(tls.context_for, options(ca_file="/none.pem", tls_reason=POLICY))
    assert error.tls_failure == ""
    assert POLICY not in str(error)


# -- versions, ciphers, alerts -----


def test_too_old(authority):
    """A server of TLS 1.1 is too old, and the error says so."""
    context = server_with(
        authority.issue_cert("127.0.0.1"),
        minimum_version=ssl.TLSVersion.TLSv1,
        maximum_version=ssl.TLSVersion.TLSv1_1,
    )
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert "TLS 1.1 or older alone, and 1.2 is the least" in str(refused(context, verify=False))


def test_nothing_shared(authority):
    """No cipher in common."""
    context = server_with(authority.issue_cert("127.0.0.1"), maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES256-SHA")
    assert "share no cipher" in str(refused(context, verify=False))


@pytest.fixture
def demanding_context(authority):
    """A server that wants a certificate of its authority from the client."""
    context = server_with(authority.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_REQUIRED)
    authority.configure_trust(context)
    return context


def test_client_certificate(demanding_context, ca_file, client_pem):
    """A client certificate opens the door."""
    with Server(["tls", *opening(PLAIN_HELLO), "eof"], context=demanding_context) as server:
        made = options(
            port=server.port, security=Security.IMPLICIT, ca_file=ca_file, ssl_certfile=client_pem
        )
        Connection.open(made).abort()


def test_no_client_certificate(demanding_context, ca_file):
    """With TLS 1.3 the lack of a certificate shows behind the handshake: at the greeting."""
    error = refused(demanding_context, ca_file=ca_file)
    assert error.phase == "greeting"
    assert "the server wants a client certificate: set ssl_certfile" in str(error)


def test_no_client_certificate_behind_starttls(demanding_context, ca_file):
    """Behind STARTTLS it shows at EHLO."""
    script = [*opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n", "tls"]
    with Server(script, context=demanding_context) as server:
        made = options(port=server.port, security=Security.STARTTLS, ca_file=ca_file)
        error = error_of(Connection.open, made)
    assert type(error) is TLSError
    assert (error.phase, error.command) == ("ehlo", "EHLO")
    assert "wants a client certificate" in str(error)


def test_no_client_certificate_in_tls_1_2(demanding_context, ca_file):
    """With TLS 1.2 the handshake fails for many a reason, and this is one of them."""
    demanding_context.maximum_version = ssl.TLSVersion.TLSv1_2
    error = refused(demanding_context, ca_file=ca_file)
    assert error.phase == "connect"
    assert "wants a client certificate" in str(error)


def test_foreign_client_certificate(demanding_context, ca_file, tmp_path):
    """A client certificate that the server does not trust is named as what it refused."""
    path = self_made(tmp_path, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    error = refused(demanding_context, ca_file=ca_file, ssl_certfile=path)
    assert "does not accept the client certificate in ssl_certfile" in str(error)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("TLSV1_UNRECOGNIZED_NAME", "went wrong"),
        ("TLSV1_ALERT_UNRECOGNIZED_NAME", "knows no host of this name"),
        ("SSL/TLS_ALERT_HANDSHAKE_FAILURE", "share no cipher"),
        ("DH_KEY_TOO_SMALL", "too weak"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "went wrong"),
        ("TLSV1_ALERT_UNKNOWN_CA", "went wrong"),
    ],
)
def test_meanings(reason, says):
    """OpenSSL's reasons, by whatever name it calls them."""
    error = ssl.SSLError(1, "went wrong")
    error.reason = reason
    assert says in str(tls.broken(error, options()))


def test_reset():
    """A connection that was reset was closed by the server."""
    error = tls.handshake_failure(
        ConnectionResetError(104, "reset"), None, options(), implicit=True
    )
    assert str(error).endswith("the server closed the connection (reset)")
    assert not tls.is_answer(error)


# -- contexts and their files -----


def test_contexts(ca_file, client_pem):
    """One context for one set of TLS options, of TLS 1.2 at least."""
    made = options(security=Security.IMPLICIT, ca_file=ca_file)
    one = tls.context_for(made)
    assert tls.context_for(replace(made, port=26)) is one
    assert tls.context_for(replace(made, ssl_certfile=client_pem)) is not one
    assert one.minimum_version is ssl.TLSVersion.TLSv1_2
    assert one.verify_mode is ssl.CERT_REQUIRED
    assert one.verify_flags == (ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN), (
        "the same on each Python"
    )
    assert tls.context_for(replace(made, verify=False)).verify_mode is ssl.CERT_NONE


def test_renewed_file(tmp_path):
    """A file that was replaced is read anew by the next connection."""
    path = self_made(tmp_path)
    made = options(ssl_certfile=path)
    one = tls.context_for(made)
    self_made(tmp_path)
    os.utime(path, ns=(1, 1))
    other = tls.context_for(made)
    assert other is not one
    assert tls.context_for(made) is other


def test_lenient_authorities(tmp_path):
    """An authority of a company's own need not be made to the letter of RFC 5280: without key
    identifiers, for one, it holds on each Python.
    """
    root = made_authority("The Company")
    (tmp_path / "ca.pem").write_bytes(root.pem)
    context = made_context(make("localhost", root, dns=["localhost"]))
    accepted(context, host="localhost", ca_file=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("which", ["between", "leaf"])
def test_what_stands_in_ca_file_is_trusted(tmp_path, which):
    """What ca_file names need not vouch for itself, on each Python."""
    root = made_authority("The Root")
    between = made_authority("Between", root)
    leaf = make("localhost", between, dns=["localhost"])
    (tmp_path / "ca.pem").write_bytes({"between": between, "leaf": leaf}[which].pem)
    accepted(made_context(leaf), host="localhost", ca_file=str(tmp_path / "ca.pem"))


def accepted(context, **changes):
    """Open a connection to a server with ``context``."""
    with Server(["tls", *opening(PLAIN_HELLO), "eof"], context=context) as server:
        made = options(port=server.port, security=Security.IMPLICIT, **changes)
        connection = Connection.open(made)
        connection.abort()
    assert connection.facts["tls_verified_by"] == "pkix"


@pytest.mark.parametrize("option", ["ca_file", "ssl_certfile", "ssl_keyfile"])
def test_unusable_files(client_pem, tmp_path, option):
    """A file that is not there, or holds something else, is named with its option."""
    (tmp_path / "none.pem").write_bytes(b"nothing")
    certificate = {} if option == "ca_file" else {"ssl_certfile": client_pem}
    for path in ("/does/not/exist.pem", "a\0b", str(tmp_path / "none.pem"), str(tmp_path)):
        error = error_of(tls.context_for, options(**(certificate | {option: path})))
        assert type(error) is TLSError
        assert str(error).startswith(f"{option} {path!r} is to be a PEM file with ")


def test_unusable_file_before_connecting():
    """A file that cannot be used is told before anybody is connected to."""
    made = options(host="does-not-exist.invalid", security=Security.STARTTLS, ca_file="/none.pem")
    error = error_of(Connection.open, made)
    assert type(error) is TLSError
    assert (error.phase, error.host) == ("connect", "does-not-exist.invalid")


def test_file_that_vanishes(monkeypatch, client_pem):
    """A file that goes between two looks is named, too."""
    made = options(ssl_certfile=client_pem)
    file = tls._file("ssl_certfile", client_pem)
    monkeypatch.setattr(tls, "_file", lambda option, path: path and file._replace(path="/gone"))
    assert "ssl_certfile '/gone'" in str(error_of(tls.context_for, made))


def test_encrypted_key(tmp_path, client_pem):
    """A key with a passphrase is an error that names it; nobody is asked on a terminal."""
    key = tmp_path / "key.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    made = options(ssl_certfile=client_pem, ssl_keyfile=str(key))
    assert f"in ssl_keyfile {str(key)!r} is encrypted" in str(error_of(tls.context_for, made))


def test_other_key(tmp_path, client_pem):
    """A key that is not the certificate's is named."""
    key = tmp_path / "key.pem"
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(str(key))
    error = error_of(tls.context_for, options(ssl_certfile=client_pem, ssl_keyfile=str(key)))
    assert f"in ssl_keyfile {str(key)!r} is not that of the certificate" in str(error)


def test_key_alone(client_pem):
    """A key without a certificate is an error."""
    assert "set ssl_certfile" in str(error_of(tls.context_for, options(ssl_keyfile=client_pem)))


def test_name_that_tls_cannot_say():
    """A host that is no name for TLS is an error."""
    with Server() as server:
        made = options(security=Security.IMPLICIT, host="")
        error = error_of(tls.wrap, server.listener, made)
        assert "cannot begin" in str(error)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"security": Security.NONE}, False),
        ({"security": Security.IMPLICIT}, True),
        ({"security": Security.STARTTLS, "verify": False}, False),
        ({"security": Security.OPPORTUNISTIC}, False),
        ({"security": Security.OPPORTUNISTIC, "credential": LOGIN}, True),
        (
            {"security": Security.OPPORTUNISTIC, "credential": LOGIN, "allow_plaintext_auth": True},
            False,
        ),
    ],
)
def test_verifies(changes, expected):
    """Nobody asks for a certificate without TLS, nor in opportunistic TLS without a credential."""
    assert verifies(options(**changes)) is expected


def test_a_connection_that_was_reset_before_tls_is_closed():
    """Python takes the socket over, and leaves it open when it finds that out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    ours.setblocking(False)
    number = ours.fileno()
    error_of(tls.wrap, ours, options(security=Security.IMPLICIT))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)
    ours.close()
