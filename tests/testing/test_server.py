"""ScriptedServer, seen from the other end of the wire."""

from __future__ import annotations

import doctest
import smtplib
import socket
import ssl
import sys
import threading

import pytest

from django_smtpx.testing import (
    Close,
    Delay,
    MidContent,
    NoReply,
    Raw,
    Reply,
    Reset,
    ScriptedServer,
    Silence,
    Split,
    make_certificate,
)
from django_smtpx.testing import (
    server as server_module,
)
from tests.testing.peers import CONTENT, GROUP, HELLO, Peer, send_one, talking


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory):
    """A certificate for localhost and the authority behind it."""
    return make_certificate(tmp_path_factory.mktemp("ca"))


# -- unscripted --------------------------------------------------------------------------------


def test_the_docstring_tells_the_truth():
    """The example in the docstring runs as printed."""
    assert doctest.testmod(server_module).failed == 0


def test_message_is_recorded_as_the_client_meant_it():
    """Envelope, parameters and content arrive, the latter without dot-stuffing."""
    content = b"Subject: Hi\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"
    with ScriptedServer() as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("a@example.com", ["b@example.com", "c@example.com"], content)
        (message,) = server.messages
    assert message.sender == "a@example.com"
    assert message.recipients == ("b@example.com", "c@example.com")
    assert message.content == content
    assert message.mail_params == (f"size={len(content)}",)
    assert message.rcpt_params == ((), ())
    assert (message.session, message.number, message.code) == (1, 1, 250)
    assert message.confirmed
    assert not message.tls
    assert message.parsed()["Subject"] == "Hi"


def test_session_is_recorded():
    """Commands, the client's name and the way it ended are on record."""
    with ScriptedServer() as server:
        send_one(server)
        server.wait_until(lambda server: server.sessions[0].ended)
        (session,) = server.sessions
    assert session.verbs == ("EHLO", "MAIL", "RCPT", "DATA", "QUIT")
    assert [command.code for command in session.commands] == [250, 250, 250, 354, 221]
    assert session.commands[2].arg.upper() == "TO:<B@EXAMPLE.COM>"
    assert session.helo
    assert session.messages == server.messages
    assert (session.ended, session.error, session.tls, session.user) == ("quit", "", "", "")
    assert session.peer[0] == "127.0.0.1"


def test_whole_session_in_one_segment():
    """Every command of a pipelined group is answered, in order, behind one write."""
    with talking(ScriptedServer()) as peer:
        assert peer.reply().startswith(b"220 ")
        peer.send(HELLO + GROUP + CONTENT + b".\r\n" + GROUP + CONTENT + b".\r\nQUIT\r\n")
        assert b"PIPELINING\r\n" in peer.reply()
        group = [b"250", b"250", b"354", b"250"]
        assert peer.replies(9) == [*group, *group, b"221"]
        assert peer.file.read() == b""


def test_session_byte_by_byte():
    """The same session, each byte in a segment of its own, is the same session."""
    stuffed = b"Subject: x\r\n\r\n..\r\n..a\r\n"
    with talking(server := ScriptedServer()) as peer:
        for byte in HELLO + GROUP + stuffed + b".\r\nQUIT\r\n":
            peer.send(bytes([byte]))
        assert peer.reply()[:3] == b"220"
        assert peer.replies(6) == [b"250", b"250", b"250", b"354", b"250", b"221"]
        assert server.messages[0].content == b"Subject: x\r\n\r\n.\r\n.a\r\n"


