"""What OpenSSL makes of the same certificates and TLSA records, of which it knows by itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from django_smtpx.smtp import dane
from tests.integration.conftest import skipping
from tests.integration.tools import NotThere
from tests.smtp.certificates import DAY, authority, make, server_context

pytestmark = pytest.mark.integration

HOST = "mx.example.com"
PAST = {"begin": -9 * DAY, "end": -2 * DAY}
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
STRANGE = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.fixture
def openssl():
    """The command."""
    found = shutil.which("openssl")
    with skipping():
        if found is None:
            raise NotThere("There is no openssl command on this machine.")
    return found


def cases():
    """Give what servers show, and what records say of them: a name for each, certificates, records
    and whether that is to hold.
    """
    root = authority("root")
    mid = authority("mid", root)
    leaf = make(HOST, mid, dns=[HOST])
    strange = make("x", mid, dns=["x.example"], **PAST)
    yield "own key", [leaf, mid], [leaf.tlsa(3, 1, 1)], True
    yield "own certificate", [leaf], [leaf.tlsa(3, 0, 0)], True
    yield "own, old, and for somebody else", [strange], [strange.tlsa(3, 1, 2)], True
    yield "another's", [leaf, mid], [root.tlsa(3, 1, 1)], False
    yield "the stronger digest is another's", [leaf], [leaf.tlsa(3, 1, 1), mid.tlsa(3, 1, 2)], False
    yield "one of two kinds", [leaf], [mid.tlsa(2, 1, 1), leaf.tlsa(3, 1, 1)], True
    yield "root", [leaf, mid, root], [root.tlsa(2, 0, 1)], True
    yield "in any order", [leaf, root, mid], [root.tlsa(2, 1, 1)], True
    yield "between", [leaf, mid], [mid.tlsa(2, 1, 2)], True
    yield "root not sent", [leaf, mid], [root.tlsa(2, 0, 1)], False
    yield "root in the record", [leaf, mid], [root.tlsa(2, 0, 0)], True
    yield "its key in the record", [leaf, mid], [root.tlsa(2, 1, 0)], True
    yield "a gap", [leaf, root], [root.tlsa(2, 0, 1)], False
    yield "own certificate as authority", [leaf, mid], [leaf.tlsa(2, 0, 1)], False
    fake = authority("root")
    yield "the same name", [leaf, mid, fake], [fake.tlsa(2, 0, 1)], False
    for name, changes, holds in (
        ("other name", {"dns": ["other.example"]}, False),
        ("common name", {}, True),
        ("common name beside another", {"dns": ["other.example"]}, False),
        ("wildcard", {"dns": ["*.example.com"]}, True),
        ("too wide a wildcard", {"dns": ["*.com"]}, False),
        ("expired", {"dns": [HOST], **PAST}, False),
        ("not yet", {"dns": [HOST], "begin": DAY, "end": 2 * DAY}, False),
        ("a client's", {"dns": [HOST], "extensions": [(CLIENT, False)]}, False),
        ("critical", {"dns": [HOST], "extensions": [(STRANGE, True)]}, False),
        ("not critical", {"dns": [HOST], "extensions": [(STRANGE, False)]}, True),
    ):
        yield name, [make(HOST, root, **changes), root], [root.tlsa(2, 1, 1)], holds
    for name, issuer, holds in (
        ("no authority", make("a", root, ca=False), False),
        ("perhaps an authority", make("a", root), False),
        ("an expired authority", authority("a", root, **PAST), False),
        ("a client's authority", authority("a", root, extensions=[(CLIENT, False)]), False),
        ("no more below", authority("a", root, path_length=0), True),
    ):
        chain = [make(HOST, issuer, dns=[HOST]), issuer, root]
        yield name, chain, [root.tlsa(2, 0, 1)], holds
    short = authority("short", path_length=0)
    below = authority("below", short)
    too_long = [make(HOST, below, dns=[HOST]), below, short]
    yield "too many below", too_long, [short.tlsa(2, 0, 1)], False
    for name, holds in (("example.com", True), ("example.org", False)):
        limits = x509.NameConstraints([x509.DNSName(name)], None)
        limited = authority("limited", extensions=[(limits, True)])
        chain = [make(HOST, limited, dns=[HOST]), limited]
        yield f"limited to {name}", chain, [limited.tlsa(2, 0, 1)], holds


def by_openssl(command, chain, records):
    """Return whether OpenSSL's own client takes a server for the right one."""
    context = server_context(*chain)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def serve():
            connection, _ = listener.accept()
            connection.settimeout(20)
            with (
                suppress(OSError),
                connection,
                context.wrap_socket(connection, server_side=True) as secured,
            ):
                secured.recv(1)

        server = threading.Thread(target=serve)
        server.start()
        options = ["-brief", "-verify_return_error", "-dane_ee_no_namechecks"]
        for record in records:
            text = f"{record.usage} {record.selector} {record.mtype} {record.data.hex()}"
            options += ["-dane_tlsa_rrdata", text]
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        done = subprocess.run(
            [command, "s_client", "-connect", place, "-dane_tlsa_domain", HOST, *options],
            input=b"", capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        server.join(30)
    said = (done.stdout + done.stderr).decode()
    assert ("Verification: OK" in said) != ("verify error" in said), said
    return "Verification: OK" in said


def by_us(chain, records):
    """Return whether we take it for the right one."""
    try:
        dane.verify([each.der for each in chain], records, [HOST], now=time.time())
    except dane.Refused:
        return False
    return True


def test_the_same_verdicts(openssl):
    """OpenSSL and this package judge alike, and as it is to be."""
    all_of_them = list(cases())
    expected = {name: holds for name, _, _, holds in all_of_them}
    assert len(expected) == len(all_of_them)
    ours = {name: by_us(chain, records) for name, chain, records, _ in all_of_them}
    theirs = {name: by_openssl(openssl, chain, records) for name, chain, records, _ in all_of_them}
    assert ours == expected
    assert theirs == expected
