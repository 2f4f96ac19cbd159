from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.smtp.errors import (
    DataRefused,
    ProtocolError,
    RecipientsRefused,
    SenderRefused,
    ServerDisconnected,
    ServiceUnavailable,
    SMTPError,
    UnsupportedFeature,
)
from django_smtpx.smtp.events import ContentWanted, Ended, Finished
from django_smtpx.smtp.states import State
from tests.smtp.talk import (
    CONTENT,
    FACTS,
    HELLO,
    PLAIN_HELLO,
    deliver,
    envelope,
    events,
    feed,
    flush,
    opened,
    options,
    table,
)

SPLITS = pytest.mark.parametrize("split", ["whole", "bytes"])
HELLOS = pytest.mark.parametrize("hello", [HELLO, PLAIN_HELLO], ids=["pipelining", "stepwise"])
TWO = ("a@example.net", "b@example.net")
SENT = ("sent", "ok", "eod", "DATA", 250)


@SPLITS
def test_pipelined(split):
    """MAIL, every RCPT and DATA leave in one piece, then the content and its dot."""
    protocol = opened()
    transaction, sent = deliver(
        protocol,
        envelope(*TWO),
        b"250 2.1.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        b"250 2.0.0 queued\r\n",
        split=split,
    )
    assert sent == (
        b"MAIL FROM:<me@example.com> SIZE=26\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
        + CONTENT
        + b".\r\n"
    )
    assert table(transaction) == [SENT, SENT]
    result = transaction.results(FACTS, disconnected=False)[0]
    assert (result.enhanced_code, result.reply, result.error) == ("2.0.0", "queued", None)
    assert protocol.idle
    assert protocol.transactions == 1


@pytest.mark.parametrize("changes", [{"pipelining": False}, {"hello": PLAIN_HELLO}])
def test_stepwise(changes):
    """Without PIPELINING, or with it switched off, a command waits for the reply before it."""
    protocol = opened(**changes)
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    assert flush(protocol).startswith(b"MAIL FROM:<me@example.com>")
    assert feed(protocol, b"250 ok\r\n") == b"RCPT TO:<you@example.net>\r\n"
    assert feed(protocol, b"250 ok\r\n") == b"DATA\r\n"
    feed(protocol, b"354 go\r\n")
    assert events(protocol) == [ContentWanted(transaction)]


# What a server says to MAIL, RCPT, RCPT, DATA, content; and what becomes of the two recipients.
MATRIX = {
    "all well": ("250 250 250 354 250", [SENT, SENT]),
    "251 and 252 are acceptances": ("250 251 252 354 250", [SENT, SENT]),
    "mail refused": ("550 503 503 503", [("failed", "other_permanent", "mail", "MAIL", 550)] * 2),
    "mail put off": ("450 503 503 503", [("deferred", "other_temporary", "mail", "MAIL", 450)] * 2),
    "mail refused, 354 all the same": (
        "550 250 250 354 250",
        [("failed", "other_permanent", "mail", "MAIL", 550)] * 2,
    ),
    "one refused": (
        "250 550 250 354 250",
        [("failed", "mailbox_unknown", "rcpt", "RCPT", 550), SENT],
    ),
    "last refused": (
        "250 250 450 354 250",
        [SENT, ("deferred", "other_temporary", "rcpt", "RCPT", 450)],
    ),
    "all refused": (
        "250 550 450 554",
        [
            ("failed", "mailbox_unknown", "rcpt", "RCPT", 550),
            ("deferred", "other_temporary", "rcpt", "RCPT", 450),
        ],
    ),
    "all refused, 354 all the same": (
        "250 550 450 354 250",
        [
            ("failed", "mailbox_unknown", "rcpt", "RCPT", 550),
            ("deferred", "other_temporary", "rcpt", "RCPT", 450),
        ],
    ),
    "data refused": ("250 250 250 554", [("failed", "other_permanent", "data", "DATA", 554)] * 2),
    "data put off, one refused": (
        "250 550 250 451",
        [
            ("failed", "mailbox_unknown", "rcpt", "RCPT", 550),
            ("deferred", "other_temporary", "data", "DATA", 451),
        ],
    ),
    "content refused": (
        "250 250 250 354 554",
        [("failed", "other_permanent", "eod", "DATA", 554)] * 2,
    ),
    "content put off": (
        "250 250 250 354 451",
        [("deferred", "other_temporary", "eod", "DATA", 451)] * 2,
    ),
    "421 to mail": ("421", [("deferred", "server_busy", "mail", "MAIL", 421)] * 2),
    "421 to rcpt": ("250 250 421", [("deferred", "server_busy", "rcpt", "RCPT", 421)] * 2),
    "421 behind a refusal": (
        "250 550 421",
        [
            ("failed", "mailbox_unknown", "rcpt", "RCPT", 550),
            ("deferred", "server_busy", "rcpt", "RCPT", 421),
        ],
    ),
    "421 to data": ("250 250 250 421", [("deferred", "server_busy", "data", "DATA", 421)] * 2),
    "421 to content": (
        "250 250 250 354 421",
        [("deferred", "server_busy", "eod", "DATA", 421)] * 2,
    ),
    "354 to mail": ("354", [("deferred", "protocol_error", "mail", "MAIL", 354)] * 2),
    "250 to data": ("250 250 250 250", [("deferred", "protocol_error", "data", "DATA", 250)] * 2),
    "354 to content": (
        "250 250 250 354 354",
        [("unknown", "unknown_outcome", "eod", "DATA", 354)] * 2,
    ),
}


