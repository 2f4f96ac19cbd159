from __future__ import annotations

import smtplib

import pytest

from django_smtpx.smtp import Client, Envelope, RecipientsRefused, Rule, SMTPError
from django_smtpx.smtp.options import Credential, Security
from django_smtpx.testing import ScriptedServer
from tests.smtp.talk import BYE, Server, accepted, envelope, opening

DONE = [*accepted(), b"250 ok\r\n"]


def client(server, **changes):
    """Return a client for ``server``."""
    return Client("127.0.0.1", server.port, helo="me.example", timeout=5, **changes)


def test_send():
    """A message goes out, and each recipient has a result."""
    with Server([*opening(), *DONE, *BYE]) as server, client(server) as smtp:
        (result,) = smtp.send(envelope())
        assert (result.outcome, result.code) == ("sent", 250)
        assert smtp.session.usable
        assert repr(smtp) == f"<Client 127.0.0.1:{server.port} opportunistic>"


def test_refused():
    """No recipient accepted: the error has them all, as smtplib's code expects it."""
    script = [
        *opening(),
        4,
        b"250 ok\r\n550 5.1.1 no\r\n450 later\r\n554 none\r\n",
        "line",
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script) as server, client(server) as smtp:
        with pytest.raises(smtplib.SMTPException) as caught:
            smtp.send(envelope("a@b", "c@d"))
        assert type(caught.value) is RecipientsRefused
        assert isinstance(caught.value, OSError)
        assert [result.code for result in caught.value.results] == [550, 450]
        assert caught.value.transcript


def test_some_refused():
    """Some refused is not all refused."""
    script = [
        *opening(),
        4,
        b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n",
        "content",
        b"250 ok\r\n",
        *BYE,
    ]
    with Server(script) as server, client(server) as smtp:
        assert [r.outcome for r in smtp.send(envelope("a@b", "c@d"))] == ["failed", "sent"]


def test_bad_address():
    """An address that cannot be written is the caller's error; nothing connects."""
    with pytest.raises(ValueError):
        Client("192.0.2.1").send(Envelope("a@b", ["c@d\r\nDATA"], b""))


def test_batch_over_two_connections():
    """A server that hangs up between two messages costs one connection, and no message."""
    with Server([*opening(), *DONE], [*opening(), *DONE, *BYE]) as server:
        smtp = client(server)
        found = list(smtp.send_all([envelope("a@b"), envelope("c@d")]))
        smtp.close()
    assert [outcome.results[0].outcome for outcome in found] == ["sent", "sent"]
    assert server.connections == 2


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_message_amid_others(pipelining):
    """What is sent between two outcomes has a connection, and a result, of its own."""
    found = []
    with ScriptedServer() as server:
        with client(server, pipelining=pipelining) as smtp:
            for outcome in smtp.send_all([envelope("a@b"), envelope("c@d"), envelope("e@f")]):
                found += [*outcome.results, *smtp.send(envelope("n@n"))]
        assert [result.recipient for result in found] == ["a@b", "n@n", "c@d", "n@n", "e@f", "n@n"]
        assert {result.outcome for result in found} == {"sent"}
        assert len(server.messages) == 6
        assert {each.session for each in server.messages} == {1, 2}


def test_a_message_from_the_source_of_others():
    """The iterable of envelopes may use the client, too."""

    def source():
        for name in ("a@b", "c@d"):
            smtp.send(envelope("n@n"))
            yield envelope(name)

    with ScriptedServer() as server, client(server) as smtp:
        assert [o.results[0].outcome for o in smtp.send_all(source())] == ["sent", "sent"]
        assert len(server.messages) == 4


def test_no_mail_no_connection():
    """Nothing to send is nothing to do."""
    smtp = Client("192.0.2.1")
    assert list(smtp.send_all([])) == []
    assert smtp.session is None
    smtp.close()


def test_no_connection():
    """A connection that cannot be made raises."""
    with Server() as server:
        port = server.port
    with pytest.raises(SMTPError):
        Client("127.0.0.1", port).connect()


@pytest.mark.parametrize(
    ("window", "outcome", "heard"), [(1, "failed", b"RSET"), (4, "unknown", b"BDAT 26 LAST")]
)
def test_refused_and_taken(window, outcome, heard):
    """No content follows a refused sender; where it went ahead, and is said to be taken, nobody
    knows.
    """
    hello = b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
    script = [*opening(hello), 2, b"550 5.7.1 no\r\n250 ok\r\n", "line", b"250 2.0.0 ok\r\n"]
    with Server([*script, "eof"]) as server:
        smtp = client(server, chunking_window=window)
        (sent,) = smtp.send_all([envelope()])
        smtp.close()
        assert [result.outcome for result in sent.results] == [outcome]
        assert server.heard[3] == heard


