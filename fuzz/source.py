"""An input of the fuzzer, taken apart: what the server says, and what befalls it on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")

SEPARATOR = b"\xff"
"""Stands between the server's words and the choices; the last one in an input counts."""


class Choices:
    """Small decisions made by bytes; where there are no more of them, each is the first one.

    Not atheris' FuzzedDataProvider: an input has to mean the same where atheris is not installed,
    and a seed is to be a dialogue that can be read, with nothing but 0 for its choices.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """Return 0 to 254: the separator is none of them."""
        if not self:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def below(self, limit: int) -> int:
        """Return a number from 0 up to, and without, ``limit`` (255 at most)."""
        return self.byte() % limit

    def flag(self) -> bool:
        """Return one of two."""
        return self.below(2) == 1

    def one_of(self, things: Sequence[T]) -> T:
        """Return one of ``things``."""
        return things[self.below(len(things))]

    def bytes(self, most: int) -> bytes:
        """Return up to ``most`` bytes."""
        taken = self._data[self._at : self._at + most]
        self._at += len(taken)
        return taken


def read(data: bytes) -> tuple[bytes, Choices]:
    """Return what the server says, and the choices behind it."""
    said, separator, choices = data.rpartition(SEPARATOR)
    return (said, Choices(choices)) if separator else (data, Choices(b""))


def cut(data: bytes, choices: Choices) -> Iterator[bytes]:
    """Give ``data`` in pieces; behind the last choice comes all the rest."""
    at = 0
    while at < len(data):
        size = choices.byte() or len(data)
        yield data[at : at + size]
        at += size
