"""The live state of mailers: pauses and holds, and connection slots over all workers."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

from django.utils.crypto import salted_hmac

from django_smtpx import ledger
from django_smtpx.models import Category, Route, Slot
from django_smtpx.smtp import SMTPError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.config import Mailer

SLOT_LEASE = 30.0
"""Seconds that a connection slot outlives the last sign of life of whoever holds it."""

_PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 30, 60))
_PROBES = (timedelta(minutes=15), timedelta(hours=1))
_HOLDS = (Category.AUTH_FAILED, Category.AUTH_REQUIRED, Category.QUOTA_EXHAUSTED)
_CREDENTIAL = (Category.AUTH_FAILED, Category.AUTH_REQUIRED)

logger = logging.getLogger("django_smtpx.pacing")


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a mailer may send; ``until`` is its next probe (None: a person must resume it).

    ``probing`` says that the last session failed: one connection, one message, to see.
    """

    is_open: bool
    until: datetime | None = None
    probing: bool = False


@dataclass(slots=True)
class HeldSlot:
    """One of a mailer's connections, held by this process until ``expires``.

    ``rested`` says that it stands for an idle session of this process.
    """

    mailer: str
    number: int
    token: UUID
    expires: datetime
    rested: bool = False


def gate(mailer: Mailer, at: datetime) -> Gate:
    """Return whether ``mailer`` may send at ``at``.

    A hold for a refused login opens at once when the credential has changed.
    """
    route = _routes(mailer.name).first()
    if route is None or route.state == Route.State.OPEN:
        return Gate(True, probing=route is not None and route.consecutive_failures > 0)
    changed = route.working_mac and route.working_mac != credential_mac(mailer)
    due = route.paused_until is not None and route.paused_until <= at
    if changed or due:
        return Gate(True, probing=True)
    return Gate(False, route.paused_until)


def closed_error(mailer: Mailer, closed: Gate) -> SMTPError:
    """Return what ``"now"`` mode raises, unsent, while ``mailer`` rests."""
    route = _routes(mailer.name).first()
    until = f"until {closed.until:%Y-%m-%d %H:%M:%S} UTC" if closed.until else "until it is resumed"
    reason = route.pause_reason if route is not None else ""
    return SMTPError(
        f"Mailer {mailer.name!r} rests {until}: {reason or 'no reason given'}",
        phase="connect",
        category=(route.category if route is not None else "") or Category.SERVER_BUSY.value,
    )


def book_failure(mailer: Mailer, error: SMTPError, at: datetime) -> datetime | None:
    """Rest ``mailer`` after a session that could not be had, and return its next probe.

    1, 2, 5, 15, 30, 60 minutes; a refused login or an exhausted quota holds it
    with a probe after 15 minutes, then hourly. Whoever comes second while it
    rests already changes nothing, unless another credential was refused. What a
    person holds stays held: there is no probe then (None).
    """
    route, _ = Route.objects.using(ledger.database()).get_or_create(
        mailer=mailer.name, host="", domain=""
    )
    if route.state == Route.State.HELD and route.paused_until is None:
        return None
    own = credential_mac(mailer)
    refused = own if error.category in _CREDENTIAL else ""
    # A hold keyed on another credential does not hold this one: left alone, it
    # would let this one be tried at once, again and again.
    another = route.working_mac not in ("", own)
    resting = route.paused_until is not None and route.paused_until > at
    if resting and not another and (not refused or route.working_mac):
        return route.paused_until
    failures = 0 if another else route.consecutive_failures
    held = error.category in _HOLDS
    steps = _PROBES if held else _PAUSES
    until = at + steps[min(failures, len(steps) - 1)]
    _resumable(mailer.name).update(
        state=Route.State.HELD if held else Route.State.PAUSED,
        paused_until=until,
        pause_reason=_reason(error),
        category=error.category,
        consecutive_failures=failures + 1,
        working_mac=refused,
    )
    level = logging.ERROR if held else logging.WARNING
    logger.log(level, "Mailer %r rests until %s: %s", mailer.name, until, _reason(error))
    return until


def book_success(mailer: Mailer, at: datetime) -> None:
    """Open ``mailer`` again after a probe succeeded, and let its parked mail come."""
    opened = _resumable(mailer.name).update(
        state=Route.State.OPEN,
        paused_until=None,
        pause_reason="",
        category="",
        consecutive_failures=0,
        working_mac="",
    )
    if opened:
        ledger.unpark(mailer.name, at)


def reopen_changed(mailers: Mapping[str, Mailer], at: datetime) -> None:
    """Let the mail of mailers come whose refused credential has changed since."""
    routes = Route.objects.using(ledger.database()).filter(state=Route.State.HELD)
    for name, mac in routes.exclude(working_mac="").values_list("mailer", "working_mac"):
        mailer = mailers.get(name)
        if mailer is not None and credential_mac(mailer) != mac:
            ledger.unpark(name, at)


