"""``manage.py smtpx_resume``: wake a mailer, its mail to one domain, or that of one sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger, pacing
from django_smtpx.config import mailers
from django_smtpx.management.resting import Scope, domain_of, resting_routes
from django_smtpx.management.steering import known_mailer, wake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.core.management.base import CommandParser

MOST_ROUTES = 10
"""Lines about what rests still."""


class Command(BaseCommand):
    """Opens it, whoever closed it, and says what goes now, and what rests still."""

    help = _(
        "Let the mail of a mailer go again, whoever closed it: a person, failures, a refused "
        "login, a used-up quota. What waits behind it is ready at once."
    )
    # What is wrong with one mailer does not keep another from being resumed.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is to go again."""
        parser.add_argument("mailer", help=_("The mailer's name."))
        parser.add_argument("--domain", help=_("Only its mail to this domain, if that rests."))
        parser.add_argument(
            "--sender",
            metavar="ADDRESS",
            help=_("Only its mail from this address, if the server's refusal of it holds that."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what came of it."""
        known_mailer(options["mailer"])
        if options["domain"] is not None and options["sender"] is not None:
            raise CommandError(_("--domain and --sender are about different things: choose one."))
        scope = Scope(options["mailer"], domain_of(options["domain"]))
        at = ledger.now()
        if options["sender"] is None:
            resumed = pacing.resume(scope.mailer, at, domain=scope.domain, by="smtpx_resume")
            name = str(scope)
        else:
            resumed = _resume_sender(scope.mailer, options["sender"], at)
            values = {"mailer": repr(scope.mailer), "sender": repr(options["sender"])}
            name = _("Mail of %(mailer)s from %(sender)s") % values
        if resumed:
            wake([scope.mailer])
        if options["verbosity"] == 0:
            return
        if not resumed:
            self.stdout.write(_("%(scope)s is open: nothing to resume.") % {"scope": name})
        else:
            self.stdout.write(_("%(scope)s is open again.") % {"scope": name})
            self.stdout.write(_("Ready: %(count)s.") % {"count": number_format(scope.ready())})
        for line in _obstacles(scope, at):
            self.stdout.write(self.style.WARNING(line))


def _resume_sender(mailer: str, address: str, at: datetime) -> bool:
    """Resume an address wherever it was refused: as the reverse path, or in the From header."""
    bare = address.strip().removeprefix("<").removesuffix(">")
    keys = (pacing.envelope_key(bare), pacing.header_key(address))
    resumed = [pacing.resume(mailer, at, sender=key, by="smtpx_resume") for key in keys]
    return any(resumed)


def _obstacles(scope: Scope, at: datetime) -> Iterable[str]:
    """Say what keeps mail of this mailer all the same."""
    if scope.mailer not in mailers():
        yield _("Mailer %(mailer)s is not configured, or wrongly: its mail waits.") % {
            "mailer": repr(scope.mailer)
        }
    rests = list(resting_routes(scope.mailer, at)[: MOST_ROUTES + 1])
    for route in rests[:MOST_ROUTES]:
        what = route.sender or Scope(route.mailer, route.domain)
        reason = route.pause_reason or _("no reason given")
        yield _("Still at rest: %(what)s (%(reason)s).") % {"what": what, "reason": reason}
    if len(rests) > MOST_ROUTES:
        yield _("… and more: the admin's list of routes shows them.")
