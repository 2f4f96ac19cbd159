"""Storages for large contents, which fail as they are told to."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.files.base import File
from django.core.files.storage import InMemoryStorage, storages

if TYPE_CHECKING:
    from collections.abc import Callable


class Fault(Exception):
    """What a storage's own library raises: no OSError, and nobody else's."""


class Moody(InMemoryStorage):
    """Keeps files in memory, ``room`` of them at most; ``fails`` names the methods that raise,
    ``breaks_after`` says after how many bytes a file cannot be read any more. ``look`` is called
    before anything is read, with how often the file has been begun and the place in it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fails: set[str] = set()
        self.breaks_after: int | None = None
        self.modified: datetime | None = None
        self.forward_only = False
        self.room: int | None = None
        self.look: Callable[[int, int], None] = lambda reading, place: None
        self.opened: list[_File] = []

    def _check(self, method: str) -> None:
        if method in self.fails:
            raise Fault(f"no {method} today")

    def save(self, *args: Any, **options: Any) -> str:
        """Write a file, where there is room."""
        self._check("save")
        if self.room is not None and len(self.names) >= self.room:
            raise Fault("full")
        return super().save(*args, **options)

    def delete(self, name: str) -> None:
        """Remove a file."""
        self._check("delete")
        super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List a folder, if it can."""
        self._check("listdir")
        return super().listdir(path)

    def get_modified_time(self, name: str) -> datetime:
        """Say what it was told to say, if it can say that."""
        return self.modified or super().get_modified_time(name)

    def open(self, name: str, mode: str = "rb") -> File:
        """Give a file that breaks off where it was told to."""
        self._check("open")
        with super().open(name, mode) as file:
            data = file.read()
        reader = _File(data, self)
        self.opened.append(reader)
        return File(reader, name)

    @property
    def names(self) -> list[str]:
        """The names of all files."""
        return sorted(self._below(""))

    def age(self, days: float) -> None:
        """Let what is there have been written so many days ago, by the storage's own word."""
        self.modified = datetime.fromtimestamp(datetime.now(UTC).timestamp() - days * 86400, UTC)

    def _below(self, folder: str) -> list[str]:
        folders, files = super().listdir(folder)
        path = f"{folder}/" if folder else ""
        inner = [name for one in folders for name in self._below(f"{path}{one}")]
        return inner + [f"{path}{name}" for name in files]


class Blind(Moody):
    """Cannot say what it has, and since when."""

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List a folder, if it can."""
        raise NotImplementedError

    def get_modified_time(self, name: str) -> datetime:
        """Say what it was told to say, if it can say that."""
        raise NotImplementedError


class Timeless(Moody):
    """Cannot say since when it has a file."""

    def get_modified_time(self, name: str) -> datetime:
        """Say what it was told to say, if it can say that."""
        raise NotImplementedError


class _File(io.BytesIO):
    def __init__(self, data: bytes, storage: Moody) -> None:
        super().__init__(data)
        self.most = 0
        self._begun = 0
        self._storage = storage

    def seekable(self) -> bool:
        return not self._storage.forward_only

    def read(self, size: int | None = -1, /) -> bytes:
        place, end = self.tell(), self._storage.breaks_after
        self._begun += place == 0
        self._storage.look(self._begun, place)
        if end is not None:
            if place >= end:
                raise Fault("the line is cut")
            size = end if size is None or size < 0 else min(size, end)
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


def configured(kind: str = "Moody", **settings: Any) -> dict[str, Any]:
    """Return the settings of a site that keeps what is larger than 1000 bytes in a storage."""
    return {
        "STORAGES": {
            "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
            "mail": {"BACKEND": f"tests.storages.{kind}"},
        },
        "SMTPX_CONTENT_STORAGE": "mail",
        "SMTPX_CONTENT_INLINE_MAX": 1000,
        **settings,
    }


def mail_storage() -> Any:
    """Return the storage for contents as the site has it now."""
    return storages["mail"]


def content(size: int, first: bytes = b"large") -> bytes:
    """Return a content of so many bytes, each line of which is another one."""
    lines = [b"Subject: " + first + b"\r\n\r\n"]
    total = len(lines[0])
    while total < size:
        lines.append(b".%d of it\r\n" % total)
        total += len(lines[-1])
    return b"".join(lines)[: size - 2] + b"\r\n"
