"""Hosts that offer TLS and cannot speak it, remembered by this process for an hour.

Where nobody asks for more than opportunistic TLS they get their mail in clear (RFC 7435), over a
fresh connection, and never at the first failure: that may be an accident of the moment.
"""

from __future__ import annotations

import time

from django_smtpx.mx.cache import Cache

REMEMBERED = 3600.0
"""Seconds for which a failure counts."""

_MOST = 10_000


def note(host: str, port: int) -> bool:
    """Note that TLS failed with a host, and say whether that was so before, lately."""
    before = _noted.get((host, port)) is not None
    _noted.put((host, port), value=True, seconds=REMEMBERED)
    return before


def forget() -> None:
    """Forget all of them."""
    _noted.clear()


_noted: Cache[bool] = Cache(time.monotonic, most=_MOST)