def test_split():
    """What a server puts off for its number goes at once, no more of them than it took before."""
    script = [
        *opening(),
        5,
        b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n354 go\r\n",
        "content",
        3,
        b"250 first\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        3,
        b"250 second\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        3,
        b"250 third\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "content",
        b"250 fourth\r\n",
        *BYE,
    ]
    with Server(script) as server, client(server, transcript="never") as smtp:
        many, one = list(smtp.send_all([envelope("a@b", "c@d", "e@f"), envelope("g@h")]))
    assert [r.reply for r in many.results] == ["first", "third", "fourth"]
    assert [r.recipient for r in many.results] == ["a@b", "c@d", "e@f"]
    assert [r.reply for r in one.results] == ["second"]


def test_split_that_gets_nowhere():
    """A server that takes nobody is not asked for ever."""
    script = [
        *opening(),
        3,
        b"250 ok\r\n452 4.5.3 too many\r\n554 none\r\n",
        "line",
        b"250 ok\r\n",
        *BYE,
    ]
    with (
        Server(script) as server,
        client(server) as smtp,
        pytest.raises(RecipientsRefused) as caught,
    ):
        smtp.send(envelope())
    assert caught.value.action == "split"


@pytest.mark.parametrize(
    ("arguments", "port", "security"),
    [
        ({}, 25, Security.OPPORTUNISTIC),
        ({"username": "u", "password": "p"}, 587, Security.STARTTLS),
        ({"security": "implicit"}, 465, Security.IMPLICIT),
        ({"port": 465}, 465, Security.IMPLICIT),
        ({"username": "u", "allow_plaintext_auth": True}, 25, Security.OPPORTUNISTIC),
        ({"security": "none"}, 25, Security.NONE),
    ],
)
def test_arguments(arguments, port, security):
    """Port and security follow from each other and from the credentials."""
    smtp = Client("mx.example", **arguments)
    assert (smtp.options.port, smtp.options.security) == (port, security)
    assert smtp.options.credential == (
        Credential("u", arguments.get("password", "")) if "username" in arguments else None
    )
    assert "password" not in repr(smtp.options)


def unverified(server_context, *, then):
    """Return a server that shows its certificate twice, and then plays a script."""
    hello = b"250-mx\r\n250 STARTTLS\r\n"
    upgrade = [*opening(hello), "line", b"220 go\r\n", "tls"]
    return Server([*upgrade, "eof"], then(upgrade), context=server_context)


def test_stopped_while_it_says_goodbye(monkeypatch):
    """An exception from outside keeps no connection open."""

    def stop(*_):
        raise KeyboardInterrupt

    with Server([*opening(), *DONE, "line", "eof"]) as server:
        smtp = client(server)
        connection = smtp.connect()._connection
        smtp.send(envelope())
        monkeypatch.setattr(connection.pump, "await_reply", stop)
        with pytest.raises(KeyboardInterrupt):
            smtp.close()
        assert connection.closed


def test_tls_not_required(other_context, ca_file):
    """With TLS-Required: No a message goes over TLS that does not verify; the next one does not."""
    optional = envelope(content=b"Subject: x\r\ntls-required:  NO\r\n\r\nx\r\n")

    def then(upgrade):
        return [*upgrade, "line", b"250 mx\r\n", "line", b"250 ok\r\n", "line", b"250 ok\r\n",
                "line", b"354 go\r\n", "content", b"250 taken\r\n", *BYE]  # fmt: skip

    with unverified(other_context, then=then) as server:
        smtp = client(server, security="starttls", ca_file=ca_file)
        outcomes = smtp.send_all([optional, envelope()])
        assert next(outcomes).results[0].outcome == "sent"
        with pytest.raises(SMTPError):
            next(outcomes)
        smtp.close()


