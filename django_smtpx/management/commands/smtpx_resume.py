"""``manage.py smtpx_resume``: wake a mailer, its mail to one domain, or that of one sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger, pacing
from django_smtpx.config import mailers
from django_smtpx.ledger import Wait
from django_smtpx.management.answers import add_answer_arguments, as_json, changes
from django_smtpx.management.resting import resting_routes, scope_of, state_of
from django_smtpx.management.steering import known_mailer, wake
from django_smtpx.models import Route
from django_smtpx.pacing import Scope

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
        add_answer_arguments(parser, _("Only say what would go again, and how much of it."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what came of it."""
        known_mailer(options["mailer"])
        if options["domain"] is not None and options["sender"] is not None:
            raise CommandError(_("--domain and --sender are about different things: choose one."))
        scope = scope_of(options["mailer"], options["domain"])
        sender, dry_run = options["sender"], options["dry_run"]
        at = ledger.now()
        state, before = state_of(scope), ledger.waits(scope.mailer, scope.domain or None, at)
        rested = _rests(scope, sender)
        resumed = rested if dry_run else _resume(scope, sender, at)
        if resumed and not dry_run:
            wake([scope.mailer])
        after = _after(scope, before, at, dry_run=dry_run, resumed=resumed)
        obstacles = () if dry_run else tuple(_obstacles(scope, at))
        if options["format"] == "json":
            answer = as_json(
                "smtpx_resume",
                at,
                dry_run=dry_run,
                count=after.get(Wait.READY, 0) if resumed else 0,
                before=before,
                after=after,
                hints=obstacles,
                mailer=scope.mailer,
                domain=scope.domain,
                sender=sender or "",
                state={"before": state, "after": _state_after(state, sender, resumed=resumed)},
                resumed=resumed,
            )
            self.stdout.write(answer)
        elif options["verbosity"] > 0:
            self._report(_name(scope, sender), before, after, resumed=resumed, dry_run=dry_run)
            for line in obstacles:
                self.stdout.write(self.style.WARNING(line))

    def _report(
        self,
        name: str,
        before: dict[str, int],
        after: dict[str, int],
        *,
        resumed: bool,
        dry_run: bool,
    ) -> None:
        if not resumed:
            self.stdout.write(_("%(scope)s is open: nothing to resume.") % {"scope": name})
            return
        said = _("%(scope)s would be open again.") if dry_run else _("%(scope)s is open again.")
        self.stdout.write(said % {"scope": name})
        ready = number_format(after.get(Wait.READY, 0))
        self.stdout.write(_("Ready: %(count)s.") % {"count": ready})
        for line in changes(before, after):
            self.stdout.write(line)


def _name(scope: Scope, sender: str | None) -> str:
    if sender is None:
        return str(scope)
    values = {"mailer": repr(scope.mailer), "sender": repr(sender)}
    return _("Mail of %(mailer)s from %(sender)s") % values


def _rests(scope: Scope, sender: str | None) -> bool:
    """Say whether there is anything to resume."""
    if sender is None:
        return pacing.rests(scope.mailer, domain=scope.domain)
    return any(pacing.rests(scope.mailer, sender=key) for key in _keys(sender))


def _resume(scope: Scope, sender: str | None, at: datetime) -> bool:
    if sender is None:
        return pacing.resume(scope.mailer, at, domain=scope.domain, by="smtpx_resume")
    return _resume_sender(scope.mailer, sender, at)


def _after(
    scope: Scope, before: dict[str, int], at: datetime, *, dry_run: bool, resumed: bool
) -> dict[str, int]:
    """Count what waits for what afterwards; what rests would be ready until a drain looks."""
    if not resumed:
        return before
    if not dry_run:
        return ledger.waits(scope.mailer, scope.domain or None, at)
    ready = before.get(Wait.READY, 0) + before.get(Wait.REST, 0)
    others = {wait: count for wait, count in before.items() if wait != Wait.REST}
    return {**others, Wait.READY.value: ready} if ready else others


def _state_after(state: str, sender: str | None, *, resumed: bool) -> str:
    """Return the state of the mailer or domain; that of a sender is another row's."""
    return Route.State.OPEN.value if resumed and sender is None else state


def _keys(address: str) -> tuple[str, str]:
    """Return what an address is held as: as the reverse path, or in the From header."""
    bare = address.strip().removeprefix("<").removesuffix(">")
    return pacing.envelope_key(bare), pacing.header_key(address)


def _resume_sender(mailer: str, address: str, at: datetime) -> bool:
    """Resume an address wherever it was refused."""
    resumed = [pacing.resume(mailer, at, sender=key, by="smtpx_resume") for key in _keys(address)]
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
