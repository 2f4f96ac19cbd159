"""Where the parts of a mail begin and end (RFC 2045, RFC 2046), found in one pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO

from django_smtpx.reading import transfer
from django_smtpx.reading.headers import Header, decoded_words, fields, parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_HEADER = 64 * 1024
"""Bytes of one header that are looked at."""
MOST_PARTS = 1000
"""Parts that are told apart, multiparts among them."""
MOST_DEPTH = 30
"""Multiparts within each other."""

_BLOCK = 64 * 1024
_LONGEST_DELIMITER = 1000
_LONGEST_BOUNDARY = 200  # characters; RFC 2046 section 5.1.1 has 70
_MOST_SIMILAR = 100_000  # lines that begin as delimiters do, and are none
_LONGEST_NAME = 1000
_LONGEST_TYPE = 127  # RFC 6838 section 4.2, each of the two

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.ASCII)
_TOKEN = re.compile(r"[a-z0-9-]*", re.ASCII)
_PADDING = b" \t\r\n"


class Oddity(Enum):
    """What is wrong with a mail, or was too much of it."""

    HEADER_CUT = "header_cut"
    HEADLESS = "headless"
    TOO_MANY = "too_many"
    TOO_DEEP = "too_deep"
    NO_BOUNDARY = "no_boundary"
    UNCLOSED = "unclosed"
    ENCODING = "encoding"
    CHARSET = "charset"


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no multipart: what it says of itself, and where its body is in the file."""

    number: int
    content_type: str
    start: int
    end: int
    charset: str = ""
    encoding: str = ""
    disposition: str = ""
    name: str = ""
    content_id: str = ""

    @property
    def size(self) -> int:
        """Bytes when decoded, near enough: of base64, lines of 76 characters are expected."""
        encoded = self.end - self.start
        return encoded * 57 // 78 if self.encoding == "base64" else encoded

    @property
    def is_body(self) -> bool:
        """Whether it is there to be read, and not to be kept."""
        return self.disposition != "attachment" and not self.name


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail's header and parts, in their order, and what is wrong with it."""

    headers: tuple[Header, ...]
    raw_header: bytes
    parts: tuple[Part, ...]
    oddities: frozenset[Oddity]

    @property
    def texts(self) -> tuple[Part, ...]:
        """The plain texts that are there to be read."""
        return tuple(one for one in self.parts if one.is_body and one.content_type == "text/plain")

    @property
    def html(self) -> Part | None:
        """The first HTML that is there to be read."""
        found = (one for one in self.parts if one.is_body and one.content_type == "text/html")
        return next(found, None)

    @property
    def attachments(self) -> tuple[Part, ...]:
        """All other parts, images for the HTML among them."""
        shown = {one.number for one in (*self.texts, self.html) if one is not None}
        return tuple(one for one in self.parts if one.number not in shown)


def scan(file: BinaryIO) -> Mail:
    """Return what ``file``, which can seek, consists of. Raises what reading it raises."""
    return _Scan(file).run()


@dataclass(frozen=True, slots=True)
class _Multipart:
    boundary: bytes
    default: str