def test_tls_not_required_and_stopped(other_context, ca_file):
    """The connection of one such message is closed when nobody asks for the next outcome."""
    optional = envelope(content=b"TLS-Required: No\r\n\r\nx\r\n")

    def then(upgrade):
        return [*upgrade, "line", b"250 mx\r\n", "line", b"250 ok\r\n", "line", b"250 ok\r\n",
                "line", b"354 go\r\n", "content", b"250 taken\r\n", *BYE]  # fmt: skip

    with unverified(other_context, then=then) as server:
        smtp = client(server, security="starttls", ca_file=ca_file)
        outcomes = smtp.send_all([optional, optional])
        next(outcomes)
        outcomes.close()
        smtp.close()
    assert server.heard[-1] == b"QUIT"


@pytest.mark.parametrize("changes", [{}, {"username": "u", "password": "p"}])
def test_tls_stays_required(other_context, ca_file, changes):
    """Without the header, or with a login, nothing goes over TLS that does not verify."""
    text = b"TLS-Required: No\r\n\r\nx\r\n" if changes else b"Subject: TLS-Required: No\r\n\r\n"
    with unverified(other_context, then=lambda upgrade: upgrade) as server:
        smtp = client(server, security="starttls", ca_file=ca_file, **changes)
        with pytest.raises(SMTPError, match="certificate"):
            smtp.send(envelope(content=text))
        assert server.connections == 1
        smtp.close()


def test_limits():
    """A server's limits of recipients and of transactions are kept, in linear time."""
    hello = "250 mx\nPIPELINING\nLIMITS RCPTMAX=100 MAILMAX=7"
    with (
        ScriptedServer({"EHLO": hello}, rcpt_limit=100) as server,
        client(server) as smtp,
    ):
        names = [f"{number}@example.net" for number in range(1000)]
        results = smtp.send(envelope(*names))
        assert [result.recipient for result in results] == names
        assert {result.outcome for result in results} == {"sent"}
        assert [len(each.recipients) for each in server.messages] == [100] * 10
        assert [each.session for each in server.messages] == [1] * 7 + [2] * 3


def test_unannounced_limit():
    """What a server takes at once is learned from its first 452."""
    with ScriptedServer(rcpt_limit=30) as server, client(server) as smtp:
        names = [f"{number}@example.net" for number in range(100)]
        results = smtp.send(envelope(*names))
        (session,) = server.sessions
        commands = [each for each in session.commands if each.verb == "RCPT"]
    assert {result.outcome for result in results} == {"sent"}
    assert len(commands) == 100 + 70


@pytest.mark.parametrize("window", [1, 3])
def test_a_source_that_raises(window):
    """What it gave before is sent and has its outcome; then comes what it raised."""

    def source():
        yield envelope("a@example.net")
        yield envelope("b@example.net")
        raise LookupError("no more")

    with (
        ScriptedServer(chunking=True) as server,
        client(server, chunking_window=window) as smtp,
    ):
        found = []
        with pytest.raises(LookupError, match="no more"):
            found.extend(smtp.send_all(source()))
        assert smtp.session.usable
        assert len(server.messages) == 2
        for outcome in smtp.send_all(iter([envelope()])):
            assert outcome.results[0].outcome == "sent"


def test_a_source_that_raises_at_once():
    """With nothing to send, nothing is connected to."""

    def source():
        raise LookupError
        yield

    smtp = Client("192.0.2.1")
    with pytest.raises(LookupError):
        list(smtp.send_all(source()))
    assert smtp.session is None


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"chunking_window": 0}, "chunking_window must be 1 or more"),
        ({"auth": ["PLAIN", "PLANE"]}, "auth names 'PLANE'"),
        ({"security": "tls"}, "'tls'"),
    ],
)
def test_bad_arguments(wrong, word):
    """What could never work is refused where it is written, by its name."""
    with pytest.raises(ValueError, match=word):
        Client("192.0.2.1", **wrong)


def test_rules_of_ones_own():
    """The client judges by the rules that it is given, first, and knows whose server it is."""
    busy = Rule(id="mine", category="server_busy", action="retry", text="relay")
    with ScriptedServer({"RCPT": "550 5.7.1 Unable to relay"}) as server:
        for given, expected in (
            ({}, ("text-relay-denied", "hold")),
            ({"relay": False}, ("text-relay-denied-mx", "fail")),
            ({"rules": [busy]}, ("mine", "retry")),
        ):
            with Client(server.host, server.port, security="none", **given) as client:
                with pytest.raises(RecipientsRefused) as refused:
                    client.send(Envelope("a@example.com", ["b@example.net"], b"Subject: x\r\n\r\n"))
                assert (refused.value.rule, refused.value.action) == expected