@pytest.mark.parametrize("content", [b"", b"\r\n", b"a\n.\nb\r\n", b"a\r.\rb\r\n", b"\r\n\r\n"])
def test_only_a_dot_between_crlf_ends_the_content(content: bytes):
    """An empty content is one, and bare line ends do not end it."""
    with talking(server := ScriptedServer()) as peer:
        peer.hello().send(GROUP)
        assert peer.replies(3) == [b"250", b"250", b"354"]
        peer.send(content + b".\r\n")
        assert peer.replies(1) == [b"250"]
        assert server.messages[0].content == content


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (b"MAIL FROM:<a@b.c>\r\nMAIL FROM:<a@b.c>\r\n", [b"250", b"503"]),
        (b"RCPT TO:<a@b.c>\r\n", [b"503"]),
        (b"DATA\r\n", [b"503"]),
        (b"MAIL FROM:<>\r\nDATA\r\n", [b"250", b"554"]),
        (b"MAIL FROM a\r\n", [b"501"]),
        (b"MAIL FROM:<>\r\nRCPT TO:a\r\n", [b"250", b"501"]),
        (b"MAIL FROM:<>\r\nRSET\r\nRCPT TO:<a@b.c>\r\n", [b"250", b"250", b"503"]),
        (b"noop\r\nVRFY a\r\nNONSENSE\r\n", [b"250", b"252", b"500"]),
        (b"STARTTLS\r\nAUTH PLAIN\r\n", [b"503", b"503"]),
        (b"MAIL FROM:<a@b.c> SIZE=99999999999\r\n", [b"552"]),
        (b"HELO me\n", [b"250"]),
    ],
)
def test_usual_answers(said: bytes, codes: list[bytes]):
    """Commands out of order or shape get the replies that RFC 5321 has for them."""
    with talking(ScriptedServer()) as peer:
        peer.hello().send(said)
        assert peer.replies(len(codes)) == codes


def test_size_limit():
    """A content above the SIZE keyword is refused, and is not among the messages."""
    with talking(server := ScriptedServer(keywords=["SIZE 10"])) as peer:
        assert b"SIZE 10\r\n" in peer.reply() + (peer.send(HELLO) or peer.reply())
        peer.send(GROUP + CONTENT + b".\r\n")
        assert peer.replies(4) == [b"250", b"250", b"354", b"552"]
        assert server.messages == ()
        assert server.rejected[0].code == 552


def test_keywords_decide_about_enhanced_codes():
    """Without ENHANCEDSTATUSCODES the usual replies have none."""
    with talking(ScriptedServer(keywords=[])) as peer:
        peer.reply()
        peer.send(HELLO + b"NOOP\r\n")
        assert peer.reply() == b"250 scripted.example\r\n"
        assert peer.reply() == b"250 OK\r\n"


def test_endless_line_is_refused():
    """A line without an end costs the peer its connection, not the server its memory."""
    with talking(ScriptedServer()) as peer:
        peer.hello().send(b"x" * 70_000)
        assert peer.reply()[:3] == b"500"
        assert peer.reply() == b""


def test_throughput_of_records_is_optional():
    """With record=False messages are counted, and nothing is kept."""
    with ScriptedServer(record=False) as server:
        send_one(server)
        assert server.message_count == 1
        assert server.messages == server.sessions == ()


# -- scripts -----------------------------------------------------------------------------------


def codes_of(server: ScriptedServer, *lines: str) -> list[int]:
    """Say the lines after EHLO; return the code of each reply."""
    with smtplib.SMTP(server.host, server.port, timeout=5) as client:
        client.ehlo()
        return [client.docmd(line)[0] for line in lines]


def test_one_reply_for_every_occurrence():
    """A plain reply in a script is given each time."""
    with ScriptedServer({"NOOP": "450 4.0.0 not now"}) as server:
        assert codes_of(server, "NOOP", "NOOP") == [450, 450]


def test_steps_by_occurrence():
    """A list has a step for each occurrence over all sessions, None and the end are as usual."""
    with ScriptedServer({"NOOP": ["451 a", None, "452 b"]}) as server:
        assert codes_of(server, "NOOP", "NOOP") == [451, 250]
        assert codes_of(server, "NOOP", "NOOP", "NOOP") == [452, 250, 250]


def test_ellipsis_goes_on_with_the_last_step():
    """Three dots at the end of a list make its last step go on."""
    with ScriptedServer({"noop": [None, "452 b", ...]}) as server:
        assert codes_of(server, "NOOP", "NOOP", "NOOP") == [250, 452, 452]


