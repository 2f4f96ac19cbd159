"""``manage.py smtpx_pause``: let a mailer, or its mail to one domain, rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger, pacing
from django_smtpx.management.answers import add_answer_arguments, as_json
from django_smtpx.management.resting import arguments, scope_of, state_of
from django_smtpx.management.steering import known_mailer
from django_smtpx.models import Route

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from django.core.management.base import CommandParser

    from django_smtpx.pacing import Scope


class Command(BaseCommand):
    """Closes it, and says until when, how much waits, and what still goes."""

    help = _(
        "Let a mailer, or its mail to one domain, rest: nothing of it is sent, no attempt is "
        "counted, and its mail gets no older. Without --for it is held until smtpx_resume."
    )
    # What is wrong with one mailer does not keep another from being paused.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is to rest, for how long, and why."""
        parser.add_argument("mailer", help=_("The mailer's name."))
        parser.add_argument("--domain", help=_("Only its mail to this domain."))
        parser.add_argument(
            "--for",
            dest="duration",
            metavar="DURATION",
            help=_("For so long: 90s, 15m, 2h, 1d, 1h30m. Without it: until it is resumed."),
        )
        parser.add_argument("--reason", default="", metavar="TEXT", help=_("Why, for the others."))
        add_answer_arguments(parser, _("Only say what would rest, and how much mail waits there."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what that means for the mail."""
        known_mailer(options["mailer"])
        scope = scope_of(options["mailer"], options["domain"])
        length = None if options["duration"] is None else _length(options["duration"])
        at = ledger.now()
        until = None if length is None else at + length
        state = state_of(scope)
        before = ledger.waits(scope.mailer, scope.domain or None, at)
        if not options["dry_run"]:
            pacing.pause(
                scope.mailer,
                at,
                domain=scope.domain,
                until=until,
                reason=options["reason"],
                by="smtpx_pause",
            )
        if options["format"] == "json":
            after = Route.State.HELD if until is None else Route.State.PAUSED
            answer = as_json(
                "smtpx_pause",
                at,
                dry_run=options["dry_run"],
                count=scope.waiting(),
                before=before,
                # The next drain puts away what is due; what a worker has claimed is still sent.
                after=before,
                hints=[f"smtpx_resume {arguments(scope)}"],
                mailer=scope.mailer,
                domain=scope.domain,
                state={"before": state, "after": after.value},
                until=None if until is None else until.isoformat(),
                reason=options["reason"],
            )
            self.stdout.write(answer)
        elif options["verbosity"] > 0:
            self._report(scope, until, dry_run=options["dry_run"])

    def _report(self, scope: Scope, until: datetime | None, *, dry_run: bool) -> None:
        values = {"scope": scope, "arguments": arguments(scope)}
        if until is not None:
            values["until"] = f"{until:%Y-%m-%d %H:%M:%S}"
        said = {
            (False, True): _("%(scope)s is held until it is resumed: smtpx_resume %(arguments)s"),
            (False, False): _(
                "%(scope)s rests until %(until)s UTC, or: smtpx_resume %(arguments)s"
            ),
            (True, True): _("%(scope)s would be held until it is resumed."),
            (True, False): _("%(scope)s would rest until %(until)s UTC."),
        }
        self.stdout.write(said[dry_run, until is None] % values)
        self.stdout.write(_("Waiting: %(count)s.") % {"count": number_format(scope.waiting())})
        sending = scope.sending()
        if sending:
            still = _("Claimed by a worker before, and still sent: up to %(count)s.")
            self.stdout.write(self.style.WARNING(still % {"count": number_format(sending)}))


def _length(text: str) -> timedelta:
    try:
        return pacing.duration(text)
    except ValueError as invalid:
        raise CommandError(str(invalid)) from invalid
