"""Files of contents that no row names: what storing or purging left where it was cut off.

A file is written before its row is committed, and nobody can tell from outside whether it will be.
So a file counts as left over only when the day in its name has been over for a day, by the
database's clock, and its storage does not say that it is younger.
"""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.files.storage import storages

from django_smtpx.config import content_storage
from django_smtpx.ledger.keeping import folder
from django_smtpx.ledger.rows import database
from django_smtpx.models import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.core.files.storage import Storage

AGE = timedelta(days=1)
"""No transaction that stores mail is open for longer than this."""

_KEYS = 500
_UUID_LENGTH = 36

logger = logging.getLogger("django_smtpx.ledger")


def remove_orphans(at: datetime, over: Callable[[], bool] = lambda: False) -> int:
    """Remove files of the storage for contents that no row names, and count them.

    Only what this package wrote for this site. It ends when ``over`` says so; days come in any
    order, so that each has its turn. Where the storage cannot list nothing is removed.
    """
    alias = content_storage()
    if alias is None:
        return 0
    count = 0
    try:
        for day in _days(storages[alias], at):
            if over():
                break
            count += _remove_of(day, storages[alias], at)
    except NotImplementedError:
        logger.info("The storage %r cannot list: what is left over in it is not removed.", alias)
    except Exception as error:  # noqa: BLE001 (whatever a storage raises)
        logger.warning("The storage %r cannot be looked through now: %s", alias, error)
    return count


def _days(storage: Storage, at: datetime) -> list[str]:
    try:
        names, _ = storage.listdir(folder())
    except FileNotFoundError:
        return []
    days = [f"{folder()}/{name}" for name in names if _is_over(name, at)]
    random.shuffle(days)
    return days


def _is_over(name: str, at: datetime) -> bool:
    try:
        day = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return at >= day + timedelta(days=1) + AGE


def _remove_of(day: str, storage: Storage, at: datetime) -> int:
    _, names = storage.listdir(day)
    count = 0
    for first in range(0, len(names), _KEYS):
        for path in _without_row(day, names[first : first + _KEYS]):
            if _is_young(storage, path, at):
                continue
            storage.delete(path)
            count += 1
    if not names:
        _remove_empty(storage, day)
    return count


def _without_row(day: str, names: Sequence[str]) -> Iterator[str]:
    by_path = {f"{day}/{name}": uuid for name in names if (uuid := _uuid_of(name)) is not None}
    rows = Content.objects.using(database()).filter(message__uuid__in=by_path.values())
    named = set(rows.values_list("name", flat=True))
    return (path for path in by_path if path not in named)


def _uuid_of(name: str) -> UUID | None:
    """Return whose it is; a storage may have put something behind the uuid."""
    try:
        return UUID(name[:_UUID_LENGTH])
    except ValueError:
        return None


def _is_young(storage: Storage, path: str, at: datetime) -> bool:
    try:
        modified: Any = storage.get_modified_time(path)
    except NotImplementedError:
        return False
    return bool(modified > at - AGE)


def _remove_empty(storage: Storage, day: str) -> None:
    try:
        storage.delete(day)
    except Exception as error:  # noqa: BLE001 (it is in nobody's way)
        logger.debug("The empty folder %s stays: %s", day, error)