def test_steps_by_recipient():
    """A mapping fits addresses and patterns, and counts occurrences for each address."""
    script = {"RCPT": {"no@b.c": "550 5.1.1 no", "*@grey.example": ["450 4.7.1 later"]}}
    rcpt = "RCPT TO:<{}>".format
    with ScriptedServer(script) as server:
        assert codes_of(
            server,
            "MAIL FROM:<a@b.c>",
            *map(rcpt, ["NO@b.c", "x@grey.example", "y@Grey.example", "x@grey.example", "z@b.c"]),
        ) == [250, 550, 450, 450, 250, 250]


def test_content_reply_by_recipient_and_by_message():
    """The reply after the content can depend on a recipient or on the number of the message."""
    with ScriptedServer({"EOD": {"spam@b.c": "550 5.7.1 spam"}}) as server:
        server.on("EOD", "452 4.3.1 full", message=3)
        send_one(server)
        with pytest.raises(smtplib.SMTPDataError, match="spam"):
            send_one(server, "spam@b.c")
        with pytest.raises(smtplib.SMTPDataError, match="full"):
            send_one(server)
        send_one(server)
        assert [message.number for message in server.messages] == [1, 4]
        assert [message.code for message in server.rejected] == [550, 452]


def test_rule_for_one_session():
    """A rule can be for the session of one number."""
    with ScriptedServer().on("NOOP", "421 later", session=2) as server:
        assert [codes_of(server, "NOOP") for _ in range(3)] == [[250], [421], [250]]


def test_newest_rule_decides():
    """What is added later comes first, and where it has no step left the older goes on."""
    with ScriptedServer({"NOOP": "450 old"}) as server:
        server.on("NOOP", ["451 new"])
        assert codes_of(server, "NOOP", "NOOP") == [451, 450]


def test_callable_is_given_the_session_and_the_argument():
    """A callable sees what was said so far, and None from it means the usual answer."""
    seen = []

    def refuse_second(session, arg):
        seen.append((session.number, session.sender, list(session.recipients), arg))
        return "452 4.5.3 enough" if session.recipients else None

    with ScriptedServer({"RCPT": refuse_second}) as server:
        assert codes_of(server, "MAIL FROM:<a@b.c>", "RCPT TO:<x@b.c>", "RCPT TO:<y@b.c>") == [
            250,
            250,
            452,
        ]
    assert seen == [(1, "a@b.c", [], "TO:<x@b.c>"), (1, "a@b.c", ["x@b.c"], "TO:<y@b.c>")]


def test_callable_that_raises_is_heard():
    """The exception ends the session with 421, and is raised where the server ends."""

    def broken(session, arg):
        raise LookupError(arg)

    with pytest.raises(LookupError, match="me"), ScriptedServer({"EHLO": broken}) as server:
        peer = Peer(server)
        peer.reply()
        peer.send(HELLO)
        assert peer.reply()[:3] == b"421"
        assert peer.reply() == b""
        peer.close()


def test_exception_of_the_test_is_not_replaced():
    """What went wrong in the block goes before what went wrong in the script."""
    server = ScriptedServer({"CONNECT": lambda session, arg: 42})
    with pytest.raises(KeyError, match="mine"), server:
        peer = Peer(server)
        assert peer.reply()[:3] == b"421"
        peer.close()
        raise KeyError("mine")


