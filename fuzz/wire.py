"""What was said on the wire, read by another reader than the client's own.

It knows the stream of everything the client wanted to send, and each reply with the number of bytes
that had left when it came. From that alone it says what became of each transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzz.values import unstuff

if TYPE_CHECKING:
    from django_smtpx.smtp.reply import Reply

FAR = 1 << 62
"""Where something ends whose end was never written."""
CONTENT = "."


@dataclass(frozen=True)
class Heard:
    """A reply, and how many bytes of the stream had left when it came."""

    reply: Reply
    sent: int


@dataclass(frozen=True)
class Said:
    """A command, or a content, with its place in the stream, and what was answered to it."""

    name: str
    line: bytes
    start: int
    end: int
    heard: Heard | None

    @property
    def last_chunk(self) -> bool:
        """Whether it ends a content that goes by BDAT."""
        return self.name == "BDAT" and self.line.endswith(b" LAST")


@dataclass
class Course:
    """What the wire tells of one transaction."""

    said: list[Said] = field(default_factory=list)
    content: bytes = b""
    start: int = FAR
    end: int = FAR

    def heard(self, *names: str) -> list[Reply]:
        """Return the replies to some of its commands, in their order."""
        return [each.heard.reply for each in self.said if each.heard and each.name in names]

    def left(self, sent: int) -> str:
        """Return how much of its content had left when ``sent`` bytes had."""
        if sent <= self.start:
            return "no"
        return "all" if sent >= self.end else "partial"

    @property
    def final(self) -> Heard | None:
        """The answer to the whole content, where it had left by then."""
        for each in self.said:
            if (each.name == CONTENT or each.last_chunk) and each.heard:
                return each.heard if each.heard.sent >= each.end else None
        return None


def read(stream: bytes, heard: list[Heard]) -> list[Said]:
    """Return what was said, in order; the greeting is the first reply, and answers nothing."""
    answers = iter(heard[1:])
    found: list[Said] = []
    at = 0
    while at < len(stream):
        each = _next(stream, at, found[-1] if found else None, answers)
        found.append(each)
        at = min(each.end, len(stream))
        if each.name == "DATA" and (each.heard is None or each.heard.reply.severity == 3):
            assert each.heard is not None or at == len(stream), "nothing goes behind DATA"
    return found


def _next(stream: bytes, at: int, before: Said | None, answers) -> Said:  # noqa: ANN001
    severity = before.heard.reply.severity if before and before.heard else 0
    if before and before.name == "DATA" and severity == 3:
        end = at + 3 if stream.startswith(b".\r\n", at) else stream.find(b"\r\n.\r\n", at) + 5
        if end < at + 3:
            return Said(CONTENT, b"", at, FAR, next(answers, None))
        return Said(CONTENT, stream[at:end], at, end, next(answers, None))
    end = stream.find(b"\r\n", at) + 2
    assert end > 1, "a command without an end"
    line = stream[at : end - 2]
    assert all(byte >= 32 for byte in line), line
    if before and before.name in ("AUTH", "RESPONSE") and severity == 3:
        name = "RESPONSE"
    else:
        name = line.partition(b" ")[0].decode()
        if name == "BDAT":
            end += int(line.split()[1])
            assert end <= len(stream), "less than was announced"
    return Said(name, line, at, end, next(answers, None))


def courses(said: list[Said], stream: bytes) -> list[Course]:
    """Return what became of each transaction, by the MAIL that begins it."""
    found: list[Course] = []
    for each in said:
        if each.name == "MAIL":
            found.append(Course())
        if not found or each.name in ("NOOP", "QUIT", "RSET"):
            continue
        course = found[-1]
        course.said.append(each)
        if each.name in (CONTENT, "BDAT"):
            course.start = min(course.start, each.start)
        if each.name == CONTENT:
            course.end = each.end
            course.content = unstuff(each.line)[0] if each.end < FAR else b""
        elif each.name == "BDAT":
            course.content += stream[each.start + len(each.line) + 2 : each.end]
            course.end = each.end if each.last_chunk else FAR
    return found
