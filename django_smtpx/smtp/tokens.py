"""Bearer tokens: whoever needs one of the same source at the same time shares one call of it.

A source is the site's own callable: it may ask a server far away, and a hundred
workers' threads that open a connection each must not ask a hundred times. What it
returns is asked for anew for each connection, because the source alone knows how
long a token is good; what is kept of it here is no more than what tells a token that
was refused from the one that has replaced it.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from typing import TYPE_CHECKING

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

    Source = Callable[[], str]

_TOKEN = re.compile(r"[!-~]+")


class TokenError(Exception):
    """There is no token; the text says why, and holds nothing of one."""


def fetch(source: Source, timeout: float) -> str:
    """Return a token of ``source``: that of the call that is under way, or of a new one.

    ``timeout`` is in seconds, for a call that somebody else has begun. Raises :class:`TokenError`.
    """
    return _room(source).fetch(source, timeout)


def renew(source: Source, refused: str, timeout: float) -> str | None:
    """Return a token instead of ``refused``, or None where ``source`` has no other.

    Of all who were refused with the same one, the first calls ``source`` and the others get what
    it was given. Raises :class:`TokenError`.
    """
    token = _room(source).fetch(source, timeout, refused)
    return None if token == refused else token


class _Call:
    """One call of a source that is under way."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.done = threading.Event()
        self.token: str | None = None
        self.problem: str = said("it was interrupted")

    def outcome(self) -> str:
        if self.token is None:
            raise TokenError(
                said("No bearer token could be had: %(problem)s", problem=self.problem)
            )
        return self.token


class _Room:
    """What one source has given last, and the call of it that is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._call: _Call | None = None
        self._latest: str | None = None

    def fetch(self, source: Source, timeout: float, refused: str | None = None) -> str:
        with self._lock:
            latest, call = self._latest, self._call
            if call is None and refused is not None and latest not in (None, refused):
                return latest
            mine = call is None
            if call is None:
                call = self._call = _Call()
        if mine:
            self._make(call, source)
        elif call.thread == threading.get_ident():
            # It sends a mail of its own, by the very mailer that waits for it.
            raise TokenError(said("No bearer token could be had: its source needs one itself"))
        elif not call.done.wait(timeout):
            raise TokenError(said("No bearer token could be had: its source takes too long"))
        return call.outcome()

    def _make(self, call: _Call, source: Source) -> None:
        try:
            call.token, call.problem = _ask(source)
        finally:
            with self._lock:
                self._call = None
                self._latest = call.token or self._latest
            call.done.set()


def _ask(source: Source) -> tuple[str | None, str]:
    """Return a token, or None and why there is none."""
    try:
        token: object = source()
    except TokenError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 (it is the site's own code)
        # Neither its text nor the exception itself goes further: both may hold what was asked.
        return None, said("its source raised %(kind)s", kind=type(error).__name__)
    if not isinstance(token, str):
        kind = type(token).__name__
        return None, said("its source returned %(kind)s instead of a str", kind=kind)
    if _TOKEN.fullmatch(token) is None:
        return None, said("its source returned a str that is empty, or holds a blank or the like")
    return token, ""


_lock = threading.Lock()
_rooms: weakref.WeakKeyDictionary[Source, _Room] = weakref.WeakKeyDictionary()


def _room(source: Source) -> _Room:
    with _lock:
        try:
            return _rooms.setdefault(source, _Room())
        except TypeError:
            # It cannot be told from another one, or not be waited for: it shares with nobody.
            return _Room()


def _start_clean() -> None:
    """Forget, in a forked child, the calls that threads of the parent are in."""
    global _lock, _rooms  # noqa: PLW0603 (as a module is made anew)
    _lock = threading.Lock()
    _rooms = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_start_clean)
