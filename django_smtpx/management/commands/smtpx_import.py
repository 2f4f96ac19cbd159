"""``manage.py smtpx_import``: move the mail that waits in another package's queue into this one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx.management.progress import Progress
from django_smtpx.management.steering import MOST_ROWS, known_mailer
from django_smtpx.moving import QUEUES, Busy, NotInstalled, move

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.management.base import CommandParser

    from django_smtpx.moving import Moved, Queue


class Command(BaseCommand):
    """Moves each mail once, however often it is run, and says what it leaves, and why."""

    help = _(
        "Move the mail that waits in the queue of django-post-office or django-mailer into this "
        "one. Stop the other package's worker first, on every machine. A mail is in one of the "
        "two queues at every moment, and never in both."
    )
    # What is wrong with one mailer does not keep the mail of another from being moved.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the queue, and how."""
        parser.add_argument("queue", choices=sorted(QUEUES), help=_("The queue to be emptied."))
        parser.add_argument(
            "--mailer",
            help=_("The mailer for mail that asks for none; without it, the default one."),
        )
        parser.add_argument(
            "--deferred",
            action="store_true",
            help=_("Of django_mailer: also what has failed, and waits for retry_deferred."),
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=_("Only say what would be moved, and what would be left, and why."),
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move it, print what came of it, and fail where something is left that should go."""
        known_mailer(options["mailer"])
        dry_run = options["dry_run"]
        text = options["format"] == "text"
        try:
            queue = QUEUES[options["queue"]](deferred=options["deferred"])
            bar = self.stderr if text and options["verbosity"] == 1 and not dry_run else None
            progress = Progress(bar, queue.waiting().count() if bar else 0)
            came = move(queue, mailer=options["mailer"], dry_run=dry_run, tell=progress.advance)
        except (NotInstalled, Busy) as error:
            raise CommandError(str(error)) from error
        progress.end()
        if not text:
            self.stdout.write(json.dumps(_as_json(queue, came, dry_run=dry_run), indent=2))
        elif options["verbosity"] > 0:
            for line in _as_text(queue, came, dry_run=dry_run):
                self.stdout.write(line)
        if came.left or came.more:
            count = number_format(len(came.left) + came.more)
            raise CommandError(_("Left in the other queue: %(count)s.") % {"count": count})


def _as_json(queue: Queue, came: Moved, *, dry_run: bool) -> dict[str, Any]:
    asleep = {sleep.value: count for sleep, count in queue.asleep().items()}
    return {"queue": queue.name, "dry_run": dry_run, **asdict(came), **asleep}


def _as_text(queue: Queue, came: Moved, *, dry_run: bool) -> Iterable[str]:
    moved = _("Would be moved: %(count)s.") if dry_run else _("Moved: %(count)s.")
    yield moved % {"count": number_format(came.moved)}
    if came.known:
        text = _("Had been moved before, and not again: %(count)s.")
        yield text % {"count": number_format(came.known)}
    if came.more:
        text = _("Held by its worker, or queued meanwhile: %(count)s. Run this again.")
        yield text % {"count": number_format(came.more)}
    for sleep, count in queue.asleep().items():
        if count:
            yield str(sleep.label) % {"count": number_format(count)}
    for one in came.left[:MOST_ROWS]:
        values = {"model": queue.model_name, "id": one.id, "reason": one.reason}
        yield _("%(model)s %(id)s is left: %(reason)s") % values
    if len(came.left) > MOST_ROWS:
        rest = number_format(len(came.left) - MOST_ROWS)
        yield _("… and %(count)s more.") % {"count": rest}
