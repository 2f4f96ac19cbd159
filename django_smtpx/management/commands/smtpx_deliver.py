"""``manage.py smtpx_deliver``: deliver what is due in this process, without Celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import delivery, ledger
from django_smtpx.config import get_mailer, mailer_errors, mailers
from django_smtpx.language import in_language
from django_smtpx.management.progress import Progress
from django_smtpx.management.steering import obstacles
from django_smtpx.management.tally import Tally
from django_smtpx.models import Attempt, Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser
    from django.db.models import QuerySet

_STYLES = {"sent": "SUCCESS", "deferred": "WARNING", "failed": "ERROR", "unknown": "ERROR"}


class Command(BaseCommand):
    """Delivers until nothing is due, shows how far it is, and prints what came of it."""

    help = _("Deliver what is due in this process, without Celery.")
    # A mailer that is set up wrongly is left out, and told; the mail of the others goes.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ``--mailer`` and ``--once``."""
        parser.add_argument("--mailer", help=_("Only the mail of this mailer (default: of all)."))
        parser.add_argument(
            "--once",
            action="store_true",
            help=_("One round, instead of going on until nothing is due any more."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver, and print a table of the outcomes."""
        verbosity = options["verbosity"]
        names = self._names(options["mailer"])
        # Where each outcome is a line there is no need of a bar besides.
        progress = Progress(self.stderr if verbosity == 1 else None, _due(names))
        interrupted = False
        with Tally(names, progress.advance, self._line if verbosity > 1 else None) as tally:
            try:
                delivery.run_until_idle(names, once=options["once"], progress=progress.round_done)
            except KeyboardInterrupt:
                interrupted = True
        progress.end()
        if verbosity > 0:
            self._report(tally, names)
            if interrupted:
                self.stdout.write(_("Interrupted: what was not begun stays in the queue."))

    def _names(self, only: str | None) -> Sequence[str]:
        """Return the mailers to deliver for; an unknown or broken one is an error if asked for."""
        if only is not None:
            try:
                return (get_mailer(only).name,)
            except ImproperlyConfigured as error:
                raise CommandError(in_language(error)) from error
        for name, wrong in mailer_errors().items():
            values = {"mailer": name, "error": in_language(wrong)}
            self.stderr.write(_("Mailer %(mailer)s is left out: %(error)s") % values)
        return tuple(mailers())

    def _line(self, row: Delivery, attempt: Attempt | None) -> None:
        """Print one outcome."""
        parts = (row.code, row.enhanced_code, " ".join(row.reply.splitlines()))
        said = " ".join(str(part) for part in parts if part)
        outcome = attempt.get_outcome_display() if attempt else row.get_status_display()
        text = f"{row.recipient}: {outcome}, {row.get_category_display()}"
        self.stdout.write(f"{text} ({said})" if said else text)

    def _report(self, tally: Tally, names: Sequence[str]) -> None:
        rows = tally.rows()
        if rows:
            self._table(rows)
        else:
            self.stdout.write(_("Nothing was delivered."))
        waiting = _waiting(names).count()
        if waiting:
            values = {"count": number_format(waiting), "due": number_format(_due(names))}
            self.stdout.write(_("Still waiting: %(count)s, of which due: %(due)s") % values)
            for line in obstacles(names):
                self.stdout.write(self.style.NOTICE(line))

    def _table(self, rows: Sequence[tuple[str, str, int]]) -> None:
        cells = [(_("Outcome"), _("Category"), _("Deliveries"))]
        cells += [
            (str(Attempt.Outcome(outcome).label), category, number_format(count))
            for outcome, category, count in rows
        ]
        cells.append((_("Total"), "", number_format(sum(count for *__, count in rows))))
        first, second, third = (max(map(len, column)) for column in zip(*cells, strict=True))
        styles = ["MIGRATE_HEADING", *(_STYLES[outcome] for outcome, *__ in rows), "HTTP_INFO"]
        for (outcome, category, count), style in zip(cells, styles, strict=True):
            line = f"{outcome:<{first}}  {category:<{second}}  {count:>{third}}"
            self.stdout.write(getattr(self.style, style)(line))


def _waiting(names: Sequence[str]) -> QuerySet[Delivery]:
    statuses = (Delivery.Status.QUEUED, Delivery.Status.DEFERRED)
    return Delivery.objects.using(ledger.database()).filter(status__in=statuses, mailer__in=names)


def _due(names: Sequence[str]) -> int:
    """Count what the bar begins with; more may come due while it runs."""
    ready = Q(lane__gt=Delivery.Lane.IDLE)
    return _waiting(names).filter(ready | Q(next_attempt_at__lte=timezone.now())).count()
