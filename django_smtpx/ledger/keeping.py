"""Where contents are kept: small ones in their row, large ones in parts or as a file.

A file is written before the rows that name it, and removed after they are gone. What happens in
between leaves a file without a row, and never a row without its file. Such files are removed where
it is sure that no row of theirs can still be committed: at once where storing failed before its
commit, otherwise a day later (:mod:`django_smtpx.ledger.orphans`).
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from django.core.files.base import File
from django.core.files.storage import storages
from django.db import connections
from django.utils.crypto import salted_hmac

from django_smtpx.config import content_inline_max, content_storage
from django_smtpx.ledger.rows import database
from django_smtpx.ledger.statements import read_rows
from django_smtpx.models import Content, ContentPart

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from types import TracebackType
    from uuid import UUID

    from django_smtpx.compose import Composed
    from django_smtpx.ledger.rows import Row
    from django_smtpx.models import Message

_NAME_LENGTH = 255
_SITE_LENGTH = 12

PART = 256 * 1024
"""Bytes in a part of a content: larger ones are little faster, and drivers make copies of each."""

_STATEMENT = 4 * 1024 * 1024
"""Bytes of contents in one statement; drivers and servers make several copies of each."""

logger = logging.getLogger("django_smtpx.ledger")


@dataclass(frozen=True, slots=True)
class Place:
    """A file: an alias in STORAGES, and a name there."""

    storage: str
    name: str


def folder() -> str:
    """Return the folder of all files of this site; each day (UTC) has one of its own in it.

    Another site that has the same storage, as a copy of this one for tests may, has another one:
    it must not take these files for left over.
    """
    name = str(connections[database()].settings_dict["NAME"])
    site = salted_hmac("django_smtpx.content", name, algorithm="sha256").hexdigest()
    return f"smtpx/{site[:_SITE_LENGTH]}"


class Filed:
    """The contents of some mails that are kept as files, around the writing of their rows.

    Files are written on entering. On leaving, those that got no row go again. Whoever writes says
    with ``committing`` that from now on nobody knows whether an error means that there are none.
    """

    def __init__(self, mails: Iterable[Composed]) -> None:
        self.committing = False
        self._places: dict[UUID, Place] = {}
        self._inline_max = content_inline_max()
        self._large = [mail for mail in mails if len(mail.content) > self._inline_max]

    def __enter__(self) -> Self:
        storage = content_storage() if self._large else None
        if storage is not None:
            try:
                for mail in self._large:
                    self._places[mail.uuid] = _write(storage, mail)
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self.committing:
            self._remove()

    def insert(self, fresh: Sequence[tuple[Message, Composed]], using: str) -> None:
        """Insert the contents of messages whose rows are new; what is small in as few statements
        as their bytes allow.
        """
        rows = [self._row(message, mail) for message, mail in fresh]
        for some in _portions(rows):
            Content.objects.using(using).bulk_create(some)
        for row, (_, mail) in zip(rows, fresh, strict=True):
            if row.large_size and not row.name:
                _insert_parts(row, mail.content, using)

    def keep(self, uuids: Iterable[UUID]) -> None:
        """Remove all files but those of messages that were stored: the others are duplicates."""
        stored = set(uuids)
        self._places = {uuid: at for uuid, at in self._places.items() if uuid not in stored}
        self._remove()

    def _row(self, message: Message, mail: Composed) -> Content:
        if len(mail.content) <= self._inline_max:
            return Content(message=message, data=mail.content)
        place = self._places.get(mail.uuid, _IN_PARTS)
        return Content(
            message=message,
            data=b"",
            large_size=len(mail.content),
            storage=place.storage,
            name=place.name,
        )

    def _remove(self) -> None:
        remove_files(self._places.values())
        self._places = {}


def contents(rows: Iterable[Row]) -> dict[int, bytes | Content]:
    """Return the content of each message that ``rows`` belong to, by its primary key.

    The bytes of a small one; a large one is not loaded: it can be opened. What was purged is not
    there.
    """
    return _contents({row.message for row in rows})


def content_of(message: Message) -> bytes | Content | None:
    """Return the same of one message."""
    return _contents((message.pk,)).get(message.pk)


def remove_files(places: Iterable[Place]) -> None:
    """Remove files; one that cannot be removed now has no row any more, and goes as such."""
    for place in places:
        try:
            storages[place.storage].delete(place.name)
        except Exception as error:  # noqa: BLE001 (whatever a storage raises)
            logger.warning(
                "The file %s of the storage %r, the content of no message any more, could not be "
                "removed: %s",
                place.name,
                place.storage,
                error,
            )


_IN_PARTS = Place("", "")


def _write(storage: str, mail: Composed) -> Place:
    name = f"{folder()}/{datetime.now(UTC):%Y-%m-%d}/{mail.uuid}"
    # It shares the bytes, and is read block by block.
    file = File(io.BytesIO(mail.content), name)
    return Place(storage, storages[storage].save(name, file, max_length=_NAME_LENGTH))


def _contents(keys: Collection[int]) -> dict[int, bytes | Content]:
    fields = ("pk", "data", "large_size", "storage", "name")
    return {
        key: _large(key, size, Place(storage, name)) if size else bytes(data)
        for key, data, size, storage, name in read_rows(Content, list(keys), fields, database())
    }


def _large(key: int, size: int, place: Place) -> Content:
    row = Content(message_id=key, large_size=size, storage=place.storage, name=place.name)
    row._state.db = database()
    return row


def _insert_parts(content: Content, data: bytes, using: str) -> None:
    parts = ContentPart.objects.using(using)
    for at in range(0, len(data), PART):
        parts.bulk_create([ContentPart(content=content, offset=at, data=data[at : at + PART])])


def _portions(rows: Sequence[Content]) -> Iterator[list[Content]]:
    """Cut ``rows`` into what one statement carries."""
    some: list[Content] = []
    size = 0
    for row in rows:
        size += len(row.data)
        if some and size > _STATEMENT:
            yield some
            some, size = [], len(row.data)
        some.append(row)
    if some:
        yield some
