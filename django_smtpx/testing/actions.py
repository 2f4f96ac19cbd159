"""What a scripted server can do instead of answering as usual: small frozen values.

Each action may be followed by another (``then=``). A plain string stands for
``Reply(string)``, a list of strings for a reply of several lines, and bytes
for ``Raw(bytes)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODE = re.compile(r"(\d{3})(?:[ -](.*)|)\Z", re.DOTALL)
_CODE_BYTES = re.compile(rb"\s*(\d{3})(?!\d)")


@dataclass(frozen=True, slots=True)
class Reply:
    r"""Say a well-formed reply, then go on with ``then``.

    ``text`` is a code and its text, ``"550 5.1.1 no such user"``; several lines
    come as ``"550-first\\n550 last"`` or as a sequence of lines. The code needs
    to be on the first line only: ``"550 first\\nlast"`` is the same reply.

    Raises ``ValueError`` for what is no reply; ``Raw`` sends anything.
    """

    text: str | Sequence[str]
    then: Action | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            object.__setattr__(self, "text", "\n".join(self.text))
        _encode(self.text)

    @property
    def data(self) -> bytes:
        """The bytes that go over the wire."""
        return _encode(self.text)


@dataclass(frozen=True, slots=True)
class Raw:
    """Send these bytes as they are: broken replies, stray bytes, two replies in one segment."""

    data: bytes
    then: Action | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in an orderly way (TCP FIN), without a word.

    Under TLS a close_notify goes first, unless ``notify`` is false.
    """

    notify: bool = True


@dataclass(frozen=True, slots=True)
class Reset:
    """Tear the connection down (TCP RST)."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing from here to the end of the connection, and swallow what comes."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """Leave out the reply to this one command; later commands are answered."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait ``seconds``, then go on with ``then``, or answer as usual."""

    seconds: float
    then: Action | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Send a reply in pieces of ``size`` bytes, each in a segment of its own.

    ``what`` is as for ``Reply`` (str) or ``Raw`` (bytes). ``pause`` seconds lie
    between two pieces.
    """

    what: str | bytes
    size: int = 1
    pause: float = 0.001
    then: Action | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("Split needs a size of at least one byte.")
        if isinstance(self.what, str):
            _encode(self.what)

    @property
    def data(self) -> bytes:
        """The bytes that go over the wire."""
        return _encode(self.what) if isinstance(self.what, str) else self.what


@dataclass(frozen=True, slots=True)
class MidContent:
    """For ``DATA`` and ``BDAT``: read ``after`` bytes of the content, then do ``then``.

    DATA is answered 354 before. Where ``then`` leaves the connection open, the
    rest of the content, or of the chunk, is read and thrown away, and no
    further reply is given to it; a chunk is refused thereby, whatever was said.
    """

    after: int
    then: Action = Close()


Action: TypeAlias = Reply | Raw | Close | Reset | Silence | NoReply | Delay | Split | MidContent


def to_action(step: str | bytes | Sequence[str] | Action) -> Action:
    """Return the action that ``step`` stands for.

    Raises ``TypeError`` for what is no action, ``ValueError`` for a bad reply.
    """
    if isinstance(step, str):
        return Reply(step)
    if isinstance(step, bytes):
        return Raw(step)
    if isinstance(step, Action):
        return step
    if isinstance(step, list | tuple) and all(isinstance(line, str) for line in step):
        return Reply(step)
    raise TypeError(f"{step!r} is not something that a scripted server can do.")


def with_default(action: Action, default: Action) -> Action:
    """Return ``action``, with ``default`` behind delays that are followed by nothing."""
    if not isinstance(action, Delay):
        return action
    if action.then is None:
        return replace(action, then=default)
    return replace(action, then=with_default(action.then, default))


def behind_delays(action: Action | None, last: Action) -> Action:
    """Return ``last``, after the delays that ``action`` begins with."""
    if isinstance(action, Delay):
        return replace(action, then=behind_delays(action.then, last))
    return last


def mid_content(action: Action | None) -> MidContent | None:
    """Return the ``MidContent`` that ``action`` is, maybe after delays; None where it is none."""
    if isinstance(action, Delay):
        return mid_content(action.then)
    return action if isinstance(action, MidContent) else None


def code_of(action: Action | None) -> int | None:
    """Return the code of the first reply that ``action`` gives; None where it gives none."""
    if mid_content(action) is not None:
        return 354
    match = _CODE_BYTES.match(data_of(action))
    return int(match[1]) if match else None


def data_of(action: Action | None) -> bytes:
    """Return what ``action`` says first; nothing where it says nothing."""
    if isinstance(action, Delay):
        return data_of(action.then)
    return action.data if isinstance(action, Reply | Raw | Split) else b""


@lru_cache(maxsize=1024)
def _encode(text: str) -> bytes:
    lines = text.split("\n")
    first = _CODE.match(lines[0])
    if first is None:
        raise ValueError(
            f"{text!r} is not a reply: it needs a three-digit code (Raw(b'…') sends anything)."
        )
    code = first[1]
    texts = [_text_of(line.rstrip("\r"), code) for line in lines]
    last = len(texts) - 1
    return b"".join(
        f"{code}{' ' if number == last else '-'}{line}\r\n".encode()
        for number, line in enumerate(texts)
    )


def _text_of(line: str, code: str) -> str:
    match = _CODE.match(line)
    if match is None:
        return line
    if match[1] != code:
        raise ValueError(
            f"One reply has one code: {line!r} does not carry {code} (Raw(b'…') sends anything)."
        )
    return match[2] or ""
