"""Routes by their key: what each row is about, and how it rests and opens."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Q

from django_smtpx import ledger
from django_smtpx.models import Category, Route
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.smtp import SMTPError

State = Route.State

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 30, 60))
"""How long a route rests after its first, second, … failure in a row; the last one repeats."""

PROBES = (timedelta(minutes=15), timedelta(hours=1))
"""After how long what is held is probed; the last one repeats."""

PROBE_LASTS = timedelta(minutes=1)
"""For so long nobody else probes a host or a sender that one drain is probing."""

HOLDS = (Category.AUTH_FAILED, Category.AUTH_REQUIRED, Category.QUOTA_EXHAUSTED)
"""What holds a mailer rather than pausing it."""

CREDENTIAL = (Category.AUTH_FAILED, Category.AUTH_REQUIRED)
"""What is about the credential, so that another one is not met by it."""

SOUND: Mapping[str, Any] = MappingProxyType(
    {
        "state": State.OPEN,
        "paused_until": None,
        "pause_reason": "",
        "category": "",
        "consecutive_failures": 0,
    }
)
"""What is on record of a route that nothing is wrong with."""

_LONGEST = 191

logger = logging.getLogger("django_smtpx.pacing")


@dataclass(frozen=True, slots=True)
class Key:
    """What a route is about; what does not apply is ""."""

    mailer: str
    host: str = ""
    domain: str = ""
    sender: str = ""

    def __str__(self) -> str:
        of = next((part for part in (self.host, self.domain, self.sender) if part), "")
        return f"{self.mailer!r} ({of})" if of else repr(self.mailer)


def all_routes() -> QuerySet[Route]:
    """Return the rows, in the outbox's database."""
    return Route.objects.using(ledger.database())


def found(ask: Callable[..., QuerySet[Route]], *what: str) -> list[Route]:
    """Return the rows of ``ask(*what)``, which are mostly none.

    That is asked for each hundred mails, and takes the ORM several times as long as the database:
    so a question is put into words once.
    """
    using = ledger.database()
    with connections[using].cursor() as cursor:
        cursor.execute(*_in_words(ask, using, *what))
        if cursor.fetchone() is None:
            return []
    return list(ask(*what))


@lru_cache(maxsize=1024)
def _in_words(
    ask: Callable[..., QuerySet[Route]], using: str, *what: str
) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = ask(*what).query.get_compiler(using).as_sql()
    return sql, tuple(parameters)


def rows(key: Key) -> QuerySet[Route]:
    """Return the row of ``key``, if there is one."""
    return all_routes().filter(**asdict(key))


def rest(key: Key, error: SMTPError, at: datetime, *, probed: bool = False) -> datetime | None:
    """Rest the route of ``key`` from ``at`` on, and return its next probe.

    Each failure in a row makes it longer. Who comes second while it rests already changes
    nothing, unless he ``probed`` it: nobody else does meanwhile. What a person holds stays held:
    there is no probe then (None).
    """
    route, _ = all_routes().get_or_create(**asdict(key))
    if route.state == State.HELD and route.paused_until is None:
        return None
    if route.state != State.OPEN and _later(route.paused_until, at) and not probed:
        return route.paused_until
    held = error.category in HOLDS
    steps = PROBES if held else PAUSES
    failures = 0 if route.category != error.category and held else route.consecutive_failures
    until = at + steps[min(failures, len(steps) - 1)]
    closed = _close(
        key, route, error, until, State.HELD if held else State.PAUSED, failures=failures + 1
    )
    return until if closed else _rests_until(key, at)


def hold(key: Key, error: SMTPError, until: datetime | None, at: datetime) -> datetime | None:
    """Hold the route of ``key`` until its next probe (None: until a person resumes it).

    What a person has paused longer than ``at`` stays as it is.
    """
    route, _ = all_routes().get_or_create(**asdict(key))
    if route.state == State.HELD and route.paused_until in (None, until):
        return route.paused_until
    if route.state == State.PAUSED and not route.category and _later(route.paused_until, at):
        return route.paused_until
    failures = route.consecutive_failures + 1
    closed = _close(key, route, error, until, State.HELD, failures=failures)
    return until if closed else _rests_until(key, at)