@pytest.mark.parametrize(
    "reply",
    ["550-a\n550 b", ["550-a", "550 b"], "550 a\nb", Reply(["550 a", "550 b"]), "550 a\r\nb"],
)
def test_replies_of_several_lines(reply):
    """All ways to write a reply of two lines put the same bytes on the wire."""
    with talking(ScriptedServer({"NOOP": [reply]})) as peer:
        peer.hello().send(b"NOOP\r\n")
        assert peer.reply() == b"550-a\r\n550 b\r\n"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"NOOP": "ok"}, ValueError),
        ({"NOOP": ["250 a", "25"]}, ValueError),
        ({"NOOP": "250-a\n251 b"}, ValueError),
        ({"NOOP": []}, ValueError),
        ({"NOOP": [..., "250 a"]}, ValueError),
        ({"NOOP": 250}, TypeError),
        ({"NOOP": {"a@b.c": ["250 a", 4]}}, TypeError),
    ],
)
def test_bad_scripts_are_refused_at_once(script, error):
    """A script that makes no sense fails where it is written, not in a thread."""
    with pytest.raises(error):
        ScriptedServer(script)
    with pytest.raises(ValueError, match="size"):
        Split("250 ok", size=0)


@pytest.mark.parametrize("greeting", ["554 5.3.2 no", "421 busy"])
def test_greeting(greeting: str):
    """The greeting can be scripted, and is no command of the client's."""
    with talking(server := ScriptedServer({"GREETING": greeting})) as peer:
        assert peer.reply().decode().strip() == greeting
        assert server.sessions[0].commands == ()


# -- actions -----------------------------------------------------------------------------------


def test_close_after_a_reply():
    """A 421 that hangs up says its 421 first."""
    with talking(server := ScriptedServer({"MAIL": Reply("421 4.3.2 bye", then=Close())})) as peer:
        peer.hello().send(GROUP)
        assert peer.reply() == b"421 4.3.2 bye\r\n"
        assert peer.file.read() == b""
        peer.close()
        server.wait_until(lambda server: server.sessions[0].ended == "server")


def test_reset():
    """RST is what the peer gets, not an orderly end."""
    with talking(ScriptedServer({"MAIL": Reset()})) as peer:
        peer.hello().send(b"MAIL FROM:<>\r\n")
        with pytest.raises(ConnectionResetError):
            peer.file.read()


def test_silence_lasts():
    """Nothing is said any more, to later commands either."""
    with talking(ScriptedServer({"MAIL": Silence()})) as peer:
        peer.hello().send(b"MAIL FROM:<>\r\nNOOP\r\n")
        peer.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.reply()


def test_left_out_reply():
    """Only the one reply is missing."""
    with talking(ScriptedServer({"NOOP": [NoReply()]})) as peer:
        peer.hello().send(b"NOOP\r\nVRFY a\r\n")
        assert peer.replies(1) == [b"252"]


def test_delay_is_followed_by_the_usual_answer():
    """A delay alone changes when, not what; with ``then`` it changes both."""
    script = {"NOOP": [Delay(0.01), Delay(0.01, then=Delay(0)), Delay(0, then=Reply("450 no"))]}
    with talking(server := ScriptedServer(script)) as peer:
        peer.hello().send(b"NOOP\r\n" * 3)
        assert peer.replies(3) == [b"250", b"250", b"450"]
        assert [command.code for command in server.sessions[0].commands[1:]] == [250, 250, 450]


@pytest.mark.parametrize("what", ["250-a\nb", b"250-a\r\n250 b\r\n"])
def test_split(what: str | bytes):
    """A reply in pieces is the same reply."""
    with talking(ScriptedServer({"NOOP": Split(what, pause=0.0001)})) as peer:
        peer.hello().send(b"NOOP\r\n")
        assert peer.reply() == b"250-a\r\n250 b\r\n"


def test_stray_bytes_before_a_command():
    """What follows a reply comes without being asked for."""
    stray = Reply("250 ok", then=Raw(b"421 idle\r\n"))
    with talking(ScriptedServer({"NOOP": stray})) as peer:
        peer.hello().send(b"NOOP\r\n")
        assert peer.sock.recv(100) == b"250 ok\r\n421 idle\r\n"


