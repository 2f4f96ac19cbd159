"""What was looked up, for as long as it may be believed."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

V = TypeVar("V")

MOST = 2000
"""So many values are kept; of more, the one that was asked for longest ago goes."""


class Cache(Generic[V]):
    """Values with an end each, as many as there is room for. Thread-safe and fork-safe.

    ``clock`` returns seconds that only grow. A forked child begins with nothing.
    """

    def __init__(self, clock: Callable[[], float], *, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()
        _CACHES.add(self)

    def get(self, key: Hashable) -> V | None:
        """Return the value, or None where there is none or its time is over."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            end, value = found
            if self._clock() >= end:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return value

    def put(self, key: Hashable, value: V, seconds: float) -> None:
        """Keep a value for so many seconds; for none of them, not at all."""
        if seconds <= 0:
            return
        with self._lock:
            self._kept[key] = (self._clock() + seconds, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget a value, where there is one."""
        with self._lock:
            self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _start_clean(self) -> None:
        """Take, in a forked child, a lock that no thread of the parent holds, and what lies behind
        it as new: that thread may have been amid a change.
        """
        self._lock = threading.Lock()
        self._kept = OrderedDict()


_CACHES: weakref.WeakSet[Cache[Any]] = weakref.WeakSet()


def _start_clean() -> None:
    for cache in list(_CACHES):
        cache._start_clean()


os.register_at_fork(after_in_child=_start_clean)