def _close(
    key: Key,
    route: Route,
    error: SMTPError,
    until: datetime | None,
    state: str,
    *,
    failures: int,
) -> bool:
    """Write it down; False where somebody else was faster."""
    reason = reason_of(error)
    # Whoever was faster has said it: by the count, and by the time, which a probe moves.
    unchanged = rows(key).filter(
        consecutive_failures=route.consecutive_failures,
        state=route.state,
        paused_until=route.paused_until,
    )
    closed = unchanged.update(
        state=state,
        paused_until=until,
        pause_reason=reason,
        category=error.category,
        consecutive_failures=failures,
    )
    if not closed:
        return False
    if state == State.HELD:
        logger.error(
            "Mailer %s is held, and its mail waits: %s. %s",
            key,
            reason,
            _way_out(key, error, until),
        )
    else:
        logger.warning("Mailer %s rests until %s: %s", key, _utc(until), reason)
    return True


def _way_out(key: Key, error: SMTPError, until: datetime | None) -> str:
    """Say what ends a hold."""
    probed = f"It is probed at {_utc(until)}" if until else "It waits for a person"
    if error.category in CREDENTIAL:
        return f"{probed}; a changed password is tried at once."
    if key.sender:
        return f"{probed}; smtpx_retry or smtpx_resume lets it go."
    return f"{probed}; smtpx_resume lets it go."


def _utc(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "somebody resumes it"


def _rests_until(key: Key, at: datetime) -> datetime | None:
    """Return until when it rests by somebody else's word; ``at`` where it was opened instead.

    Nobody would look for what was put away, without a time, behind an open route.
    """
    closed = rows(key).exclude(state=State.OPEN).first()
    return at if closed is None else closed.paused_until


def reopen(key: Key, at: datetime | None = None, **values: object) -> bool:
    """Open the route of ``key``; False when it was open and sound, or a person closed it."""
    disturbed = ~Q(state=State.OPEN) | Q(consecutive_failures__gt=0)
    opened = (
        resumable(rows(key), at)
        .filter(disturbed)
        .update(
            state=State.OPEN,
            paused_until=None,
            pause_reason="",
            category="",
            consecutive_failures=0,
            **values,
        )
    )
    return bool(opened)


def resumable(routes: QuerySet[Route], at: datetime | None = None) -> QuerySet[Route]:
    """What a person holds (without a time) only a person resumes.

    And so it is, at ``at``, with what a person has paused: there is no category of failure.
    """
    found = routes.exclude(state=State.HELD, paused_until=None)
    if at is None:
        return found
    return found.exclude(state=State.PAUSED, category="", paused_until__gt=at)


def take_probe(key: Key, due: datetime, at: datetime, lasts: timedelta) -> bool:
    """Say whether the probe that is ``due`` is ours: nobody else's for as long as it may last."""
    return bool(rows(key).filter(paused_until=due).update(paused_until=at + lasts))


def _later(time: datetime | None, at: datetime) -> bool:
    return time is not None and time > at


def reason_of(error: SMTPError) -> str:
    """Return phase, code and text of what closed a route."""
    parts = (error.phase, error.code, error.enhanced_code, error.reply or str(error))
    return " ".join(str(part) for part in parts if part)


def said_until(at: datetime | None) -> str:
    """Return until when something rests; None: until a person resumes it."""
    if at is None:
        return said("until it is resumed")
    return said("until %(time)s UTC", time=f"{at:%Y-%m-%d %H:%M:%S}")


def bounded(name: str) -> str:
    """Return a host's or a sender's name as it fits its column, and is still of one alone."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[:120]}… {sha256(name.encode()).hexdigest()}"
