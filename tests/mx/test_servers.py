from __future__ import annotations

import os
import re
import socket
import threading

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest

from django_smtpx.mx.servers import Failed, Question, Servers
from django_smtpx.smtp.deadline import Deadline
from tests.mx.responder import Responder, response, silence

QUESTION = Question(dns.name.from_text("a.example"), dns.rdatatype.A)


@pytest.fixture
def second(responder):
    """Another server, at the same port of another address."""
    with Responder("127.0.0.2", responder.port) as server:
        yield server


def ask(*responders, seconds=10.0, question=QUESTION):
    """Ask them in this order, and return the answer's first record."""
    servers = Servers([one.host for one in responders], responders[0].port)
    return first_of(servers.ask(question, Deadline(seconds)))


def first_of(message):
    """Return the text of a message's first record."""
    return message.answer[0][0].to_text()


def refused(*responders, seconds=10.0):
    """Return what is said when none of them answers."""
    with pytest.raises(Failed) as caught:
        ask(*responders, seconds=seconds)
    return str(caught.value)


def answers(query, tcp):
    """Answer as it should be."""
    answer = response(query)
    answer.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "A", "192.0.2.1"))
    return [answer.to_wire()]


def truncated(query, tcp):
    """Answer over TCP alone."""
    if tcp:
        return answers(query, tcp)
    answer = response(query)
    answer.flags |= dns.flags.TC
    return [answer.to_wire()]


# -- which server is asked -----------------------------------------------------------------------


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", "YXDOMAIN"])
def test_the_next_server(responder, second, rcode):
    """Where one has no answer, the next is asked, and the one is not bothered again."""
    responder.gives("a.example", "A", rcode=rcode)
    second.gives("a.example", "A", "192.0.2.2")
    assert ask(responder, second) == "192.0.2.2"
    assert len(responder.asked) == 1


def test_nobody_has_an_answer(responder, second):
    """Each is asked once, and the error tells of each."""
    responder.gives("a.example", "A", rcode="SERVFAIL")
    second.gives("a.example", "A", rcode="REFUSED")
    said = refused(responder, second)
    assert f"the DNS server 127.0.0.1:{responder.port} answered SERVFAIL (the domain's own" in said
    assert f"the DNS server 127.0.0.2:{responder.port} answered REFUSED (it does not res" in said
    assert (len(responder.asked), len(second.asked)) == (1, 1)


def test_a_silent_server(responder, second):
    """The next one is asked in good time, and first from then on."""
    responder.does("a.example", "A", silence)
    second.gives("a.example", "A", "192.0.2.2")
    servers = Servers([responder.host, second.host], responder.port)
    for _ in range(3):
        assert first_of(servers.ask(QUESTION, Deadline(6))) == "192.0.2.2"
    assert len(responder.asked) == 1


def test_a_lost_packet(responder):
    """The only server is asked again before the time is up."""
    responder.does("a.example", "A", silence)
    responder.does("a.example", "A", answers)
    assert ask(responder, seconds=3) == "192.0.2.1"
    first, again = (one.message for one in responder.asked)
    assert first.id != again.id


def test_silence(responder, second):
    """All are asked twice, and the error says how long that took."""
    responder.does("a.example", "A", silence)
    second.does("a.example", "A", silence)
    said = refused(responder, second, seconds=0.4)
    assert f"127.0.0.1:{responder.port} gave no answer (asked twice); the DNS server" in said
    assert f"127.0.0.2:{responder.port} gave no answer (asked twice); after 0." in said
    assert (len(responder.asked), len(second.asked)) == (2, 2)


def test_no_time_at_all(responder):
    """Nobody is asked, and the error says that."""
    assert "was not asked, as the time was up" in refused(responder, seconds=0)
    assert responder.asked == []


