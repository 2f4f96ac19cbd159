"""What a caller sees to while it waits for what strangers' servers say of a domain.

A policy may take a minute to fetch, and a name server its time, too. Whoever holds something
meanwhile keeps it, and whoever is told to end does so. The caller's say goes along with the
context: no function between has to know of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = 1.0
"""Seconds between two looks at what the caller has to see to, while a web server is awaited."""


@contextmanager
def meanwhile(look: Callable[[], None]) -> Iterator[None]:
    """Have ``look`` called again and again while something is awaited; it may end that by raising
    what is no error of waiting.
    """
    token = _looks.set(look)
    try:
        yield
    finally:
        _looks.reset(token)


def look() -> None:
    """Let the caller see to what it holds."""
    seen_to = _looks.get()
    if seen_to is not None:
        seen_to()


_looks: ContextVar[Callable[[], None] | None] = ContextVar("look", default=None)
