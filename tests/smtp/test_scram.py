"""SCRAM against servers that keep to it, and against those that do not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramMechanism

from django_smtpx.smtp import sasl
from django_smtpx.smtp.errors import AuthenticationError, ProtocolError
from django_smtpx.smtp.events import Ended, Opened
from django_smtpx.smtp.options import Credential, Security
from django_smtpx.smtp.protocol import Protocol
from django_smtpx.smtp.sasl.scram import MAX_ITERATIONS, MIN_ITERATIONS
from tests.smtp.talk import LOGIN, events, feed, flush, options

SPLITS = pytest.mark.parametrize("split", ["whole", "bytes"])
NAME = "SCRAM-SHA-256"
PLUS = f"{NAME}-PLUS"
BINDINGS = {"tls-server-end-point": b"h" * 32}
SERVER_SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def encoded(text: str) -> bytes:
    """Return a text as it stands in a line."""
    return base64.b64encode(text.encode())


def said(line: bytes) -> str:
    """Return what a client's line carries."""
    return base64.b64decode(line.split()[-1], validate=True).decode()


class Peer:
    """A protocol that has said AUTH, and a server's side of SCRAM."""

    def __init__(self, offered=NAME, *, bindings=None, users=None, split="whole", **changes):
        self.split = split
        self.users = users or {"user": LOGIN.password}
        changes = {"credential": LOGIN, "security": Security.IMPLICIT, **changes}
        self.protocol = Protocol(options(**changes))
        self.protocol.channel_bindings = lambda: bindings or {}
        feed(self.protocol, b"220 mx\r\n")
        self.line = feed(self.protocol, b"250-mx\r\n250 AUTH %s\r\n" % offered.encode(), split)
        self.first = said(self.line)
        self.name = self.line.split()[1].decode()

    def server(self, **changes):
        """Return scramp's server, which has taken the first message."""
        mechanism = ScramMechanism(self.name)
        server = mechanism.make_server(
            lambda user: mechanism.make_auth_info(self.users[user], **changes),
            channel_binding=next(iter(BINDINGS.items())) if self.name == PLUS else None,
        )
        server.set_client_first(self.first)
        return server

    def challenge(self, text: str) -> bytes:
        """Return what the client says to a challenge."""
        return feed(self.protocol, b"334 " + encoded(text) + b"\r\n", self.split)

    def reply(self, text: str) -> bytes:
        """Return what the client says to a reply."""
        return feed(self.protocol, text.encode() + b"\r\n", self.split)

    def proved(self):
        """Return the server, which has seen the proof."""
        server = self.server()
        server.set_client_final(said(self.challenge(server.get_server_first())))
        return server

    def failure(self, cls=AuthenticationError):
        """Return what it ended with; nobody is logged in."""
        protocol = self.protocol
        assert type(protocol.failure) is cls
        assert events(protocol) == [Ended(protocol.failure)]
        assert not protocol.authenticated
        assert LOGIN.password not in str(protocol.entries) + str(protocol.failure)
        return protocol.failure


