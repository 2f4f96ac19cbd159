"""``manage.py smtpx_pause``: let a mailer, or its mail to one domain, rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger, pacing
from django_smtpx.management.resting import Scope, domain_of, duration
from django_smtpx.management.steering import known_mailer

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


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

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what that means for the mail."""
        known_mailer(options["mailer"])
        scope = Scope(options["mailer"], domain_of(options["domain"]))
        length = None if options["duration"] is None else duration(options["duration"])
        at = ledger.now()
        until = None if length is None else at + length
        pacing.pause(
            scope.mailer,
            at,
            domain=scope.domain,
            until=until,
            reason=options["reason"],
            by="smtpx_pause",
        )
        if options["verbosity"] == 0:
            return
        values = {"scope": scope, "arguments": scope.arguments}
        if until is None:
            said = _("%(scope)s is held until it is resumed: smtpx_resume %(arguments)s")
        else:
            values["until"] = f"{until:%Y-%m-%d %H:%M:%S}"
            said = _("%(scope)s rests until %(until)s UTC, or: smtpx_resume %(arguments)s")
        self.stdout.write(said % values)
        self.stdout.write(_("Waiting: %(count)s.") % {"count": number_format(scope.waiting())})
        sending = scope.sending()
        if sending:
            still = _("Claimed by a worker before, and still sent: up to %(count)s.")
            self.stdout.write(self.style.WARNING(still % {"count": number_format(sending)}))
