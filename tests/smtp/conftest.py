from __future__ import annotations

import ssl

import pytest
import trustme

from django_smtpx.smtp import probe


@pytest.fixture(autouse=True)
def _nothing_found():
    """Begin and end with no probe's finding."""
    probe.findings.forget()
    yield
    probe.findings.forget()


@pytest.fixture(scope="session")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    """The authority's certificate in a file."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def client_pem(authority, tmp_path_factory):
    """A client certificate with its key in a file."""
    path = tmp_path_factory.mktemp("tls") / "client.pem"
    authority.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(
        str(path)
    )
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority):
    """A TLS context for a server at 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def other_context(authority):
    """A TLS context for a server that is somebody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    return context