@SPLITS
def test_rfc_7677(split, monkeypatch):
    """The exchange of RFC 7677 section 3, to the letter."""

    def client(*args, **kwargs):
        return ScramClient(*args, c_nonce="rOprNGfwEbeRWgbNEkqO", **kwargs)

    monkeypatch.setattr("scramp.ScramClient", client)
    peer = Peer(credential=Credential("user", "pencil"), split=split)
    assert peer.first == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    final = peer.challenge(
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert said(final) == (
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert peer.challenge(f"v={SERVER_SIGNATURE}") == b"\r\n"
    assert not peer.protocol.authenticated
    peer.reply("235 2.7.0 welcome")
    assert events(peer.protocol) == [Opened()]
    assert peer.protocol.authenticated
    shown = str(peer.protocol.entries)
    assert "dHzbZapWIk4j" not in shown
    # With the challenge, which is shown, it would let one try passwords at leisure.
    for form in (SERVER_SIGNATURE, encoded(f"v={SERVER_SIGNATURE}").decode()[6:]):
        assert form[:20] not in shown


@SPLITS
@pytest.mark.parametrize(
    "text", ["235 {}", "235 2.7.0 {} welcome", "235-2.7.0 go on\r\n235 2.7.0 {}"]
)
def test_signature_behind_the_code(text, split):
    """A server may put its signature behind the 235, without a challenge of its own."""
    peer = Peer(split=split)
    server = peer.proved()
    peer.reply(text.format(encoded(server.get_server_final()).decode()))
    assert events(peer.protocol) == [Opened()]
    assert peer.protocol.authenticated


@SPLITS
@pytest.mark.parametrize("when", ["at once", "behind our proof", "behind an empty challenge"])
@pytest.mark.parametrize("words", ["welcome", "dj0=", "dj1hYWFhYWFhYQ=="])
def test_no_signature(when, words, split):
    """A server that says 235 and has not shown that it knows the password is not believed."""
    peer = Peer(split=split)
    if when == "behind our proof":
        peer.proved()
    elif when == "behind an empty challenge":
        assert said(peer.reply("334 ")) == peer.first
    assert peer.reply(f"235 2.7.0 {words}") == b""
    error = peer.failure()
    assert (error.phase, error.command, error.code) == ("auth", "AUTH", 235)
    assert (error.category, error.action, error.temporary) == ("auth_failed", "hold", False)
    assert "somebody may be in between" in str(error)
    assert peer.protocol.remedy is None


@SPLITS
def test_wrong_signature(split):
    """A wrong signature cancels the exchange, and nothing behind it is believed."""
    peer = Peer(split=split)
    peer.proved()
    assert peer.challenge(f"v={SERVER_SIGNATURE}") == b"*\r\n"
    peer.reply("501 cancelled")
    error = peer.failure()
    assert (error.code, error.action) == (501, "hold")
    assert "does not know the password" in str(error)
    peer = Peer(split=split)
    peer.proved()
    peer.challenge(f"v={SERVER_SIGNATURE}")
    peer.reply("235 welcome all the same")
    peer.failure(ProtocolError)


def first_message(peer, nonce=None, salt="W22ZaJ0SNY7soEsUEjb6gQ==", count="4096"):
    """Return a server's first message, right but for what is given."""
    own = peer.first.rpartition("r=")[2]
    return f"r={own + 'abc' if nonce is None else nonce},s={salt},i={count}"


@SPLITS
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: first_message(p, nonce="rOprNGfwEbeRWgbNEkqO%hvYDp"), "is not an answer to ours"),
        (lambda p: first_message(p, nonce=p.first.rpartition("r=")[2]), "is not an answer to ours"),
        (lambda p: first_message(p, count=str(MAX_ITERATIONS + 1)), f"{MAX_ITERATIONS + 1} SCRAM"),
        (lambda p: first_message(p, count="999999999999"), "are allowed"),
        (lambda p: first_message(p, count="9" * 5000), "no number"),
        (lambda p: first_message(p, count=str(MIN_ITERATIONS - 1)), "are allowed"),
        (lambda p: first_message(p, count="0"), "no number"),
        (lambda p: first_message(p, count="-4096"), "no number"),
        (lambda p: first_message(p, count="٤٠٩٦"), "no number"),
        (lambda p: first_message(p, salt="%%%"), "cannot be worked with"),
        (lambda p: first_message(p) + ",i=5000", "malformed"),
        (lambda p: "m=x," + first_message(p), "malformed"),
        (lambda p: "r=,s=,i=", "not an answer"),
        (lambda p: "v=abc", "malformed"),
        (lambda p: "what", "malformed"),
    ],
)  # fmt: skip
def test_bad_first_message(make, words, split):
    """No proof is given for a replayed nonce, for an iteration bomb or for what is no SCRAM."""
    peer = Peer(split=split)
    assert peer.challenge(make(peer)) == b"*\r\n"
    peer.reply("501 cancelled")
    error = peer.failure()
    assert words in str(error)
    assert (error.code, error.action, error.temporary) == (501, "pause", True)


@pytest.mark.parametrize("reply", ["334 %%%", "334 /w==", "334 é"])
def test_not_base64(reply):
    """What cannot be read is no challenge."""
    peer = Peer()
    assert peer.reply(reply) == b"*\r\n"
    peer.reply("501 cancelled")
    assert "empty or not base64" in str(peer.failure())


def test_empty_challenges():
    """An empty challenge asks for the first message again; a second one is nonsense."""
    for empty in ("334", "334 "):
        peer = Peer()
        assert said(peer.reply(empty)) == peer.first
        assert peer.reply(empty) == b"*\r\n"


def test_no_end():
    """A server that goes on asking gets a star, and then no answer."""
    peer = Peer()
    assert peer.challenge(peer.proved().get_server_final()) == b"\r\n"
    assert peer.challenge("v=more") == b"*\r\n"
    assert peer.challenge("v=more") == b""
    peer.failure(ProtocolError)


def test_the_most_iterations():
    """The cap itself is allowed, and takes no long time."""
    peer = Peer()
    assert peer.challenge(first_message(peer, count=str(MAX_ITERATIONS))).endswith(b"\r\n")


@SPLITS
@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("invalid-proof", None),
        ("channel-bindings-dont-match", sasl.Remedy.WITHOUT_BINDING),
        ("unsupported-channel-binding-type", sasl.Remedy.WITHOUT_BINDING),
    ],
)
def test_server_error(error, remedy, split):
    """A reason that comes as a challenge is told with the code behind it; one that is about the
    binding is no refusal of the credential.
    """
    peer = Peer(f"{PLUS} {NAME}", bindings=BINDINGS, split=split, verify=True)
    peer.proved()
    assert peer.challenge(f"e={error}") == b"\r\n"
    peer.reply("535 5.7.8 no")
    failure = peer.failure()
    assert f"The server ended SCRAM: {error}" in str(failure)
    assert (failure.code, failure.action) == (535, "pause" if remedy else "hold")
    assert peer.protocol.remedy is remedy


def test_welcome_behind_an_error():
    """A server that has named an error does not get believed by a 235."""
    peer = Peer()
    peer.proved()
    peer.challenge("e=invalid-proof")
    peer.reply("235 in")
    assert peer.failure().code == 235