@pytest.mark.parametrize("then", [Close(), Reply("552 5.3.4 too big", then=Close())])
def test_close_in_mid_content(then):
    """The connection ends after some bytes of the content, which is no message then."""
    with talking(server := ScriptedServer({"DATA": MidContent(10, then)})) as peer:
        peer.hello().send(GROUP)
        assert peer.replies(3) == [b"250", b"250", b"354"]
        peer.send(CONTENT[:9])
        peer.send(CONTENT[9:])
        assert peer.file.read() in {b"", b"552 5.3.4 too big\r\n"}
        assert server.messages == ()


def test_early_refusal_leaves_the_connection_open():
    """A reply in mid-content is the only one, and the session goes on behind the dot."""
    with talking(server := ScriptedServer({"DATA": [MidContent(1, Reply("552 no"))]})) as peer:
        peer.hello().send(GROUP + CONTENT + b".\r\nNOOP\r\n")
        assert peer.replies(5) == [b"250", b"250", b"354", b"552", b"250"]
        peer.send(GROUP + CONTENT + b".\r\n")
        assert peer.replies(4) == [b"250", b"250", b"354", b"250"]
        assert len(server.messages) == 1


def test_short_content_reaches_the_middle_too():
    """A content shorter than the limit is acted upon at its dot."""
    with talking(ScriptedServer({"DATA": MidContent(10_000)})) as peer:
        peer.hello().send(GROUP + CONTENT + b".\r\n")
        assert peer.replies(3) == [b"250", b"250", b"354"]
        assert peer.reply() == b""


@pytest.mark.parametrize("action", [Close(), Reset(), Silence(), NoReply()])
def test_message_without_a_reply_is_on_record(action):
    """Taken, but never confirmed: what the client has to call unknown."""
    with talking(server := ScriptedServer({"EOD": action})) as peer:
        peer.hello().send(GROUP + CONTENT + b".\r\n")
        (message,) = server.wait_for(1)
        assert message.code is None
        assert not message.confirmed


