"""Connection slots, counted over all workers: leases that run out when a process dies."""

from __future__ import annotations

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

from django_smtpx import ledger
from django_smtpx.models import Slot

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.mailer import Way

SLOT_LEASE = 30.0
"""Seconds that a connection slot outlives the last sign of life of whoever holds it."""


@dataclass(slots=True)
class HeldSlot:
    """One of the connections of a way, held by this process until ``expires``.

    ``rested`` says that it stands for an idle session of this process.
    """

    mailer: str
    domain: str
    number: int
    token: UUID
    expires: datetime
    rested: bool = False


def take_slot(way: Way, at: datetime, most: int) -> HeldSlot | None:
    """Take one of the way's first ``most`` slots, or return None when all are in use."""
    resting = _Resting.take(way, most)
    if resting is not None and renew_slot(resting, at):
        return resting
    numbers = list(range(most))
    slots = _slots_of(way).filter(number__in=numbers)
    known = dict(slots.values_list("number", "expires_at"))
    missing = [number for number in numbers if number not in known]
    if missing:
        _slots().bulk_create(
            [
                Slot(mailer=way.name, domain=way.domain, number=number, expires_at=at)
                for number in missing
            ],
            ignore_conflicts=True,
        )
    free = [number for number in numbers if known.get(number, at) <= at]
    if not way.domain:
        # Workers that come at once do not all try the same one. To a domain the first
        # ones go first: a provider may take no more than those.
        random.shuffle(free)
    for number in free:
        expires = at + timedelta(seconds=SLOT_LEASE)
        held = HeldSlot(way.name, way.domain, number, uuid4(), expires)
        row = _slots_of(way).filter(number=number, expires_at__lte=at)
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


def free_rested_slots(now: Callable[[], datetime]) -> int:
    """Give back the slots of this process's idle sessions, which have been closed; count them."""
    slots = _Resting.take_all()
    if slots:
        at = now()
        for slot in slots:
            free_slot(slot, at)
    return len(slots)


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


def used_slots(way: Way, at: datetime, most: int) -> int:
    """Return how many of the way's first ``most`` slots are in use."""
    return _slots_of(way).filter(number__lt=most, expires_at__gt=at).count()


class _Resting:
    """The slots of this process's idle sessions; a forked child begins with none."""

    _lock = threading.Lock()
    _slots: ClassVar[defaultdict[tuple[str, str], list[HeldSlot]]] = defaultdict(list)

    @classmethod
    def take(cls, way: Way, most: int) -> HeldSlot | None:
        with cls._lock:
            slots = cls._slots[way.name, way.domain]
            found = next((slot for slot in slots if slot.number < most), None)
            if found is not None:
                slots.remove(found)
            return found

    @classmethod
    def take_all(cls) -> list[HeldSlot]:
        with cls._lock:
            slots = [slot for each in cls._slots.values() for slot in each]
            cls._slots.clear()
            return slots

    @classmethod
    def put(cls, slot: HeldSlot) -> None:
        with cls._lock:
            cls._slots[slot.mailer, slot.domain].append(slot)

    @classmethod
    def forget(cls) -> None:
        cls._lock = threading.Lock()
        cls._slots = defaultdict(list)
        _owner.cache_clear()


def forget_resting() -> None:
    """Begin with no slot of an idle session, as a forked child does."""
    _Resting.forget()


os.register_at_fork(after_in_child=forget_resting)


def _slots() -> QuerySet[Slot]:
    return Slot.objects.using(ledger.database()).all()


def _slots_of(way: Way) -> QuerySet[Slot]:
    return _slots().filter(mailer=way.name, domain=way.domain)


def _mine(slot: HeldSlot) -> QuerySet[Slot]:
    return _slots().filter(
        mailer=slot.mailer, domain=slot.domain, number=slot.number, token=slot.token
    )


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
