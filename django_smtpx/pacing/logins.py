"""One login at a time: whoever comes second learns first what the first one was told.

Without that, as many workers as a mailer may have connections could be refused
with the same password at once, and an account is locked by fewer.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q

from django_smtpx.pacing.meter import PATIENCE
from django_smtpx.pacing.routes import Key, all_routes, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django_smtpx.mailer import Way

LOGIN_PAUSE = 0.1
"""Seconds between two looks whether somebody else's login is over."""

LOGIN_LEASE = timedelta(seconds=20)
"""How long a login that nobody keeps is waited for: its process may be gone."""


def logs_in(way: Way) -> bool:
    """Say whether a session on this way begins with a login that can be refused."""
    return any(options.credential is not None for options in way.mailer.hosts)


def take_login(way: Way, at: datetime) -> datetime | None:
    """Take the turn to log in, and return until when it is ours; None while somebody else's."""
    key = Key(way.name)
    free = Q(login_until=None) | Q(login_until__lte=at)
    mine = at + LOGIN_LEASE
    if rows(key).filter(free).update(login_until=mine):
        return mine
    _, new = all_routes().get_or_create(**asdict(key))
    return take_login(way, at) if new else None


def await_login(way: Way, now: Callable[[], datetime]) -> datetime | None:
    """Take the turn to log in as soon as it is free; None where others take too long.

    ``now`` returns the database's time.
    """
    give_up = now() + timedelta(seconds=PATIENCE)
    mine = take_login(way, now())
    while mine is None and now() < give_up:
        time.sleep(LOGIN_PAUSE)
        mine = take_login(way, now())
    return mine


def keep_login(way: Way, mine: datetime, at: datetime) -> datetime:
    """Keep the turn while the server takes its time, and return until when."""
    later = at + LOGIN_LEASE
    return later if rows(Key(way.name)).filter(login_until=mine).update(login_until=later) else mine


def end_login(way: Way, mine: datetime) -> None:
    """Let the next one log in."""
    rows(Key(way.name)).filter(login_until=mine).update(login_until=None)
