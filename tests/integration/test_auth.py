"""Logins with a real server: Postfix, whose AUTH is Dovecot's.

Dovecot knows channel bindings from 2.4 on, and then those of its own TLS alone, which is not the
one that a client of Postfix has: there is no -PLUS here. tests/smtp/test_login.py has it, with
TLS and scramp for a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from django_smtpx.smtp import AuthenticationError, Client, Envelope
from tests.integration.conftest import skipping
from tests.integration.postfix import Postfix, postfix_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """A Postfix whose Dovecot offers all that both sides know."""
    with skipping(), postfix_server(" ".join(MECHANISMS).lower()) as running:
        yield running


def client(server: Postfix, *, implicit: bool = False, **changes: object) -> Client:
    """Return a client that may log in."""
    options = server.options(implicit=implicit) | {"helo": "client.example.test"} | changes
    return Client(**options)  # type: ignore[arg-type]


def delivered(server: Postfix, smtp: Client, subject: str) -> None:
    """Send one mail, and see it arrive."""
    content = f"Subject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n\r\nx\r\n".encode()
    with smtp:
        (result,) = smtp.send(Envelope("a@example.test", ["b@example.test"], content))
    assert result.outcome == "sent"
    server.settle()
    assert content in [each.content for each in server.delivered()]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_mechanism(server: Postfix, mechanism: str, implicit: bool) -> None:
    """Each mechanism gets in by itself, and its mail arrives."""
    smtp = client(server, implicit=implicit, auth=[mechanism])
    delivered(server, smtp, f"{mechanism}-{implicit}")
    assert f"sasl_method={mechanism}, sasl_username={server.username}" in server.log()


def test_the_strongest(server: Postfix) -> None:
    """Left alone, it is SCRAM, with the flag of a client that could have bound the channel."""
    before = server.log().count("sasl_method=SCRAM-SHA-256,")
    delivered(server, client(server), "auto")
    assert server.log().count("sasl_method=SCRAM-SHA-256,") == before + 1


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password(server: Postfix, mechanism: str) -> None:
    """A wrong password is refused as such, once, and is nowhere on record."""
    smtp = client(server, auth=[mechanism], password="another secret")
    with pytest.raises(AuthenticationError) as caught:
        smtp.connect()
    error = caught.value
    assert (error.phase, error.command, error.code) == ("auth", "AUTH", 535)
    assert (error.enhanced_code, error.category, error.action) == ("5.7.8", "auth_failed", "hold")
    assert error.transcript.count(f"C: AUTH {mechanism}") == error.transcript.count("C: AUTH") == 1
    assert "another secret" not in error.transcript + str(error)


def test_an_unknown_user(server: Postfix) -> None:
    """Whoever is not known learns no more than that."""
    for mechanism in MECHANISMS:
        with pytest.raises(AuthenticationError) as caught:
            client(server, auth=[mechanism], username="nobody").connect()
        assert (caught.value.code, caught.value.action) == (535, "hold")


def test_no_token_here(server: Postfix) -> None:
    """A server that takes no token is told apart from one that refuses it."""
    smtp = client(server, password=None, oauth_token=lambda: "a-token")
    with pytest.raises(AuthenticationError, match="offers only") as caught:
        smtp.connect()
    assert caught.value.code is None