def test_scripted_codes_decide_what_happens():
    """A 250 accepts, anything else does not, and DATA reads content at a 354 only."""
    script = {"MAIL": ["250 fine"], "RCPT": ["251 forwarded", "550 no"], "DATA": ["451 no"]}
    with talking(server := ScriptedServer(script)) as peer:
        peer.hello().send(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x@b.c>\r\nRCPT TO:<y@b.c>\r\nDATA\r\n")
        assert peer.replies(4) == [b"250", b"251", b"550", b"451"]
        peer.send(b"DATA\r\n" + CONTENT + b".\r\n")
        assert peer.replies(2) == [b"354", b"250"]
        assert server.messages[0].recipients == ("x@b.c",)


# -- TLS and AUTH ------------------------------------------------------------------------------


def test_starttls(certificate):
    """STARTTLS is offered before it is used, and not after; the record says what was private."""
    context = ssl.create_default_context(cafile=certificate.ca_file)
    with (
        ScriptedServer(ssl_context=certificate.ssl_context, require_tls=True) as server,
        smtplib.SMTP("localhost", server.port) as client,
    ):
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.mail("a@b.c")[0] == 530
        client.starttls(context=context)
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@b.c", ["d@e.f"], CONTENT)
        assert server.messages[0].tls
        (session,) = server.sessions
    assert session.tls.startswith("TLSv1")
    assert [(c.verb, c.tls) for c in session.commands[:4]] == [
        ("EHLO", False),
        ("MAIL", False),
        ("STARTTLS", False),
        ("EHLO", True),
    ]


def test_implicit_tls(certificate):
    """TLS can be there from the first byte, and ends with QUIT like any session."""
    context = ssl.create_default_context(cafile=certificate.ca_file)
    with ScriptedServer(ssl_context=certificate.ssl_context, tls="implicit") as server:
        with smtplib.SMTP_SSL("localhost", server.port, context=context) as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            client.sendmail("a@b.c", ["d@e.f"], CONTENT)
        server.wait_until(lambda server: server.sessions[0].ended == "quit")
        assert server.messages[0].tls


@pytest.mark.parametrize("action", [Close(), Close(notify=False), Reset()])
def test_ends_under_tls(certificate, action):
    """The connection can end in every way under TLS too."""
    context = ssl.create_default_context(cafile=certificate.ca_file)
    server = ScriptedServer({"NOOP": action}, ssl_context=certificate.ssl_context, tls="implicit")
    with server, smtplib.SMTP_SSL("localhost", server.port, context=context) as client:
        client.ehlo()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


def test_failed_handshake_is_on_record(tmp_path):
    """A client that does not trust the certificate leaves a session with the reason."""
    expired = make_certificate(tmp_path, "localhost", expired=True)
    context = ssl.create_default_context(cafile=expired.ca_file)
    with ScriptedServer(ssl_context=expired.ssl_context) as server:
        with smtplib.SMTP("localhost", server.port) as client:
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                client.starttls(context=context)
            client.close()
        server.wait_until(lambda server: server.sessions[0].ended)
        assert server.sessions[0].ended == "lost"
        assert server.sessions[0].error


def test_starttls_forgets_what_came_in_clear(certificate):
    """Commands that came behind STARTTLS in the same segment are not obeyed."""
    context = ssl.create_default_context(cafile=certificate.ca_file)
    with talking(server := ScriptedServer(ssl_context=certificate.ssl_context)) as peer:
        peer.hello().send(b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
        assert peer.reply()[:3] == b"220"
        with context.wrap_socket(peer.sock, server_hostname="localhost") as private:
            private.sendall(b"NOOP\r\n")
            assert private.recv(100).startswith(b"250")
        assert server.sessions[0].verbs == ("EHLO", "STARTTLS", "NOOP")


def test_injected_reply_behind_starttls(certificate):
    """The server can play the attacker who puts a reply behind the 220."""
    injection = Raw(b"220 go\r\n250 injected\r\n")
    server = ScriptedServer({"STARTTLS": injection}, ssl_context=certificate.ssl_context)
    with talking(server) as peer:
        peer.hello().send(b"STARTTLS\r\n")
        assert peer.sock.recv(100) == injection.data


def test_starttls_without_a_certificate_is_explained():
    """A script that promises TLS where there is no certificate says so on record."""
    with talking(server := ScriptedServer({"STARTTLS": "220 go"})) as peer:
        peer.hello().send(b"STARTTLS\r\n")
        assert peer.reply()[:3] == b"220"
        server.wait_until(lambda server: "ssl_context" in server.sessions[0].error)
    with pytest.raises(ValueError, match="ssl_context"):
        ScriptedServer(tls="implicit")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
def test_login(mechanism: str, initial: bool):
    """A user of the table gets in by either mechanism, with and without an initial response."""
    with ScriptedServer(users={"u": "päss"}, require_auth=True) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            client.ehlo()
            assert client.mail("a@b.c")[0] == 530
            client.user, client.password = "u", "päss"
            assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            answers = {"PLAIN": ["AHUAcMOkc3M="], "LOGIN": ["dQ==", "cMOkc3M="]}[mechanism]
            line = " ".join(["AUTH", mechanism, *answers[:initial]])
            codes = [client.docmd(said)[0] for said in [line, *answers[initial:]]]
            assert codes[-1] == 235
            assert set(codes[:-1]) <= {334}
            assert client.docmd("AUTH", "PLAIN")[0] == 503
            client.sendmail("a@b.c", ["d@e.f"], CONTENT)
        assert server.messages[0].user == server.sessions[0].user == "u"


@pytest.mark.parametrize(
    "said",
    [
        ["AUTH PLAIN AHUAeA=="],
        ["AUTH PLAIN !"],
        ["AUTH PLAIN dQ=="],
        ["AUTH LOGIN", "dQ==", "eA=="],
        ["AUTH PLAIN", "*"],
        ["AUTH CRAM-MD5"],
    ],
)
def test_login_refused(said: list[str]):
    """A wrong password, nonsense, a cancelled exchange and an unknown mechanism do not get in."""
    with ScriptedServer(users={"u": "p"}) as server:
        assert codes_of(server, *said)[-1] in {501, 504, 535}
        assert server.sessions[0].user == ""


def test_scripted_login():
    """AUTH and the answers within it can be scripted."""
    with ScriptedServer({"AUTH": ["334 Zg==", "454 4.7.0 later"], "(AUTH)": "235 in"}) as server:
        assert codes_of(server, "AUTH XOAUTH2", "dQ==", "NOOP", "AUTH PLAIN dQ==") == [
            334,
            235,
            250,
            454,
        ]
        assert server.sessions[0].verbs[:3] == ("EHLO", "AUTH", "(AUTH)")


def test_make_certificate_names_its_need(monkeypatch, tmp_path):
    """Without trustme the error says what to install."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ImportError, match="pip install trustme"):
        make_certificate(tmp_path)


# -- life --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({}, b""),
        ({"CONNECT": Silence()}, b""),
        ({"EHLO": Delay(600)}, HELLO),
        ({"EHLO": Split("250 hi", pause=600)}, HELLO),
        ({"EHLO": Silence()}, HELLO),
        ({}, HELLO + GROUP + b"half a content"),
    ],
)
def test_stop_waits_for_nobody(script, said: bytes):
    """Whatever a session is in the middle of, the server stops, and its threads with it."""
    with talking(server := ScriptedServer(script)) as peer:
        peer.send(said)
        server.wait_until(lambda server: len(server.sessions) == 1)
        server.stop()
        assert not [t for t in threading.enumerate() if t.name.startswith(f"smtp-{server.port}")]
        assert server.sessions[0].ended == "stopped"
        server.stop()


def test_stop_in_mid_handshake(certificate):
    """A client that never begins its handshake keeps nobody."""
    server = ScriptedServer(ssl_context=certificate.ssl_context, tls="implicit")
    with talking(server):
        server.wait_until(lambda server: len(server.sessions) == 1)
        server.stop()
        assert server.sessions[0].ended == "stopped"


def test_server_comes_back_on_its_port():
    """Stopped and started again it is the same server on the same port."""
    with ScriptedServer() as server:
        send_one(server)
        port = server.port
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            send_one(server)
        server.start()
        assert server.port == port
        send_one(server)
        assert len(server.messages) == 2
        with pytest.raises(RuntimeError):
            server.start()


def test_port_in_use():
    """A port that is taken is an error at once."""
    with ScriptedServer() as server, pytest.raises(OSError, match="in use"):
        ScriptedServer(port=server.port).start()


def test_ipv6():
    """The server listens on an IPv6 address where it is given one."""
    try:
        server = ScriptedServer(host="::1").start()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with socket.create_connection(("::1", server.port), timeout=5) as sock:
        assert sock.recv(3) == b"220"
    server.stop()


def test_wait_for_says_what_came():
    """A wait that ends in vain tells the story so far."""
    with ScriptedServer() as server:
        with pytest.raises(TimeoutError, match="0 messages; no session"):
            server.wait_for(1, timeout=0.01)
        send_one(server)
        with pytest.raises(TimeoutError, match="1 messages; session 1: EHLO MAIL RCPT DATA"):
            server.wait_for(2, timeout=0.01)


def test_clear():
    """The records can be forgotten between two parts of a test."""
    with ScriptedServer() as server:
        send_one(server)
        server.wait_until(lambda server: server.sessions[0].ended)
        server.clear()
        assert server.messages == server.sessions == ()
        assert server.message_count == 0
        send_one(server)
        assert len(server.wait_for(1)) == 1
        assert "1 messages" in repr(server)


def test_many_clients_at_once():
    """Sessions side by side lose nothing and mix nothing."""
    with ScriptedServer() as server:
        threads = [
            threading.Thread(target=send_one, args=(server, f"r{number}@example.com"))
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recipients = {message.recipients for message in server.wait_for(20)}
        assert recipients == {(f"r{number}@example.com",) for number in range(20)}
        assert sorted(message.number for message in server.messages) == list(range(1, 21))