@SPLITS
@HELLOS
@pytest.mark.parametrize("name", MATRIX)
def test_matrix(name, hello, split):
    """The verdicts are the same with and without PIPELINING, recipient by recipient."""
    codes, expected = MATRIX[name]
    replies = codes.split()
    if hello is PLAIN_HELLO:
        if replies[0] in ("550", "450"):
            replies = replies[:1]
        elif not any(code.startswith("25") for code in replies[1:3]) and len(replies) > 3:
            replies = replies[:3]
    protocol = opened(hello)
    transaction, _ = deliver(
        protocol, envelope(*TWO), *(f"{code} text\r\n".encode() for code in replies), split=split
    )
    assert transaction.done
    assert table(transaction) == expected
    for result in transaction.results(FACTS, disconnected=True):
        assert result.outcome == "sent" or (result.error.disconnected and result.error.host == "h")


def test_classes():
    """Each refusal has the class of its command, and 421 its own."""
    for codes, cls in (
        ("550 503 503", SenderRefused),
        ("250 550 503", RecipientsRefused),
        ("250 250 550", DataRefused),
        ("250 250 354 550", DataRefused),
        ("421", ServiceUnavailable),
    ):
        protocol = opened()
        transaction, _ = deliver(
            protocol, envelope(), *(f"{code} no\r\n".encode() for code in codes.split())
        )
        (result,) = transaction.results(FACTS, disconnected=False)
        assert type(result.error) is cls
        assert result.error.content_sent == ("all" if codes.endswith("354 550") else "no")


@HELLOS
@pytest.mark.parametrize("end", ["receive_eof", "receive_timeout", "garbage"])
@pytest.mark.parametrize(
    ("replies", "phase", "outcome"),
    [
        (0, "mail", "deferred"),
        (1, "rcpt", "deferred"),
        (2, "data", "deferred"),
        (3, "eod", "unknown"),
    ],
)
def test_lost(hello, end, replies, phase, outcome):
    """A connection lost before the dot delivered nothing; behind it, nobody knows."""
    protocol = opened(hello)
    given_ = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"][:replies]
    transaction, _ = deliver(protocol, envelope(), *given_)
    if end == "garbage":
        feed(protocol, b"\x00\x01\r\n")
    else:
        getattr(protocol, end)()
    (result,) = transaction.results(FACTS, disconnected=protocol.disconnected)
    assert (result.outcome, result.phase, result.code, result.reply) == (outcome, phase, None, "")
    assert result.error.content_sent == ("all" if phase == "eod" else "no")
    assert result.category == {"eod": "unknown_outcome"}.get(
        phase,
        {"receive_eof": "disconnected", "receive_timeout": "timeout"}.get(end, "protocol_error"),
    )
    assert [type(event) for event in events(protocol)] == [Finished, Ended]
    assert protocol.state is State.CLOSED


def test_first_error_stays():
    """A refusal followed by a hang-up is that refusal, disconnected."""
    protocol = opened()
    transaction, _ = deliver(protocol, envelope(), b"550 5.7.1 no\r\n")
    protocol.receive_eof()
    (result,) = transaction.results(FACTS, disconnected=protocol.disconnected)
    assert (result.code, result.enhanced_code, result.phase) == (550, "5.7.1", "mail")
    assert result.error.disconnected


def test_421_then_eof():
    """421 followed by a hang-up is that 421, disconnected."""
    protocol = opened()
    transaction, _ = deliver(protocol, envelope(), b"421 4.3.2 bye\r\n")
    protocol.receive_eof()
    (result,) = transaction.results(FACTS, disconnected=protocol.disconnected)
    assert (result.code, result.error.disconnected) == (421, True)
    assert protocol.failure.disconnected


def test_lone_dot():
    """Nobody accepted and 354 all the same: a lone dot, and its reply counts for nobody."""
    for answer in (b"250 taken\r\n", b"554 no\r\n"):
        protocol = opened()
        transaction, sent = deliver(protocol, envelope(), b"250 ok\r\n550 no\r\n354 go\r\n", answer)
        assert sent.endswith(b"DATA\r\n.\r\n")
        assert table(transaction) == [("failed", "mailbox_unknown", "rcpt", "RCPT", 550)]
        assert protocol.idle
        assert protocol.state is State.READY


