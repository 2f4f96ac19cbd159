"""Targets without a dialogue: replies, what EHLO says, contents, secrets.

Each takes the bytes of one input, and raises where something does not hold.
"""

from __future__ import annotations

import base64
import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from django_smtpx.smtp import content, parser, verdict
from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.errors import ProtocolError
from django_smtpx.smtp.options import Credential
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.redaction import REDACTED, Redactor
from django_smtpx.smtp.reply import Reply
from fuzz.source import cut, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fuzz.source import Choices

PHASES = (
    "resolve", "connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "eod",
)  # fmt: skip
OUTCOMES = {"sent", "deferred", "failed", "unknown"}
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


# -- replies -------------------------------------------------------------------------------------


def replies(data: bytes) -> None:
    """However the stream is cut, the same replies come out of it, or the same error."""
    said, choices = read(data)
    with _limits(near=choices.below(4) > 0):
        _replies(said, choices)


def _replies(said: bytes, choices: Choices) -> None:
    whole = _read_all([said])
    assert _read_all(cut(said, choices)) == whole
    if len(said) <= 256:
        assert _read_all(said[at : at + 1] for at in range(len(said))) == whole
    for reply in set(whole[0]):
        check_reply(reply)


@contextmanager
def _limits(*, near: bool) -> Iterator[None]:
    """Let the limits be so near that inputs come to them, or as they are.

    Not nearer than a short line, which is read at once.
    """
    names = ("LINE_LIMIT", "LINES_LIMIT", "TOTAL_LIMIT", "EMPTY_LINES_LIMIT")
    before = [getattr(parser, name) for name in names]
    for name, limit in zip(names, (1_010, 6, 1_300, 2), strict=True):
        if near:
            setattr(parser, name, limit)
    try:
        yield
    finally:
        for name, limit in zip(names, before, strict=True):
            setattr(parser, name, limit)


def _read_all(pieces: Iterable[bytes]) -> tuple[list[Reply], str, bytes]:
    """Return the replies, then the error, or what was left."""
    reader = ReplyReader()
    found: list[Reply] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (reply := reader.next_reply()) is not None:
                found.append(reply)
    except ProtocolError as error:
        return found, str(error), b""
    return found, "", reader.trailing


def check_reply(reply: Reply) -> None:
    """See that a reply is one, that it is bounded, and that every judge has a word for it."""
    assert 200 <= reply.code <= 599
    assert 1 <= len(reply.lines) <= parser.LINES_LIMIT
    assert sum(map(len, reply.lines)) <= 4 * parser.TOTAL_LIMIT
    assert not any(map(_CONTROL.search, reply.lines))
    enhanced, text = reply.enhanced_code, reply.text
    assert not enhanced or _ENHANCED.fullmatch(enhanced), enhanced
    assert not enhanced or int(enhanced[0]) == reply.severity
    assert str(reply).startswith(str(reply.code))
    assert text.count("\n") == len(reply.lines) - 1
    for phase in PHASES:
        for relay in (True, False):
            judged = verdict.judge_reply(phase, reply, relay=relay)
            assert judged.outcome in OUTCOMES
            assert (judged.action == "none") == (judged.rule == "") == (reply.severity < 4)
    wire = _wire(reply)
    if len(wire) <= parser.TOTAL_LIMIT and max(map(len, wire.splitlines())) <= parser.LINE_LIMIT:
        assert _read_all([wire]) == ([reply], "", b"")


def _wire(reply: Reply) -> bytes:
    *more, last = reply.lines
    lines = [f"{reply.code}-{line}" for line in more] + [f"{reply.code} {last}"]
    return "".join(f"{line}\r\n" for line in lines).encode()


# -- EHLO ----------------------------------------------------------------------------------------


def capabilities(data: bytes) -> None:
    """What a server announces becomes a value, whatever it is."""
    said, _ = read(data)
    for reply in _read_all([said])[0]:
        check_capabilities(reply)


def check_capabilities(reply: Reply) -> None:
    """See that what EHLO said is a bounded value, and the same in another case and order."""
    able = Capabilities.from_reply(reply)
    assert hash(able.auth) == hash(tuple(able.auth))
    assert len(able.keywords) < len(reply.lines)
    assert all(re.fullmatch("[A-Z0-9][A-Z0-9-]*", keyword) for keyword in able.keywords)
    assert len(set(able.auth)) == len(able.auth)
    assert not any(re.search(r"[\s=]", name) for name in able.auth)
    assert able.size_limit is None or 0 < able.size_limit < 10**20
    for limit in (able.rcpt_max, able.rcpt_domain_max, able.mail_max):
        assert limit is None or 0 < limit < 10**6
    assert able.size == ("SIZE" in able.keywords)
    assert able.starttls == ("STARTTLS" in able.keywords)
    if all(map(str.isascii, reply.lines)):
        lower = Reply(reply.code, tuple(map(str.lower, reply.lines)))
        again = Capabilities.from_reply(lower)
        assert (again.auth, again.size_limit) == (able.auth, able.size_limit)
        assert (again.rcpt_max, again.mail_max) == (able.rcpt_max, able.mail_max)
        assert list(again.keywords) == list(able.keywords)