def test_nobody_there(responder):
    """A port without a server is known as one at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(Failed, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
        Servers(["127.0.0.1"], port).ask(QUESTION, Deadline(60))


# -- what comes ----------------------------------------------------------------------------------


def test_a_long_answer(responder):
    """What does not fit a datagram is asked for over TCP."""
    responder.does("a.example", "A", truncated)
    assert ask(responder) == "192.0.2.1"
    assert [one.tcp for one in responder.asked] == [False, True]


def test_a_long_answer_that_does_not_come(responder):
    """A server that closes the connection is one that did not answer."""
    responder.does("a.example", "A", lambda query, tcp: [] if tcp else truncated(query, tcp))
    assert "did not give it over TCP: the connection was closed (asked twice)" in refused(responder)


def test_a_long_answer_that_never_ends(responder):
    """A server that keeps the connection open, and says nothing, has its time and no more."""
    over = threading.Event()

    def reply(query, tcp):
        if tcp:
            over.wait(30)
            return []
        return truncated(query, tcp)

    responder.does("a.example", "A", reply)
    try:
        said = refused(responder, seconds=0.3)
    finally:
        over.set()
    assert "has a long answer, and did not give it over TCP in time" in said


def test_a_malformed_long_answer(responder):
    """What is no message is no answer, over TCP either."""
    responder.does(
        "a.example", "A", lambda query, tcp: [b"rubbish"] if tcp else truncated(query, tcp)
    )
    assert re.search(r"gave a malformed answer \(.*\) over TCP", refused(responder))


def test_what_comes_first_is_not_it(responder):
    """Datagrams that are malformed, or answer something else, are passed over."""

    def reply(query, tcp):
        other = dns.message.make_query("b.example", "A", id=query.id)
        forged = dns.message.make_query("a.example", "A", id=query.id ^ 1)
        return [
            b"rubbish",
            *truncated(forged, tcp),
            *answers(other, tcp),
            *answers(forged, tcp),
            *answers(query, tcp),
        ]

    responder.does("a.example", "A", reply)
    assert ask(responder) == "192.0.2.1"
    assert len(responder.asked) == 1


def test_a_malformed_answer(responder):
    """Where nothing better comes, that is what the error tells of."""
    responder.does("a.example", "A", lambda *_: [b"rubbish"])
    assert "gave a malformed answer (" in refused(responder, seconds=0.2)


def test_an_answer_to_something_else(responder):
    """Where nothing better comes, that is what the error tells of."""
    responder.does(
        "a.example", "A", lambda query, tcp: answers(dns.message.make_query("b.example", "A"), tcp)
    )
    assert "answered another question (asked twice)" in refused(responder, seconds=0.2)


def test_a_server_without_edns(responder):
    """It is asked in the old way."""

    def reply(query, tcp):
        if query.edns < 0:
            return answers(query, tcp)
        answer = response(query, "FORMERR")
        answer.use_edns(edns=False)
        return [answer.to_wire()]

    responder.does("a.example", "A", reply)
    question = Question(QUESTION.name, QUESTION.rdtype, dnssec=True)
    assert ask(responder, question=question) == "192.0.2.1"
    assert all(one.message.flags & dns.flags.AD for one in responder.asked)


def test_a_referral(responder, second):
    """A server that does not recurse has not said that there is nothing."""

    def change(answer):
        answer.flags &= ~dns.flags.RA
        answer.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))

    responder.gives("a.example", "A", minimum=None, change=change)
    second.gives("a.example", "A", "192.0.2.2")
    assert ask(responder, second) == "192.0.2.2"
    assert "referred to other servers" in refused(responder)


def test_what_the_server_says_of_its_failure(responder):
    """Its own reason is better than ours (RFC 8914)."""
    expired = dns.edns.EDEOption(dns.edns.EDECode.SIGNATURE_EXPIRED, "of example.")
    blocked = dns.edns.EDEOption(dns.edns.EDECode.BLOCKED)
    responder.gives(
        "a.example",
        "A",
        rcode="SERVFAIL",
        change=lambda answer: answer.use_edns(0, options=[expired, blocked]),
    )
    assert "answered SERVFAIL (SIGNATURE EXPIRED: of example., BLOCKED);" in refused(responder)


# -- the system's servers ------------------------------------------------------------------------


def test_the_systems_servers(responder, second, tmp_path):
    """They are read from its file, and read again when that has changed."""
    responder.gives("a.example", "A", "192.0.2.1")
    second.gives("a.example", "A", "192.0.2.2")
    file = tmp_path / "resolv.conf"
    file.write_text("# none yet\nsearch example\n")
    servers = Servers([], responder.port, file=str(file))
    assert first_of(servers.ask(QUESTION, Deadline(10))) == "192.0.2.1"
    file.write_text("nameserver 127.0.0.2\nnameserver 127.0.0.2\noptions edns0\n")
    os.utime(file, (0, 0))  # two changes may be too near to each other for a file system's clock
    assert first_of(servers.ask(QUESTION, Deadline(10))) == "192.0.2.2"
    assert first_of(servers.ask(QUESTION, Deadline(10))) == "192.0.2.2"


def test_without_a_file(responder, tmp_path):
    """There is one on this machine then, as in resolv.conf(5)."""
    responder.gives("a.example", "A", "192.0.2.1")
    servers = Servers([], responder.port, file=str(tmp_path / "none"))
    assert first_of(servers.ask(QUESTION, Deadline(10))) == "192.0.2.1"
