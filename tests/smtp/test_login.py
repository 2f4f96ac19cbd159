"""Logins over real sockets, against a scripted server that keeps to the mechanisms' rules."""

from __future__ import annotations

import base64
import ssl
import threading
from contextlib import contextmanager

import pytest

from django_smtpx.smtp import (
    AuthenticationError,
    Client,
    Envelope,
    ServerDisconnected,
    SMTPError,
    login,
)
from django_smtpx.testing import Close, Reply, ScriptedServer
from tests.smtp.talk import CONTENT, error_of

USER, PASSWORD, TOKEN = "u=ser,1@example.com", "pa55-wörd!", "ya29.t0ken-of-the-user"
SCRAM = [f"SCRAM-SHA-{size}" for size in ("1", "256", "512")]
PLUS = [f"{name}-PLUS" for name in SCRAM]
ALL = (*PLUS, *SCRAM, "CRAM-MD5", "PLAIN", "LOGIN")


@contextmanager
def serving(context=None, *, auth=ALL, users=None, **more):
    """Run a server that lets nobody send without a login."""
    users = {USER: PASSWORD} if users is None else users
    with ScriptedServer(
        ssl_context=context, users=users, auth=auth, require_auth=True, **more
    ) as server:
        yield server


def client(server, ca_file=None, **more):
    """Return a client for ``server``."""
    if "oauth_token" not in more:
        more = {"password": PASSWORD, **more}
    more.setdefault("allow_plaintext_auth", server.ssl_context is None)
    return Client(
        server.host,
        server.port,
        username=USER,
        ca_file=ca_file,
        helo="me.example",
        timeout=5,
        **more,
    )


def send(smtp):
    """Send one message."""
    with smtp:
        return smtp.send(Envelope("me@example.com", ["you@example.net"], CONTENT))


def mechanisms(server):
    """Return what was said with AUTH in each session."""
    return [
        [command.arg.partition(" ")[0] for command in session.commands if command.verb == "AUTH"]
        for session in server.sessions
    ]


def no_secret_in(*texts, secrets=(PASSWORD, TOKEN)):
    """Check that no text shows a secret."""
    for text in texts:
        assert not [secret for secret in secrets if secret in str(text)], text


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(login, "_unbound", {})