@pytest.mark.parametrize(
    ("offered", "bindings", "changes", "name", "flag"),
    [
        (f"{NAME} {PLUS}", BINDINGS, {}, PLUS, "p=tls-server-end-point,,"),
        (f"{NAME} {PLUS}", {"tls-unique": b"u", **BINDINGS}, {}, PLUS, "p=tls-unique,,"),
        (NAME, BINDINGS, {}, NAME, "y,,"),
        (NAME, {}, {}, NAME, "n,,"),
        (f"{NAME} {PLUS}", {}, {}, NAME, "n,,"),
        (f"{NAME} {PLUS}", BINDINGS, {"auth": (NAME,)}, NAME, "n,,"),
        (NAME, BINDINGS, {"auth": (NAME,)}, NAME, "n,,"),
        (f"{NAME} SCRAM-SHA-1-PLUS", BINDINGS, {"auth": (PLUS, NAME)}, NAME, "y,,"),
    ],
)
def test_flag(offered, bindings, changes, name, flag):
    """The flag says what the client could do and what it saw of it (RFC 5802 section 6)."""
    peer = Peer(offered, bindings=bindings, **changes)
    assert peer.name == name
    assert peer.first.startswith(flag + "n=user,r=")


@pytest.mark.parametrize(
    ("changes", "offered", "remedy"),
    [
        ({}, f"{PLUS} {NAME}", sasl.Remedy.WITHOUT_BINDING),
        ({"verify": False}, f"{PLUS} {NAME}", sasl.Remedy.WITHOUT_BINDING),
        ({"verify": False, "auth": (PLUS, NAME)}, f"{PLUS} {NAME}", None),
        ({"auth": (PLUS, NAME)}, f"{PLUS} {NAME}", sasl.Remedy.WITHOUT_BINDING),
        ({"auth": (PLUS, "PLAIN")}, f"{PLUS} {NAME}", None),
        ({}, PLUS, None),
    ],
)
def test_remedy(changes, offered, remedy):
    """The binding is given up only where the same hash is there without it, and where it is not
    all that tells who the server is.
    """
    peer = Peer(offered, bindings=BINDINGS, **changes)
    peer.reply("535 5.7.8 no")
    assert peer.failure().action == "pause"
    assert peer.protocol.remedy is remedy


def test_no_remedy_for_our_own_doubts():
    """An exchange that we have ended ourselves is not tried with less."""
    peer = Peer(f"{PLUS} {NAME}", bindings=BINDINGS)
    assert peer.challenge(first_message(peer, count="5")) == b"*\r\n"
    peer.reply("501 cancelled")
    peer.failure()
    assert peer.protocol.remedy is None


@pytest.mark.parametrize(
    "credential",
    [Credential("u", "\u0627a"), Credential("u", "a\x07b"), Credential("\xad", "pa55")],
)
def test_what_saslprep_refuses(credential):
    """A password that SCRAM cannot carry is an error with a mend, and without the password."""
    protocol = Protocol(options(credential=credential, security=Security.IMPLICIT))
    feed(protocol, b"220 mx\r\n")
    assert feed(protocol, b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n") == b""
    error = protocol.failure
    assert type(error) is AuthenticationError
    assert "name PLAIN or LOGIN in auth" in str(error)
    assert credential.password not in str(error)
    assert error.__context__ is None


def test_saslprep_and_escapes():
    """The name is escaped, and both go through SASLprep (RFC 5802 section 5.1)."""
    peer = Peer(credential=Credential("a=b,c", "I\u00adX \u2168"), users={"a=b,c": "IX IX"})
    assert peer.first.startswith("n,,n=a=3Db=2Cc,r=")
    assert peer.challenge(peer.proved().get_server_final()) == b"\r\n"


def test_a_nonce_for_each_exchange():
    """No two exchanges have the same nonce."""
    assert len({Peer().first for _ in range(20)}) == 20


REPLIES = st.lists(
    st.one_of(
        st.sampled_from(
            ["334 ", "334", "235 in", "535 5.7.8 no", "501 no", "454 later", "504 what", "250 ok"]
        ),
        st.text(max_size=30).map(lambda text: f"334 {encoded(text).decode()}"),
        st.sampled_from(["right", "final", "e=other-error", "v=", "r=,s=,i="]),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=300)
@given(REPLIES, st.sampled_from([NAME, PLUS]))
def test_nobody_gets_in_without_a_proof(replies, name):
    """Whatever a server says that does not know the password, it is not believed."""
    peer = Peer(name, bindings=BINDINGS)
    for reply in replies:
        if reply == "right":
            peer.challenge(first_message(peer))
        elif reply == "final":
            peer.challenge(f"v={SERVER_SIGNATURE}")
        elif "=" in reply and not reply[0].isdigit():
            peer.challenge(reply)
        else:
            peer.reply(reply)
    assert not peer.protocol.authenticated
    assert Opened() not in events(peer.protocol)


def test_nothing_is_flushed_twice():
    """The machine waits for the server's word behind each of its own."""
    peer = Peer()
    assert flush(peer.protocol) == b""
