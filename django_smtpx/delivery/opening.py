"""Contents on their way from where they are kept to an envelope."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from django_smtpx.models import ContentAway

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

    from django_smtpx.models import Content
    from django_smtpx.smtp import Envelope


def opened(
    content: bytes | Content | None, reading: Callable[[], None] = lambda: None
) -> bytes | BinaryIO | None:
    """Return what an envelope takes: the bytes, or a file, to be closed; None where it is gone.

    A file that is away comes all the same: that it cannot be read is the outcome of its
    transaction, and no other mail is concerned. ``reading`` is called before each block is read.
    """
    if content is None or isinstance(content, bytes):
        return content
    try:
        return content.open(reading)
    except FileNotFoundError:
        return None
    except ContentAway as away:
        return io.BufferedReader(_Away(away))


def close(content: bytes | BinaryIO | None) -> None:
    """Close what was opened."""
    if content is not None and not isinstance(content, bytes):
        content.close()


def tls_optional(envelope: Envelope) -> bool:
    """Say whether the message is to go even where TLS cannot be verified (RFC 8689 section 5).

    Not where it cannot be read.
    """
    try:
        return envelope.tls_optional
    except OSError:
        return False


class _Away(io.RawIOBase):
    """A file that says why it cannot be read, to whoever reads it."""

    def __init__(self, away: ContentAway) -> None:
        super().__init__()
        self._away = away

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return 0

    def readinto(self, buffer: WriteableBuffer, /) -> NoReturn:
        raise self._away
