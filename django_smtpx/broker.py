"""A folder as Celery's broker, for a site on one machine: kombu's filesystem transport, made safe.

That transport makes a message's file first and fills it then. A worker that
looks in between takes the empty file, cannot read it, and ends. Here a file
gets its name when it is whole, which a rename within a folder does at once.

Use it in place of kombu's own::

    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT = "django_smtpx.broker.Transport"
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import dumps, loads

_READ_TRIES = 50
_READ_PAUSE = 0.01


class Channel(filesystem.Channel):
    """Kombu's channel, whose files are whole from the first moment that they can be seen."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write a message, and give its file the name that workers look for."""
        name = f"{round(time.monotonic() * 1000)}_{uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, payload)

    def get_table(self, exchange: str) -> list[Any]:
        """Return an exchange's queues; its file is empty while another process begins it."""
        file = self._table_file(exchange)
        for _ in range(_READ_TRIES):
            try:
                text = bytes_to_str(file.read_bytes())
            except FileNotFoundError:
                return []
            if text:
                return [filesystem.exchange_queue_t(*queue) for queue in loads(text)]
            time.sleep(_READ_PAUSE)
        raise ChannelError(f"{file} is empty.")

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        """Add a queue to an exchange's file, unless it is there."""
        bound = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self.control_folder.mkdir(exist_ok=True)
        with (self.control_folder / ".lock").open("wb") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            try:
                queues = self.get_table(exchange)
                if bound not in queues:
                    _write_whole(self._table_file(exchange), [bound, *queues])
            finally:
                fcntl.flock(guard, fcntl.LOCK_UN)

    def _table_file(self, exchange: str) -> Path:
        file = self.control_folder / f"{exchange}.exchange"
        if file.parent != self.control_folder:
            raise ChannelError(f"Invalid exchange name: {exchange!r}")
        return file


class Transport(filesystem.Transport):
    """Kombu's filesystem transport with safe channels."""

    Channel = Channel


def _write_whole(file: Path, content: Any) -> None:
    """Write beside ``file``, and rename: whoever reads it finds all of it."""
    unfinished = file.with_name(f".{uuid4().hex}.unfinished")
    try:
        unfinished.write_bytes(str_to_bytes(dumps(content)))
        os.replace(unfinished, file)  # noqa: PTH105 (the rename is the point)
    except OSError as error:
        raise ChannelError(f"{file} cannot be written: {error}") from error