@pytest.fixture
def older_context(authority):
    """A TLS context for a server that stops at TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("name", [*SCRAM, "CRAM-MD5", "PLAIN", "LOGIN"])
def test_each_mechanism(name):
    """Each mechanism gets in by itself, and nothing that it said of the password is on record."""
    refusing = serving(auth=[name], script={"MAIL": ["550 not now"]})
    with refusing as server, client(server) as smtp:
        error = error_of(smtp.send, Envelope("me@example.com", ["a@b.c"], CONTENT))
        smtp.send(Envelope("me@example.com", ["you@example.net"], CONTENT))
    assert mechanisms(server) == [[name]]
    assert server.messages[0].user == USER
    assert f"C: AUTH {name}" in error.transcript
    said = [command.arg for command in server.sessions[0].commands if "AUTH" in command.verb]
    no_secret_in(
        error.transcript, secrets=[PASSWORD, *filter(None, said[1:]), *said[0].split()[1:]]
    )


@pytest.mark.parametrize("name", PLUS)
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_channel_binding(name, version, server_context, older_context, ca_file):
    """A bound login gets in with TLS 1.2 and 1.3, over STARTTLS as over implicit TLS."""
    context = older_context if version == "TLSv1.2" else server_context
    for tls in ("starttls", "implicit"):
        with serving(context, auth=[name, name.removesuffix("-PLUS")], tls=tls) as server:
            send(client(server, ca_file, security=tls))
        assert mechanisms(server) == [[name]]
        assert server.sessions[0].tls == version


@pytest.mark.parametrize("binding", ["tls-unique", "tls-server-end-point"])
def test_which_binding(binding, older_context, ca_file):
    """Below TLS 1.3 it is tls-unique (RFC 5802 section 6.1); a server that knows only the other
    one costs a second connection, without -PLUS.
    """
    with serving(older_context, auth=ALL, channel_bindings=[binding]) as server:
        send(client(server, ca_file))
    said = [["SCRAM-SHA-512-PLUS"]]
    assert mechanisms(server) == (said if binding == "tls-unique" else [*said, ["SCRAM-SHA-512"]])


def test_strongest_first(server_context, ca_file):
    """Of all that both sides have the strongest is taken; the order can be changed."""
    with serving(server_context) as server:
        send(client(server, ca_file))
        send(client(server, ca_file, auth=["login", "PLAIN"]))
        send(client(server, ca_file, auth="CRAM-MD5"))
    assert mechanisms(server) == [["SCRAM-SHA-512-PLUS"], ["LOGIN"], ["CRAM-MD5"]]


def test_no_binding_without_tls():
    """Without TLS there is nothing to bind: the best mechanism without -PLUS is taken."""
    with serving() as server:
        send(client(server))
    assert mechanisms(server) == [["SCRAM-SHA-512"]]


@pytest.mark.parametrize("plus_offered", [True, False])
def test_downgrade_is_noticed(plus_offered, server_context, ca_file):
    """A server whose -PLUS offer somebody took out of the reply notices it: the login fails."""
    offer = "250-mx\n250 AUTH " + ("SCRAM-SHA-256-PLUS SCRAM-SHA-256" if plus_offered else SCRAM[1])
    with serving(server_context, auth=["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]) as server:
        server.on("EHLO", ["250-mx\n250 STARTTLS", offer])
        if plus_offered:
            send(client(server, ca_file))
        else:
            error = error_of(send, client(server, ca_file))
            assert (type(error), error.code) == (AuthenticationError, 535)
            assert "server-does-support-channel-binding" in str(error)
    assert mechanisms(server) == [["SCRAM-SHA-256-PLUS" if plus_offered else "SCRAM-SHA-256"]]


@pytest.mark.parametrize(
    "script",
    [
        {"AUTH": ["535 5.7.8 no"]},
        {"AUTH": ["504 5.5.4 unrecognized"]},
        {"(AUTH)": ["535 5.7.8 Channel binding failed"]},
        {"(AUTH)": ["334 ZT1jaGFubmVsLWJpbmRpbmdzLWRvbnQtbWF0Y2g=", "535 5.7.8 no"]},
    ],
)
def test_binding_refused(script, server_context, ca_file):
    """A bound exchange that is refused before the proof, or for its binding, is tried once more,
    on a fresh connection, by the same hash.
    """
    with serving(server_context, script=script) as server:
        send(client(server, ca_file))
    assert mechanisms(server) == [["SCRAM-SHA-512-PLUS"], ["SCRAM-SHA-512"]]
    assert server.sessions[0].verbs[-1] == "QUIT"


def test_binding_remembered(monkeypatch, server_context, ca_file):
    """For an hour a server that knows another binding is not asked for it at each connection."""
    with serving(server_context, channel_bindings=()) as server:
        for _ in range(2):
            send(client(server, ca_file))
        send(client(server, ca_file, auth=["SCRAM-SHA-256", "PLAIN"]))
        only = client(server, ca_file, auth=["SCRAM-SHA-256-PLUS"])
        assert error_of(send, only).code == 535
        monkeypatch.setattr(login, "_MANY", 1)
        monkeypatch.setattr(login, "REMEMBERED", -1.0)
        monkeypatch.setattr(login, "_unbound", {(server.host, server.port): 0.0})
        for _ in range(2):
            send(client(server, ca_file))
    assert mechanisms(server) == [
        ["SCRAM-SHA-512-PLUS"], ["SCRAM-SHA-512"], ["SCRAM-SHA-512"], ["SCRAM-SHA-256"],
        ["SCRAM-SHA-256-PLUS"], *[["SCRAM-SHA-512-PLUS"], ["SCRAM-SHA-512"]] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "changes"),
    [
        ({"(AUTH)": ["535 5.7.8 no"]}, {}),
        ({"AUTH": ["454 4.7.0 later"]}, {}),
        ({"AUTH": ["535 5.7.8 no"]}, {"auth": ["SCRAM-SHA-256-PLUS", "PLAIN"]}),
        (
            {"AUTH": ["535 5.7.8 no"]},
            {"auth": ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], "verify": False},
        ),
    ],
)
def test_binding_kept(script, changes, server_context, ca_file):
    """A refused proof, a "later", a binding that is asked for without choice, and one that alone
    says who the server is: each is the end.
    """
    with serving(server_context, script=script) as server:
        error = error_of(send, client(server, ca_file, **changes))
    assert len(server.sessions) == 1
    assert error.phase == "auth"


def test_second_connection_lost(server_context, ca_file):
    """Where the second connection cannot be made the first refusal is told, as no credential's."""
    with serving(server_context, script={"AUTH": ["535 5.7.8 no"]}) as server:
        server.on("CONNECT", Reply("554 go away", then=Close()), session=2)
        error = error_of(send, client(server, ca_file))
    assert (error.code, error.category, error.action) == (535, "auth_failed", "pause")
    assert error.temporary
    assert "554" in error.transcript
    assert len(server.sessions) == 2


