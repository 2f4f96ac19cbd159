"""The client on its own against Postfix: chunks, windows, large files, many recipients."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from django_smtpx.smtp import DSN, Client, Envelope

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.postfix import Postfix

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

REFUSED = "nobody@example.org"


def client(postfix: Postfix, **options: Any) -> Client:
    """Return a client of the server."""
    return Client(**{**postfix.options(), **options})


def content(number: int, size: int = 200) -> bytes:
    """Return a content that begins lines with dots."""
    return f"Subject: {number}\r\n\r\n".encode() + b".dot\r\n..\r\n" + b"x" * size + b"\r\n"


@pytest.mark.parametrize("window", [1, 16])
def test_many_in_a_row(postfix: Postfix, window: int) -> None:
    """By BDAT, one after the other or 16 at a time: each arrives once, byte for byte."""
    sent = [content(number) for number in range(300)]
    envelopes = [
        Envelope("a@example.com", [f"{number}@example.net"], each)
        for number, each in enumerate(sent)
    ]
    with client(postfix, chunking_window=window) as smtp:
        outcomes = list(smtp.send_all(envelopes))
        assert {outcome.results[0].command for outcome in outcomes} == {"BDAT"}
    assert [outcome.results[0].outcome for outcome in outcomes] == ["sent"] * 300
    postfix.settle()
    arrived = Counter((each.recipient, each.content) for each in postfix.delivered())
    expected = {(f"{number}@example.net", each): 1 for number, each in enumerate(sent)}
    assert arrived == expected


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize("pipelining", [True, False])
def test_refusals_in_between(
    postfix: Postfix, window: int, *, chunking: bool, pipelining: bool
) -> None:
    """A refused recipient, alone or among others, does not touch its neighbours."""
    to: list[list[str]] = [
        ["0@example.net"],
        [REFUSED],
        ["2@example.net", REFUSED],
        [REFUSED],
        [REFUSED, "4@example.net"],
        ["5@example.net"],
    ]
    envelopes = [Envelope("a@example.com", names, content(at)) for at, names in enumerate(to)]
    options = {"chunking": chunking, "chunking_window": window, "pipelining": pipelining}
    with client(postfix, **options) as smtp:
        outcomes = list(smtp.send_all(envelopes))
        assert smtp.session is not None
        assert smtp.session.usable
        assert smtp.session.transactions == len(to)
    found = [[(r.recipient, r.outcome, r.code) for r in each.results] for each in outcomes]
    expected = [
        [(name, "failed", 554) if name == REFUSED else (name, "sent", 250) for name in names]
        for names in to
    ]
    assert found == expected
    postfix.settle()
    assert Counter(each.recipient for each in postfix.delivered()) == Counter(
        name for names in to for name in names if name != REFUSED
    )


@pytest.mark.parametrize("chunking", [True, False])
def test_a_large_file(postfix: Postfix, tmp_path: Path, *, chunking: bool) -> None:
    """A file is sent in blocks, with the line ends and dots in place wherever a block ends."""
    path = tmp_path / "mail.eml"
    line = b".x" * 35 + b"\n"
    path.write_bytes(b"Subject: large\n\n" + line * 150_000 + b"the end")
    with path.open("rb") as file, client(postfix, chunking=chunking) as smtp:
        envelope = Envelope("a@example.com", ["b@example.net"], file)
        (first,) = smtp.send(envelope)
        (second,) = smtp.send(envelope)
    assert (first.outcome, second.outcome) == ("sent", "sent")
    postfix.settle()
    wanted = path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"
    assert [each.content == wanted for each in postfix.delivered()] == [True, True]


def test_many_recipients(postfix: Postfix) -> None:
    """More recipients than the server takes at once go in further transactions."""
    names = [f"{number}@example.net" for number in range(4500)]
    with client(postfix) as smtp:
        results = smtp.send(Envelope("a@example.com", names, content(0)))
        assert smtp.session is not None
        assert smtp.session.transactions == 5
    assert [result.recipient for result in results] == names
    assert {result.outcome for result in results} == {"sent"}


def test_status_notifications(postfix: Postfix) -> None:
    """The server understands what is asked of it, xtext included."""
    dsn = DSN(ret="HDRS", envid="a+b=c", notify=("SUCCESS", "DELAY"))
    envelope = Envelope("a@example.com", ["you+tag@example.net"], content(0), dsn=dsn)
    with client(postfix) as smtp:
        (result,) = smtp.send(envelope)
    assert result.outcome == "sent"
