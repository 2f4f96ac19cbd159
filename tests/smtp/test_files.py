"""Contents that are read while they are sent, and what becomes of those that cannot be."""

from __future__ import annotations

import io
import os
from itertools import pairwise

import pytest

from django_smtpx.smtp import Client, Envelope, content
from django_smtpx.testing import ScriptedServer

LINES = b"Subject: x\r\n\r\n" + b".line\r\n" * 40


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(content, "BLOCK", 16)
    monkeypatch.setattr(content, "WHOLE_MAX", 100)


class Broken(io.BytesIO):
    """A file that cannot be read any more once so many blocks were."""

    def __init__(self, data, blocks):
        super().__init__(data)
        self.blocks = blocks

    def read(self, size=-1):
        """Read, or fail."""
        self.blocks -= 1
        if self.blocks < 0:
            raise OSError("the disk is gone")
        return super().read(size)


def send(server, *contents, **options):
    """Send a message for each content; return their results."""
    with Client(server.host, server.port, **options) as client:
        envelopes = [Envelope("me@example.com", ["you@example.net"], each) for each in contents]
        return [outcome.results[0] for outcome in client.send_all(envelopes)]


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("chunking", [True, False])
def test_files_among_others(chunking, window):
    """Files and bytes go over one connection, in their order, each whole."""
    contents = [
        b"Subject: first\r\n\r\n",
        io.BytesIO(LINES),
        b"S: y\r\n\r\n",
        LINES,
        io.BytesIO(LINES),
    ]
    with ScriptedServer(chunking=chunking) as server:
        results = send(server, *contents, chunking_window=window)
        taken = [message.content for message in server.messages]
        assert len(server.sessions) == 1
    assert [result.outcome for result in results] == ["sent"] * 5
    assert taken == [contents[0], LINES, contents[2], LINES, LINES]


@pytest.mark.parametrize("chunking", [True, False])
def test_a_file_that_breaks_off(chunking):
    """It gets no end and is not delivered; the message behind it goes over another connection."""
    blocks = len(LINES) // 16 + 5
    with ScriptedServer(chunking=chunking) as server:
        broken, after = send(server, Broken(LINES, blocks), b"Subject: y\r\n\r\n")
        assert len(server.messages) == 1
    assert (broken.outcome, broken.phase, broken.category) == ("deferred", "eod", "other_temporary")
    assert broken.command == ("BDAT" if chunking else "DATA")
    assert broken.error.content_sent == "partial"
    assert "the disk is gone" in str(broken.error)
    assert after.outcome == "sent"


@pytest.mark.parametrize("window", [1, 4])
def test_a_file_that_cannot_be_looked_through(window):
    """Nothing of it is sent, and its neighbours, one of them under way, are not touched."""
    closed = io.BytesIO(LINES)
    envelopes = [
        Envelope("me@example.com", ["you@example.net"], each)
        for each in (b"S: 1\r\n\r\n", Broken(LINES, 0), closed, b"S: 2\r\n\r\n")
    ]
    closed.close()
    with (
        ScriptedServer(chunking=True) as server,
        Client(server.host, server.port, chunking_window=window) as client,
    ):
        results = [outcome.results[0] for outcome in client.send_all(envelopes)]
        assert len(server.sessions) == 1
        assert len(server.messages) == 2
    assert [result.outcome for result in results] == ["sent", "deferred", "deferred", "sent"]
    assert "closed file" in str(results[2].error)


def test_a_refused_chunk_ends_the_sending():
    """What a server refuses in the middle is not completed; its reason is the error."""
    with ScriptedServer({"BDAT": [None, "552 5.3.4 too large"]}, chunking=True) as server:
        (result,) = send(server, io.BytesIO(LINES))
        assert server.messages == ()
    assert (result.outcome, result.code, result.enhanced_code) == ("failed", 552, "5.3.4")
    assert (result.phase, result.command, result.category) == ("eod", "BDAT", "too_large")


def test_a_file_is_sent_from_where_it_stood():
    """What was read of it before the envelope was made is not part of the content."""
    file = io.BytesIO(b"not this\r\n" + LINES)
    file.readline()
    with ScriptedServer(chunking=True) as server:
        send(server, file)
        (taken,) = server.messages
    assert taken.content == LINES
    assert all(size <= 18 for size, _ in pairwise(taken.chunks))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process")
def test_a_client_across_a_fork():
    """In a forked child it speaks over a connection of its own; the parent's is not disturbed."""
    with (
        ScriptedServer() as server,
        Client(server.host, server.port) as client,
    ):
        client.send(Envelope("me@example.com", ["parent@example.net"], b"S: 1\r\n\r\n"))
        pid = os.fork()
        if not pid:
            try:
                client.send(Envelope("me@example.com", ["child@example.net"], b"S: 2\r\n\r\n"))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        client.send(Envelope("me@example.com", ["parent@example.net"], b"S: 3\r\n\r\n"))
        taken = [(message.recipients[0], message.session) for message in server.messages]
    assert taken == [("parent@example.net", 1), ("child@example.net", 2), ("parent@example.net", 1)]