# -- contents ------------------------------------------------------------------------------------


def contents(data: bytes) -> None:
    """A content comes off the wire as it was meant, in one piece or in blocks of any size."""
    raw, choices = read(data)
    normal = content.normalise(raw)
    assert normal == _by_lines(raw)
    assert content.normalise(normal) == normal
    wire = content.stuff(normal)
    assert unstuff(wire) == (normal, b"")
    start = choices.below(4)
    file = io.BytesIO(b"x" * start + raw)
    with _blocks(1 + choices.below(40)):
        body = content.inspect(file, start)
        assert body.size == len(normal)
        assert body.eight_bit == (not normal.isascii())
        assert body.eight_bit_header == content.has_8bit_header(normal)
        assert b"".join(content.normalised(file, start)) == normal
        pieces = list(content.stuffed(body))
        assert b"".join(pieces) == wire
        assert pieces[-1] is content.END
        chunks = list(content.chunks(body))
        assert b"".join(chunk for chunk, _ in chunks) == normal
        assert [last for _, last in chunks] == [False] * (len(chunks) - 1) + [True]
        _change(file, start, body, choices)


def _change(file: io.BytesIO, start: int, body: content.Body, choices: Choices) -> None:
    """See that a file which is not what it was never comes to its end on the wire."""
    file.seek(start)
    file.truncate()
    file.write(choices.bytes(64))
    if len(content.normalise(file.getvalue()[start:])) == body.size:
        return
    for pieces in (content.stuffed(body), content.chunks(body)):
        seen: list[object] = []
        try:
            seen.extend(pieces)
        except content.ContentChanged:
            assert not any(each is content.END for each in seen)
            assert not any(isinstance(each, tuple) and each[1] for each in seen)
        else:
            raise AssertionError("a content that was changed was sent all the same")


@contextmanager
def _blocks(size: int) -> Iterator[None]:
    """Let contents be read in blocks of ``size`` bytes."""
    before = content.BLOCK
    content.BLOCK = size
    try:
        yield
    finally:
        content.BLOCK = before


def _by_lines(raw: bytes) -> bytes:
    """Normalise, one line after the other: slow, and hard to get wrong."""
    lines = re.split(rb"\r\n|\r|\n", raw)
    if not lines[-1]:
        del lines[-1]
    return b"".join(line + b"\r\n" for line in lines)


def unstuff(wire: bytes) -> tuple[bytes, bytes]:
    """Read a content as a server does, up to the final dot; return it, and what is behind it."""
    lines = []
    while wire:
        line, end, wire = wire.partition(b"\r\n")
        assert end, "a line without an end"
        assert b"\r" not in line
        assert b"\n" not in line
        if line == b".":
            return b"".join(lines), wire
        lines.append(line.removeprefix(b".") + end)
    raise AssertionError("no final dot")


# -- secrets -------------------------------------------------------------------------------------


def secrets(data: bytes) -> None:
    """A server that echoes a secret, in any encoding, does not get it into a reply of ours."""
    said, choices = read(data)
    name, _, rest = said.partition(b"\n")
    password, _, around = rest.partition(b"\n")
    credential = Credential(name.decode("utf-8", "replace"), password.decode("utf-8", "replace"))
    if not _worth_hiding(credential.password):
        return
    front, behind = (f" {part} " for part in _halves(around))
    redactor = Redactor(credential)
    for form in echoes(credential, choices):
        if form in front + behind or form in REDACTED:
            continue
        line = f"{front}{form}{behind}"
        reply = redactor.reply(Reply(535, (line, form)))
        assert form not in reply.text, form
        assert form not in redactor.text(line), form
        check_reply(Reply(reply.code, tuple(_CONTROL.sub("?", each) for each in reply.lines)))


def _worth_hiding(password: str) -> bool:
    """Whether the password would not be found by chance, or in what stands for it."""
    return len(password) >= 6 and password not in REDACTED and REDACTED not in password


def _halves(around: bytes) -> tuple[str, str]:
    text = around[:200].decode("utf-8", "replace")
    return text[::2], text[1::2]


def echoes(credential: Credential, choices: Choices) -> Iterator[str]:
    """Give the forms in which a server may hand the password back."""
    name, password = credential.username, credential.password
    raw = password.encode()
    yield password
    yield quote(password, safe="")
    yield quote_plus(password)
    yield raw.hex()
    yield raw.hex().upper()
    for whole in (
        raw,
        f"\0{name}\0{password}".encode(),
        f"{name}\0{name}\0{password}".encode(),
        b"x" * choices.below(7) + raw,
    ):
        yield base64.b64encode(whole).decode()
        yield base64.b64encode(whole).decode().rstrip("=")