def test_second_refusal(server_context, ca_file):
    """A refused credential is refused, on the second connection too: there is no third."""
    users = {USER: "another"}
    with serving(server_context, users=users, channel_bindings=()) as server:
        error = error_of(send, client(server, ca_file))
    assert (error.code, error.category, error.action) == (535, "auth_failed", "hold")
    assert mechanisms(server) == [["SCRAM-SHA-512-PLUS"], ["SCRAM-SHA-512"]]
    no_secret_in(error, error.transcript, repr(error.__dict__))


def test_wrong_password():
    """A 535 is the end: no other mechanism is tried, and a FIN behind it changes nothing of it."""
    with serving(users={USER: "another"}) as server:
        error = error_of(send, client(server))
        server.on("(AUTH)", Reply("535 5.7.8 no", then=Close()))
        cut = error_of(send, client(server))
    assert mechanisms(server) == [["SCRAM-SHA-512"], ["SCRAM-SHA-512"]]
    for each, gone in ((error, False), (cut, True)):
        assert (each.code, each.enhanced_code, each.action) == (535, "5.7.8", "hold")
        assert each.disconnected is gone


def test_unrecognized_is_no_refusal():
    """What a server announces and then does not know is passed over, on the same connection."""
    script = {"AUTH": ["504 5.5.4 what", "504 5.5.4 what"]}
    with serving(auth=["CRAM-MD5", "PLAIN", "LOGIN"], script=script) as server:
        send(client(server))
    assert mechanisms(server) == [["CRAM-MD5", "PLAIN", "LOGIN"]]
    with serving(auth=["PLAIN", "LOGIN"], script={"AUTH": "504 5.5.4 what"}) as server:
        error = error_of(send, client(server))
    assert (error.code, error.action) == (504, "hold")
    assert mechanisms(server) == [["PLAIN", "LOGIN"]]


def test_external(server_context, authority, client_pem, ca_file):
    """EXTERNAL goes by the client's certificate, and only where it is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context, auth=["EXTERNAL"]) as server:
        for username in (None, "client@example.com"):
            smtp = Client(
                server.host,
                server.port,
                username=username,
                auth=["EXTERNAL"],
                ca_file=ca_file,
                ssl_certfile=client_pem,
            )
            send(smtp)
        error = error_of(send, client(server, ca_file, ssl_certfile=client_pem))
    assert "offers only EXTERNAL" in str(error)
    assert [message.user for message in server.messages] == ["client@example.com"] * 2


# -- bearer tokens -------------------------------------------------------------------------------


class Source:
    """Gives tokens, one after the other, the last one for ever, and counts."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.calls = 0

    def __call__(self):
        """Return the next token."""
        self.calls += 1
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]


@pytest.fixture(params=["OAUTHBEARER", "XOAUTH2"])
def bearer(request):
    """Each of the two mechanisms."""
    return request.param


@pytest.mark.parametrize("token", [TOKEN, "t" * 3000])
def test_token(bearer, token):
    """A token gets in, a long one on a line of its own; it is asked for once a connection."""
    source = Source(token)
    with serving(auth=["PLAIN", bearer], users={USER: token}) as server:
        smtp = client(server, oauth_token=source, transcript="always")
        send(smtp)
    assert (source.calls, mechanisms(server)) == (1, [[bearer]])
    assert server.messages[0].user == USER


def test_token_refreshed(bearer):
    """A refused token is refreshed once, on a fresh connection."""
    source = Source("old-token-value", TOKEN)
    with serving(auth=[bearer], users={USER: TOKEN}) as server:
        send(client(server, oauth_token=source))
    assert source.calls == 2
    assert len(server.sessions) == 2
    # The error came as a challenge, and was acknowledged.
    assert [command.code for command in server.sessions[0].commands][1:3] == [334, 535]
    assert server.sessions[0].commands[2].arg == ("AQ==" if bearer == "OAUTHBEARER" else "")


@pytest.mark.parametrize(("tokens", "sessions"), [(["a-token"], 1), (["a-token", "b-token"], 2)])
def test_token_refused(bearer, tokens, sessions):
    """A token that is refused again, or for which there is no other, holds like a password."""
    source = Source(*tokens)
    with serving(auth=[bearer], users={USER: TOKEN}) as server:
        error = error_of(send, client(server, oauth_token=source))
    assert (source.calls, len(server.sessions)) == (2, sessions)
    assert (error.code, error.category, error.action) == (535, "auth_failed", "hold")
    assert "refused the bearer token: 401" in str(error)
    no_secret_in(error, error.transcript, repr(error.__dict__), secrets=tokens)