class _Scan:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._open: list[_Multipart] = []
        self._part: Part | None = None
        self._parts: list[Part] = []
        self._seen = self._seen_similar = 0
        self._oddities: set[Oddity] = set()

    def run(self) -> Mail:
        header, place = self._header(0)
        self._begin(header, place)
        while self._open:
            found = next(self._delimiters(place), None)
            if found is None:
                self._oddities.add(Oddity.UNCLOSED)
                break
            offset, length, level, closes = found
            self._end(self._before(offset))
            if self._seen >= MOST_PARTS and not closes:
                self._oddities.add(Oddity.TOO_MANY)
                break
            place = self._turn(offset + length, level, closes=closes)
        self._end(self._file.seek(0, 2))
        pairs = ((name, decoded_words(value)) for name, value in fields(header))
        headers = tuple(Header(name, value) for name, value in pairs)
        return Mail(headers, header, tuple(self._parts), frozenset(self._oddities))

    def _turn(self, place: int, level: int, *, closes: bool) -> int:
        """Go past a delimiter of the multipart at ``level``; return where to look on from."""
        if len(self._open) > level + 1:
            self._oddities.add(Oddity.UNCLOSED)
        del self._open[level if closes else level + 1 :]
        if closes:
            return place
        header, place = self._header(place)
        self._begin(header, place)
        return place

    def _begin(self, header: bytes, place: int) -> None:
        """Begin a part: a multipart is gone into, any other has a body to be ended."""
        self._seen += 1
        named = {name.lower(): value for name, value in reversed(fields(header))}
        default = self._open[-1].default if self._open else "text/plain"
        given = named.get("content-type", "")
        kind = _content_type(given, default)
        values = parameters(given)
        if kind.startswith("multipart/"):
            boundary = values.get("boundary", "").rstrip()
            if not boundary or len(boundary) > _LONGEST_BOUNDARY:
                self._oddities.add(Oddity.NO_BOUNDARY)
                kind = "text/plain"
            elif len(self._open) >= MOST_DEPTH:
                self._oddities.add(Oddity.TOO_DEEP)
            else:
                inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
                self._open.append(_Multipart(boundary.encode("utf-8", "replace"), inner))
                return
        self._part = self._described(named, kind, values, place)

    def _described(
        self, named: dict[str, str], kind: str, values: dict[str, str], place: int
    ) -> Part:
        encoding = _token(named.get("content-transfer-encoding", ""))
        if encoding not in transfer.KNOWN:
            self._oddities.add(Oddity.ENCODING)
        said = named.get("content-disposition", "")
        name = parameters(said).get("filename") or values.get("name", "")
        return Part(
            number=len(self._parts) + 1,
            content_type=kind,
            start=place,
            end=place,
            charset=values.get("charset", "").strip()[:_LONGEST_TYPE],
            encoding=encoding,
            disposition=_token(said),
            name=name[:_LONGEST_NAME],
            content_id=named.get("content-id", "").strip("<> \t")[:_LONGEST_NAME],
        )

    def _end(self, place: int) -> None:
        if self._part is not None:
            one = self._part
            values = {name: getattr(one, name) for name in one.__slots__}
            self._parts.append(Part(**(values | {"end": max(one.start, place)})))
        self._part = None

    def _before(self, offset: int) -> int:
        """Return where the body before a delimiter ends: the line end there is the delimiter's."""
        start = max(0, offset - 2)
        self._file.seek(start)
        ending = self._file.read(offset - start)
        if ending.endswith(b"\r\n"):
            return offset - 2
        return offset - 1 if ending.endswith(b"\n") else offset

    def _header(self, place: int) -> tuple[bytes, int]:
        """Return the header that begins at ``place``, cut if need be, and where the body does."""
        self._file.seek(place)
        lines: list[bytes] = []
        end, at_start = place + MOST_HEADER, True
        while line := self._file.readline(_BLOCK):
            if at_start and line in (b"\r\n", b"\n"):
                return b"".join(lines), place + len(line)
            if at_start and not self._is_header(line, first=not lines):
                break
            if place >= end:
                self._oddities.add(Oddity.HEADER_CUT)
                break
            lines.append(line)
            place += len(line)
            at_start = line.endswith(b"\n")
        return b"".join(lines), place

    def _is_header(self, line: bytes, *, first: bool) -> bool:
        """Say whether the header goes on with ``line``: a body may begin without the empty one."""
        if (line[:1] in b" \t" and not first) or _FIELD.match(line):
            return True
        if self._delimiter(line) is None:
            self._oddities.add(Oddity.HEADLESS)
        return False

    def _delimiters(self, place: int) -> Iterator[tuple[int, int, int, bool]]:
        """Yield offset and length of delimiters, the level that they are of, whether they close."""
        beginnings = {b"--" + one.boundary for one in self._open}
        for offset, line in _lines(self._file, place, beginnings):
            found = self._delimiter(line)
            if found is not None:
                yield offset, len(line), *found
            elif self._seen_similar >= _MOST_SIMILAR:
                self._oddities.add(Oddity.TOO_MANY)
                return
            self._seen_similar += 1

    def _delimiter(self, line: bytes) -> tuple[int, bool] | None:
        if not line.startswith(b"--"):
            return None
        said = line[2:].rstrip(_PADDING)
        for level in range(len(self._open) - 1, -1, -1):
            boundary = self._open[level].boundary
            if said == boundary:
                return level, False
            if said == boundary + b"--":
                return level, True
        return None


def _lines(file: BinaryIO, place: int, beginnings: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and text of each line with such a beginning, from the line at ``place`` on.

    A line that is longer than any delimiter is cut.
    """
    needles = [b"\n" + one for one in beginnings]
    longest = max(map(len, needles))
    file.seek(place)
    data, base = b"\n", place - 1
    while True:
        block = file.read(_BLOCK)
        data += block
        places = [data.find(needle) for needle in needles]
        while (at := _first(places)) >= 0:
            end = data.find(b"\n", at + 1) + 1
            if not end and block and len(data) - at <= _LONGEST_DELIMITER:
                break  # The rest of the line is in the next block.
            end = end or len(data)
            yield base + at + 1, data[at + 1 : min(end, at + _LONGEST_DELIMITER)]
            for index, found in enumerate(places):
                if 0 <= found < end - 1:
                    places[index] = data.find(needles[index], end - 1)
        if not block:
            return
        done = at if at >= 0 else max(0, len(data) - longest)
        data, base = data[done:], base + done


def _first(places: Iterable[int]) -> int:
    return min((place for place in places if place >= 0), default=-1)


def _content_type(value: str, default: str) -> str:
    if not value:
        return default
    found = _TYPE.match(value.lower())
    if found is None or len(found[0]) > 2 * _LONGEST_TYPE + 1:
        return "application/octet-stream"
    return found[0]


def _token(value: str) -> str:
    found = _TOKEN.match(value.strip().lower())
    return found[0][:_LONGEST_TYPE] if found else ""