def credential_mac(mailer: Mailer) -> str:
    """Return a keyed fingerprint of the mailer's credential, which tells two apart and no more."""
    parts = []
    for options in mailer.hosts:
        credential = options.credential
        if credential is not None:
            source = getattr(credential.token, "path", "")
            parts += [credential.username, credential.password, source]
    value = "\0".join(parts)
    return salted_hmac("django_smtpx.credential", value, algorithm="sha256").hexdigest()


def take_slot(mailer: Mailer, at: datetime, *, probing: bool = False) -> HeldSlot | None:
    """Take one of the mailer's ``max_connections`` slots, or return None when all are in use."""
    resting = _Resting.take(mailer.name)
    if resting is not None and renew_slot(resting, at):
        return resting
    numbers = list(range(1 if probing else mailer.max_connections))
    slots = _slots().filter(mailer=mailer.name, number__in=numbers)
    known = dict(slots.values_list("number", "expires_at"))
    missing = [number for number in numbers if number not in known]
    if missing:
        _slots().bulk_create(
            [Slot(mailer=mailer.name, number=number, expires_at=at) for number in missing],
            ignore_conflicts=True,
        )
    free = [number for number in numbers if known.get(number, at) <= at]
    random.shuffle(free)
    for number in free:
        held = HeldSlot(mailer.name, number, uuid4(), at + timedelta(seconds=SLOT_LEASE))
        row = _slots().filter(mailer=mailer.name, number=number, expires_at__lte=at)
        if row.update(token=held.token, expires_at=held.expires, owner=_owner()):
            return held
    return None


def renew_slot(slot: HeldSlot, at: datetime, seconds: float = SLOT_LEASE) -> bool:
    """Keep a slot for ``seconds`` more; False when somebody else has it by now."""
    expires = at + timedelta(seconds=seconds)
    if not _mine(slot).update(expires_at=expires):
        return False
    slot.expires = expires
    return True


def free_slot(slot: HeldSlot, at: datetime) -> None:
    """Give a slot back."""
    _mine(slot).update(expires_at=at, token=None, owner="")


def rest_slot(slot: HeldSlot, at: datetime, idle_timeout: float) -> None:
    """Keep a slot for the idle session that it stands for: it runs out when the session does.

    The next drain of this process takes it up again; nobody has to give it back.
    """
    if renew_slot(slot, at, idle_timeout + 1):
        slot.rested = True
        _Resting.put(slot)


def free_dead_slots(at: datetime) -> int:
    """Give back the slots of processes of this host that are no more, and count them."""
    place = _place()
    held = _slots().filter(expires_at__gt=at, owner__startswith=place)
    dead = [
        token
        for token, owner in held.values_list("token", "owner")
        if token is not None and not _lives(owner, place)
    ]
    return _slots().filter(token__in=dead).update(expires_at=at, token=None, owner="")


def has_free_slot(mailer: Mailer, at: datetime) -> bool:
    """Say whether a drain of ``mailer`` would find a slot."""
    used = _slots().filter(mailer=mailer.name, number__lt=mailer.max_connections, expires_at__gt=at)
    return used.count() < mailer.max_connections


class _Resting:
    """The slots of this process's idle sessions; a forked child begins with none."""

    _lock = threading.Lock()
    _slots: ClassVar[defaultdict[str, list[HeldSlot]]] = defaultdict(list)

    @classmethod
    def take(cls, mailer: str) -> HeldSlot | None:
        with cls._lock:
            slots = cls._slots[mailer]
            return slots.pop() if slots else None

    @classmethod
    def put(cls, slot: HeldSlot) -> None:
        with cls._lock:
            cls._slots[slot.mailer].append(slot)

    @classmethod
    def forget(cls) -> None:
        cls._lock = threading.Lock()
        cls._slots = defaultdict(list)
        _owner.cache_clear()


os.register_at_fork(after_in_child=_Resting.forget)


def _routes(mailer: str) -> QuerySet[Route]:
    return Route.objects.using(ledger.database()).filter(mailer=mailer, host="", domain="")


def _resumable(mailer: str) -> QuerySet[Route]:
    """What a person holds (without a time) only a person resumes."""
    return _routes(mailer).exclude(state=Route.State.HELD, paused_until=None)


def _slots() -> QuerySet[Slot]:
    return Slot.objects.using(ledger.database()).all()


def _mine(slot: HeldSlot) -> QuerySet[Slot]:
    return _slots().filter(mailer=slot.mailer, number=slot.number, token=slot.token)


def _reason(error: SMTPError) -> str:
    parts = (error.phase, error.code, error.enhanced_code, error.reply or str(error))
    return " ".join(str(part) for part in parts if part)


@cache
def _place() -> str:
    """Name the host and the namespace that this process's id means something in."""
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {namespace} "[:150]


@cache
def _owner() -> str:
    return f"{_place()}{os.getpid()} {_birth(os.getpid())}"


def _birth(pid: int) -> str:
    """Return when a process began, in ticks since boot, so that a reused id is not taken for it."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _lives(owner: str, place: str) -> bool:
    pid, _, birth = owner.removeprefix(place).partition(" ")
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _birth(int(pid)) == birth
