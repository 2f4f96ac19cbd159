"""Hosts that offer TLS and cannot speak it, remembered by this process for an hour.

Where nobody asks for more than opportunistic TLS they get their mail in clear (RFC 7435), over a
fresh connection, and never at the first failure: that may be an accident of the moment.
"""

from __future__ import annotations

import os
import threading
import time

REMEMBERED = 3600.0
"""Seconds for which a failure counts."""

_MOST = 10_000


def note(host: str, port: int) -> bool:
    """Note that TLS failed with a host, and say whether that was so before, lately."""
    now = time.monotonic()
    with _lock:
        until = _noted.pop((host, port), 0.0)
        _noted[host, port] = now + REMEMBERED
        if len(_noted) > _MOST:
            del _noted[next(iter(_noted))]
    return until > now


def forget() -> None:
    """Forget all of them."""
    with _lock:
        _noted.clear()


_noted: dict[tuple[str, int], float] = {}
_lock = threading.Lock()


def _start_clean() -> None:
    """Take, in a forked child, a lock that no thread of the parent holds."""
    global _lock  # noqa: PLW0603 (as a module is made anew)
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_clean)