def test_next_group_behind_content():
    """The next transaction's commands go right behind the content, and its replies are its own."""
    protocol = opened()
    first, second = protocol.prepare(envelope()), protocol.prepare(envelope("c@example.net"))
    protocol.begin(first)
    flush(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.send_content(first)
    protocol.begin(second)
    assert flush(protocol).endswith(
        b".\r\nMAIL FROM:<me@example.com> SIZE=26\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"
    )
    assert protocol.owed == "."
    feed(protocol, b"554 5.6.0 bad\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert events(protocol) == [ContentWanted(first), Finished(first), ContentWanted(second)]
    assert table(first) == [("failed", "content_rejected", "eod", "DATA", 554)]
    assert not second.done


@pytest.mark.parametrize("goodbye", [b"421 4.4.2 idle\r\n", b"451 4.4.2 timeout\r\n", None])
def test_idle_drop(goodbye):
    """The server's goodbye as first answer on a connection in use is no failure of the message."""
    protocol = opened()
    deliver(protocol, envelope(), b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n")
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    flush(protocol)
    if goodbye is None:
        protocol.receive_eof()
    else:
        feed(protocol, goodbye)
    if goodbye is not None and goodbye.startswith(b"451"):
        assert not transaction.done
    else:
        assert [type(event) for event in events(protocol)] == [Ended]
        assert not transaction.done


def test_rset_before_the_next():
    """A transaction that was left open is reset in front of the next group."""
    for hello in (HELLO, PLAIN_HELLO):
        protocol = opened(hello)
        replies = [b"250 ok\r\n", b"550 no\r\n"] + [b"554 none\r\n"] * (hello is HELLO)
        deliver(protocol, envelope(), *replies)
        assert protocol.state is State.MAIL
        transaction, sent = deliver(
            protocol,
            envelope(),
            b"250 reset\r\n",
            b"250 ok\r\n",
            b"250 ok\r\n",
            b"354 go\r\n",
            b"250 ok\r\n",
        )
        assert sent.startswith(b"RSET\r\nMAIL")
        assert table(transaction) == [SENT]


def test_rset_refused():
    """A refused RSET ends the session; the message behind it was not begun."""
    protocol = opened()
    first, _ = deliver(protocol, envelope(), b"250 ok\r\n550 no\r\n554 none\r\n")
    second, _ = deliver(protocol, envelope(), b"500 what\r\n")
    assert table(first) == [("failed", "mailbox_unknown", "rcpt", "RCPT", 550)]
    assert not second.done
    assert protocol.failure.command == "RSET"
    assert not protocol.idle


def test_early_refusal():
    """A refusal in the middle of the content is its verdict, and the dot is never sent."""
    protocol = opened()
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    flush(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.send_content(transaction)
    protocol.data_to_send()
    protocol.sent_total += 5
    protocol.receive_data(b"552 5.3.4 too much\r\n")
    (result,) = transaction.results(FACTS, disconnected=True)
    assert (result.code, result.category, result.phase) == (552, "too_large", "eod")
    assert (result.error.content_sent, result.error.disconnected) == ("partial", True)
    assert protocol.state is State.CLOSED


@pytest.mark.parametrize(("sent", "content_sent"), [(0, "no"), (5, "partial")])
def test_early_eof_and_early_250(sent, content_sent):
    """A content that has not wholly left cannot have been taken, whatever comes."""
    for end in (lambda p: p.receive_eof(), lambda p: p.receive_data(b"250 ok\r\n")):
        protocol = opened()
        transaction = protocol.prepare(envelope())
        protocol.begin(transaction)
        flush(protocol)
        feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
        protocol.send_content(transaction)
        protocol.data_to_send()
        protocol.sent_total += sent
        end(protocol)
        (result,) = transaction.results(FACTS, disconnected=False)
        assert (result.outcome, result.error.content_sent) == ("deferred", content_sent)


def test_withdraw():
    """A message withdrawn before its content ends the session without a dot, and has no outcome."""
    protocol = opened()
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    flush(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.withdraw()
    assert not transaction.done
    assert flush(protocol) == b""
    assert [type(event) for event in events(protocol)] == [ContentWanted, Ended]
    assert not protocol.idle


def test_eof_between_354_and_content():
    """A hang-up that is seen before the content leaves is about DATA."""
    protocol = opened()
    transaction = protocol.prepare(envelope())
    protocol.begin(transaction)
    flush(protocol)
    feed(protocol, b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.receive_eof()
    (result,) = transaction.results(FACTS, disconnected=True)
    assert (result.phase, result.outcome, result.error.content_sent) == ("data", "deferred", "no")


@pytest.mark.parametrize("stray", [b"250 more\r\n", b"250", b"junk\r\n", b"junk"])
def test_stray(stray):
    """What nobody asked for ends the session, and changes no result."""
    protocol = opened()
    transaction, _ = deliver(
        protocol, envelope(), b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n" + stray
    )
    assert table(transaction) == [SENT]
    assert isinstance(protocol.failure, ProtocolError)
    assert not protocol.idle


def test_idle_end():
    """An idle session is ended by 421 and by a hang-up; empty lines are nothing."""
    protocol = opened()
    feed(protocol, b"\r\n")
    assert protocol.idle
    feed(protocol, b"421 4.4.2 idle\r\n")
    assert isinstance(protocol.failure, ServiceUnavailable)
    feed(protocol, b"421 again\r\n")
    protocol = opened()
    protocol.receive_eof()
    assert isinstance(protocol.failure, ServerDisconnected)


def test_quit():
    """QUIT ends the dialogue, with and without an answer."""
    for end in (
        lambda p: p.receive_data(b"221 bye\r\n"),
        lambda p: p.receive_eof(),
        lambda p: p.receive_data(b"421 bye\r\n"),
    ):
        protocol = opened()
        assert protocol.can_quit
        protocol.quit()
        assert flush(protocol) == b"QUIT\r\n"
        end(protocol)
        assert protocol.failure is None or protocol.failure.code == 421
        assert not protocol.idle


def test_noop():
    """NOOP changes nothing."""
    protocol = opened()
    protocol.noop()
    assert flush(protocol) == b"NOOP\r\n"
    feed(protocol, b"500 what\r\n")
    assert protocol.idle


def test_error_below():
    """A failure below SMTP gets the place it happened at."""
    protocol = opened()
    transaction, _ = deliver(protocol, envelope(), b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.receive_error(SMTPError("alert"))
    assert table(transaction) == [("unknown", "unknown_outcome", "eod", "DATA", None)]
    protocol.receive_error(SMTPError("again"))
    assert str(protocol.failure) == "alert"
    protocol = opened()
    protocol.receive_error(SMTPError("alert", category="tls_error"))
    assert protocol.failure.category == "tls_error"


@pytest.mark.parametrize(
    ("hello", "mail", "category", "text"),
    [
        (b"250-mx\r\n250 SIZE 10\r\n", envelope(), "too_large", "26 bytes"),
        (
            b"250 mx\r\n",
            envelope(content="S: x\r\n\r\n\u00fc\r\n".encode()),
            "unsupported",
            "8BITMIME",
        ),
        (b"250 mx\r\n", envelope("\u00fc@example.net"), "unsupported", "SMTPUTF8"),
        (
            b"250-mx\r\n250 8BITMIME\r\n",
            envelope(content="S: \u00fc\r\n\r\n".encode()),
            "unsupported",
            "SMTPUTF8",
        ),
    ],
)
def test_unsupported(hello, mail, category, text):
    """What the server cannot take is refused before MAIL, and the session goes on."""
    protocol = opened(hello)
    with pytest.raises(UnsupportedFeature, match=text) as caught:
        protocol.prepare(mail)
    assert (caught.value.category, caught.value.phase, caught.value.code) == (
        category,
        "mail",
        None,
    )
    assert flush(protocol) == b""
    assert protocol.idle


def test_parameters():
    """8BITMIME and SMTPUTF8 are said where they are needed, and only there."""
    hello = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"
    protocol = opened(hello)
    content = "Subject: \u00fc\r\n\r\n\u00fc".encode()
    (mail, *_) = protocol.prepare(envelope("\u00fc@example.net", content=content)).group
    assert mail == b"MAIL FROM:<me@example.com> SIZE=19 BODY=8BITMIME SMTPUTF8\r\n"
    (mail, *_) = protocol.prepare(envelope()).group
    assert mail == b"MAIL FROM:<me@example.com> SIZE=26\r\n"


@given(
    st.lists(
        st.sampled_from(
            [
                b"250 ok\r\n",
                b"354 go\r\n",
                b"550 no\r\n",
                b"421 x\r\n",
                b"250-",
                b"\r\n",
                b"junk",
                b"\x00",
                b"450 4.7.1 x\r\n",
                b"220 go\r\n",
            ]
        ),
        max_size=14,
    )
)
def test_any_server(replies):
    """Whatever a server says, there is one result per recipient, or the session has not ended."""
    protocol = opened(timeout=options().timeout)
    mail = envelope(*TWO)
    transaction = protocol.prepare(mail)
    protocol.begin(transaction)
    flush(protocol)
    for reply in replies:
        feed(protocol, reply)
        if ContentWanted(transaction) in events(protocol):
            protocol.send_content(transaction)
            flush(protocol)
    protocol.receive_eof()
    assert transaction.done
    assert len(table(transaction)) == 2
