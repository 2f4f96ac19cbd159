"""Hosts that once fell out of step, and whose extensions are not believed for a while.

Whoever answers a pipelined group wrongly is spoken to, by this process, one
command at a time from then on: in step for certain, and with the same verdicts.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options

_MOST = 10_000
_lock = threading.Lock()
_distrusted: dict[tuple[str, int], None] = {}


def distrust(host: str, port: int) -> None:
    """Use neither PIPELINING nor CHUNKING with this host any more, in this process."""
    with _lock:
        _distrusted.pop((host, port), None)
        _distrusted[host, port] = None
        if len(_distrusted) > _MOST:
            del _distrusted[next(iter(_distrusted))]


def is_distrusted(host: str, port: int) -> bool:
    """Whether the host fell out of step before."""
    return (host, port) in _distrusted


def believed(options: Options) -> Options:
    """Return ``options``, or such as leave out what cannot be believed of this host."""
    if not is_distrusted(options.host, options.port):
        return options
    return replace(options, pipelining=False, chunking=False)


def forget() -> None:
    """Believe everybody again."""
    with _lock:
        _distrusted.clear()


def _start_clean() -> None:
    """Take, in a forked child, a lock that no thread of the parent holds."""
    global _lock  # noqa: PLW0603 (as a module is made anew)
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_clean)