def test_token_echoed(bearer):
    """A server that echoes the token finds it nowhere on record."""
    line = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode()).decode()
    script = {"AUTH": f"535-5.7.8 {TOKEN}\n535-5.7.8 {line}\n535 5.7.8 {TOKEN[:14]}... {line[30:]}"}
    with serving(auth=[bearer], script=script) as server:
        error = error_of(send, client(server, oauth_token=Source(TOKEN)))
    for text in (error.reply, error.transcript, str(error), repr(error.__dict__)):
        no_secret_in(text, secrets=(TOKEN, TOKEN[:14], line, line[40:60], line[-20:]))
    assert error.reply.count("[redacted]") == 4


def test_refused_token_echoed(bearer):
    """A server that echoes the first token to the second one finds it nowhere on record, either."""
    script = {"AUTH": ["535 5.7.8 expired", "535 5.7.8 an-old-token is older than a-new-token"]}
    with serving(auth=[bearer], script=script) as server:
        error = error_of(send, client(server, oauth_token=Source("an-old-token", "a-new-token")))
    assert error.reply == "[redacted] is older than [redacted]"
    no_secret_in(error, error.transcript, repr(error.__dict__), secrets=["an-old", "a-new"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (lambda: 1 / 0, "raised ZeroDivisionError"),
        (lambda: None, "returned NoneType"),
        (lambda: b"secret", "returned bytes"),
        (lambda: "", "empty"),
        (lambda: "Bearer secret", "blank"),
        (lambda: {}["secret"], "raised KeyError"),
    ],
)
def test_no_token(source, words):
    """A source without a token is an error that tells why, and nothing of what it was about."""
    with serving(auth=["OAUTHBEARER"]) as server:
        error = error_of(send, client(server, oauth_token=source))
    assert words in str(error)
    assert (type(error), error.phase, error.code) == (AuthenticationError, "auth", None)
    assert (error.category, error.action, error.temporary) == ("auth_failed", "pause", True)
    assert error.__cause__ is None
    assert error.__context__ is None
    no_secret_in(error, error.transcript, secrets=["secret"])
    assert server.sessions[0].verbs[-1] == "QUIT"


def test_no_fresh_token(bearer):
    """A source that fails when it is asked again is told beside the refusal."""
    tokens = iter(["old-token-value"])
    with serving(auth=[bearer], users={USER: TOKEN}) as server:
        error = error_of(send, client(server, oauth_token=lambda: next(tokens)))
    assert (error.code, error.action, error.temporary) == (535, "pause", True)
    assert "raised StopIteration" in str(error)


def test_no_token_in_vain():
    """The source is not asked where the token could not be used."""
    source = Source(TOKEN)
    with serving(auth=["PLAIN"]) as server:
        error = error_of(send, client(server, oauth_token=source))
    assert "usable here: OAUTHBEARER XOAUTH2" in str(error)
    with serving(auth=["XOAUTH2"]) as server:
        error = error_of(
            send,
            client(
                server, oauth_token=source, allow_plaintext_auth=False, security="opportunistic"
            ),
        )
    assert "not encrypted" in str(error)
    assert source.calls == 0


def test_refused_together(bearer):
    """Of threads that are refused with the same token one asks for another, for all of them."""
    count, ready = 4, threading.Barrier(4, timeout=10)
    source = Source("old-token-value")
    errors = []

    def meet(conversation, arg):
        if conversation.number <= count:
            ready.wait()
            source.tokens = [TOKEN]
            return "535 5.7.8 expired"
        return None

    with serving(auth=[bearer], users={USER: TOKEN}) as server:
        server.on("AUTH", meet)
        smtps = [client(server, oauth_token=source) for _ in range(count)]

        def run(smtp):
            try:
                send(smtp)
            except SMTPError as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(smtp,)) for smtp in smtps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert errors == []
    assert len(server.messages) == count
    # Each opening asks, or shares a call that is under way; the renewal is one.
    assert source.calls <= count + 1


def test_lost_within_auth():
    """A server that hangs up in the middle of an exchange has refused nobody."""
    with serving(script={"(AUTH)": Close()}) as server:
        error = error_of(send, client(server))
    assert (type(error), error.phase, error.code) == (ServerDisconnected, "auth", None)
    assert error.category == "disconnected"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"oauth_token": "a.path", "username": "u"}, "callable"),
        ({"oauth_token": str, "username": "u", "password": "p"}, "without a password"),
        ({"oauth_token": str}, "with a username"),
    ],
)
def test_arguments(arguments, words):
    """Arguments that contradict each other are the caller's error."""
    with pytest.raises(ValueError, match=words):
        Client("mx.example", **arguments)
