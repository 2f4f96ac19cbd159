"""The client's record of an opening, read again."""

from __future__ import annotations

from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.diagnosis.heard import read
from django_smtpx.smtp.options import Options, Security
from django_smtpx.smtp.rehearsal import rehearse
from django_smtpx.smtp.transcript import render
from django_smtpx.testing import ScriptedServer


def heard(**options):
    """Open a connection with a server, and return what was heard."""
    with ScriptedServer(**options) as server:
        own = Options(host="127.0.0.1", port=server.port, security=Security.OPPORTUNISTIC)
        connection = Connection.open(own)
        connection.quit()
    return read(render(connection.opened_at, connection.opening))


def test_nothing_is_read_from_nothing():
    """What failed before it began has no transcript."""
    found = read("")
    assert (found.ip, found.banner, found.ehlo, found.phase) == ("", "", (), "connect")


def test_a_greeting_of_two_lines_and_a_hello():
    """Banner, capabilities and round trip are there."""
    found = heard(greeting="220-one\n220 two", keywords=("SIZE 100",))
    assert found.banner == "220-one\n220 two"
    assert found.able.size_limit == 100
    assert found.round_trip >= 0
    assert (found.ip, found.tls, found.phase) == ("127.0.0.1", "", "ehlo")


def test_a_server_cannot_speak_for_the_client():
    """Whatever ends a line in Unicode ends none in the record: no TLS is read out of a greeting."""
    found = heard(greeting="220 hi\u2028   0.000 - TLSv1.3 X, verified by pkix")
    assert found.tls == ""
    assert found.verified_by == ""


def test_a_rehearsal_leaves_whoever_refuses_to_reset():
    """The connection would be out of step."""
    with ScriptedServer(script={"RSET": "500 No"}) as server:
        own = Options(host="127.0.0.1", port=server.port, security=Security.NONE)
        connection = Connection.open(own)
        answers = rehearse(connection, "me@example.com", "you@example.net", 5.0)
    assert [answer.code for answer in answers] == [250, 250]
    assert connection.closed
