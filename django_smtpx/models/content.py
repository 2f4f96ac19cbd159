"""The bytes of messages: in a row, in parts, or in a file; ``ledger`` writes them."""

from __future__ import annotations

import io
import shutil
import tempfile
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.core.files.storage import InvalidStorageError, storages
from django.db import Error as DatabaseError
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

_BUFFER = 64 * 1024


class ContentAway(OSError):
    """A content is kept, and cannot be had just now; the text says why."""


class Content(models.Model):
    """A message's bytes, apart from what lists and claims read.

    A small one is in ``data``. Of a large one ``large_size`` says how many bytes there are; they
    are in the file ``name`` of the storage ``storage`` (an alias in STORAGES), or, where there is
    no name, in parts.
    """

    message = models.OneToOneField(
        "django_smtpx.Message", on_delete=models.CASCADE, primary_key=True, related_name="body"
    )
    data = models.BinaryField(_("data"))
    large_size = models.PositiveBigIntegerField(_("bytes kept elsewhere"), default=0)
    storage = models.CharField(_("storage"), max_length=100, blank=True)
    name = models.CharField(_("file"), max_length=255, blank=True)

    if TYPE_CHECKING:
        message_id: int

    class Meta:
        verbose_name = _("content")
        verbose_name_plural = _("contents")
        # "view_content" is the permission to read what a message says, and stands with messages.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)

    def open(self, reading: Callable[[], None] = lambda: None) -> BinaryIO:
        """Return the bytes as a seekable file, of which only a block is held at a time.

        ``reading`` is called before each block is got. Raises ``FileNotFoundError`` where they are
        gone. Whatever else keeps them away, now or at a later block, is :class:`ContentAway`.
        """
        if not self.large_size:
            return io.BytesIO(self.data)
        source = _File(self, reading) if self.name else _Parts(self, reading)
        try:
            source.look()
        except BaseException:
            source.close()
            raise
        return io.BufferedReader(source, _BUFFER)

    def read(self) -> bytes:
        """Return all of the bytes. Raises what :meth:`open` raises."""
        if not self.large_size:
            return bytes(self.data)
        with self.open() as file:
            return file.read()


class ContentPart(models.Model):
    """Some of a large content's bytes, from ``offset`` on."""

    content = models.ForeignKey(
        Content, on_delete=models.CASCADE, related_name="parts", db_index=False
    )
    offset = models.PositiveBigIntegerField(_("offset"))
    data = models.BinaryField(_("data"))

    class Meta:
        verbose_name = _("part of a content")
        verbose_name_plural = _("parts of contents")
        constraints = (
            models.UniqueConstraint(fields=("content", "offset"), name="smtpx_content_part"),
        )

    def __str__(self) -> str:
        return f"{self.content_id} from {self.offset}"


class _Source(io.RawIOBase):
    """A large content as something to read from; what is not all there is not read as less."""

    def __init__(self, content: Content, reading: Callable[[], None]) -> None:
        super().__init__()
        self._size = content.large_size
        self._place = 0
        self._reading = reading

    def look(self) -> None:
        """Get the first of it, to see that it is there."""
        self._fetch(0, 1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        room = memoryview(buffer).cast("B")
        wanted = min(len(room), self._size - self._place)
        if wanted <= 0:
            return 0
        self._reading()
        data = self._fetch(self._place, wanted)
        if not data:
            raise ContentAway(
                said(
                    "%(count)s bytes of it are there, of %(size)s",
                    count=self._place,
                    size=self._size,
                )
            )
        room[: len(data)] = data
        self._place += len(data)
        return len(data)

    @abstractmethod
    def _fetch(self, place: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``place`` on; none where they are missing."""


class _File(_Source):
    """A file of a storage: whatever a storage raises, that is away, and not our fault."""

    def __init__(self, content: Content, reading: Callable[[], None]) -> None:
        super().__init__(content, reading)
        self._alias = content.storage
        self._name = content.name
        self._file: BinaryIO | None = None

    def look(self) -> None:
        try:
            super().look()
        except ContentAway as away:
            if isinstance(away.__cause__, FileNotFoundError):
                raise away.__cause__ from None
            raise

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
        super().close()

    def _fetch(self, place: int, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.seek(place)
            return self._file.read(size)
        except InvalidStorageError as error:
            raise ContentAway(
                said(
                    "it is in the storage %(alias)s, and STORAGES has none of this name that "
                    "can be used: %(error)s",
                    alias=repr(self._alias),
                    error=error,
                )
            ) from error
        except Exception as error:
            what = str(error) or type(error).__name__
            raise ContentAway(
                said(
                    "the storage %(alias)s does not give it: %(what)s",
                    alias=repr(self._alias),
                    what=what,
                )
            ) from error

    def _opened(self) -> BinaryIO:
        file = cast("BinaryIO", storages[self._alias].open(self._name, "rb"))
        if file.seekable():
            return file
        with file:
            copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this)
            shutil.copyfileobj(file, copy)
        return cast("BinaryIO", copy)


class _Parts(_Source):
    """The parts of a content, one of which is held at a time."""

    def __init__(self, content: Content, reading: Callable[[], None]) -> None:
        super().__init__(content, reading)
        using = content._state.db
        parts = ContentPart.objects.using(using).filter(content=content.pk)
        self._rows = parts.order_by("-offset").values_list("offset", "data")
        self._start = 0
        self._data = b""

    def look(self) -> None:
        super().look()
        if not self._data:
            raise FileNotFoundError(said("its parts are gone"))

    def _fetch(self, place: int, size: int) -> bytes:
        if not self._start <= place < self._start + len(self._data):
            self._start, self._data = self._part(place)
        at = place - self._start
        return self._data[at : at + size]

    def _part(self, place: int) -> tuple[int, bytes]:
        self._data = b""
        try:
            found: Any = self._rows.filter(offset__lte=place).first()
        except DatabaseError as error:
            raise ContentAway(
                said("the database does not give it: %(error)s", error=error)
            ) from error
        return (place, b"") if found is None else (found[0], bytes(found[1]))
