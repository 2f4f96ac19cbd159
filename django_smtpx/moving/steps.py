"""From one queue into the other, batch by batch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from django_smtpx import backend, byhand, ledger
from django_smtpx.compose import compose
from django_smtpx.config import DEFAULT, mailers
from django_smtpx.language import in_language
from django_smtpx.moving.queues import MOVED_FROM, Queue, Unmovable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer

_MOST = 100
_MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Left:
    """A mail that stays where it is: its number there, and why."""

    id: int
    reason: str


@dataclass(slots=True)
class Moved:
    """What came of it: how many were moved, how many had been before, and what is left.

    ``more`` wait there besides: held by a worker of the other package, or queued meanwhile.
    """

    moved: int = 0
    known: int = 0
    left: list[Left] = field(default_factory=list)
    more: int = 0


def move(queue: Queue, *, mailer: str | None, dry_run: bool, tell: Callable[[], None]) -> Moved:
    """Move what waits in ``queue``, each mail once, and say what came of it.

    Mail that asks for no mailer of its own goes through ``mailer``, or the default one. ``tell`` is
    called for each mail that was looked at. ``dry_run`` composes each, and writes nothing. Raises
    :class:`~django_smtpx.moving.Busy` while the other queue's worker is at work.
    """
    came = Moved()
    steps = _Steps(queue, mailer or DEFAULT)
    with nullcontext() if dry_run else queue.lock():
        last = 0
        while keys := _next(queue, last):
            step = steps.look(keys) if dry_run else steps.move(keys)
            came.moved += step.moved
            came.known += step.known
            came.left += step.left
            last = step.last
            for _each in range(step.count):
                tell()
    if not dry_run:
        came.more = max(0, queue.waiting().count() - len(came.left))
    return came


def _next(queue: Queue, last: int) -> list[int]:
    rows = queue.waiting().filter(pk__gt=last).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:_MOST])


@dataclass(slots=True)
class _Step(Moved):
    """One batch: ``last`` is the key up to which it went."""

    last: int = 0

    @property
    def count(self) -> int:
        return self.moved + self.known + len(self.left)


class _Steps:
    """Batches of one queue."""

    def __init__(self, queue: Queue, mailer: str) -> None:
        self.queue = queue
        self.mailer = mailer

    def look(self, keys: Sequence[int]) -> _Step:
        """Say what ``move`` would do."""
        step = _Step(last=keys[-1])
        for row in self.queue.waiting().filter(pk__in=keys).order_by("pk"):
            step.moved += self._composed(row, step) is not None
        return step

    def move(self, keys: Sequence[int]) -> _Step:
        """Move a batch in one transaction, which is begun anew where the database is busy."""

        def work() -> _Step:
            with transaction.atomic(using=self.queue.database):
                return self._moved(self.queue.locked(keys), _Step(last=keys[-1]))

        return ledger.patiently(work, self.queue.database)

    def _moved(self, rows: Iterable[Any], step: _Step) -> _Step:
        taken: list[int] = []
        mails: list[tuple[Mailer, Composed]] = []
        room = _MOST_BYTES
        for row in rows:
            mail = self._composed(row, step)
            if mail is None:
                continue
            taken.append(row.pk)
            mails.append(mail)
            room -= len(mail[1].content)
            if room <= 0:
                # The rest comes in the next batch.
                step.last = row.pk
                break
        if not mails:
            return step
        stored = backend.store(mails)
        step.moved = sum(one.new for one in stored)
        step.known = len(stored) - step.moved
        messages = [one.message for one in stored]
        self.queue.take_out(dict(zip(taken, messages, strict=True)))
        return step

    def _composed(self, row: Any, step: _Step) -> tuple[Mailer, Composed] | None:
        """Return a row's mail, ready to be stored; None where it is left, with the reason."""
        try:
            return self._mail(row)
        except Unmovable as error:
            step.left.append(Left(row.pk, str(error)))
        return None

    def _mail(self, row: Any) -> tuple[Mailer, Composed]:
        mailer = self._mailer(row)
        try:
            email = self.queue.email(row)
        except (Unmovable, OSError) as error:
            raise Unmovable(str(error)) from error
        except Exception as error:
            # A template's, a pickle's: its text could hold what the mail says.
            kind = {"error": type(error).__name__}
            raise Unmovable(_("It cannot be made: %(error)s.") % kind) from error
        try:
            mail = compose(email, mailer, timezone.now())
        except (ValueError, OSError) as error:
            raise Unmovable(in_language(error)) from error
        if mail is None:
            raise Unmovable(_("It has no recipients."))
        metadata = {**mail.metadata, MOVED_FROM: f"{self.queue.name}:{row.pk}"}
        key = self.queue.key(row)
        return mailer, replace(mail, metadata=metadata, idempotency_key=key)

    def _mailer(self, row: Any) -> Mailer:
        name = self.queue.mailer(row) or self.mailer
        if reason := byhand.why_not(name):
            raise Unmovable(reason)
        return mailers()[name]
