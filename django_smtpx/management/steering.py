"""What ``smtpx_retry`` and ``smtpx_cancel`` share: the filters, and what they print."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import delivery, ledger, tasks
from django_smtpx.addresses import a_labels
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import in_language
from django_smtpx.ledger import Refusal, Selection, Steered, Step
from django_smtpx.management.answers import add_answer_arguments, as_json, changes
from django_smtpx.management.table import table
from django_smtpx.models import Category, Delivery, Message, Route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from django.core.management.base import CommandParser
    from django.db.models import QuerySet

MOST_ROWS = 40
"""Lines of the table of a dry run; what has most deliveries comes first."""


class SteeringCommand(BaseCommand):
    """Selects deliveries by filters, which must all hold, and does one step with them."""

    # What is wrong with one mailer does not keep the mail of another from being seen to.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the filters and ``--dry-run``."""
        parser.add_argument(
            "--id",
            nargs="+",
            action="extend",
            type=int,
            metavar="N",
            help=_("Deliveries by their id."),
        )
        parser.add_argument("--mailer", help=_("Deliveries of this mailer."))
        parser.add_argument("--domain", help=_("Deliveries to this domain."))
        parser.add_argument("--recipient", help=_("Deliveries to this address."))
        parser.add_argument(
            "--category", help=_("Deliveries whose last failure is about this (mailbox_full, …).")
        )
        parser.add_argument(
            "--status", help=_("Deliveries in this status: %s.") % ", ".join(Delivery.Status.values)
        )
        add_answer_arguments(
            parser, _("Only count what would be done, by mailer, domain and category.")
        )

    def run(self, step: Step, options: dict[str, Any]) -> None:
        """Do ``step``, or count what it would do, and print it."""
        selection = selection_of(options)
        if selection.is_everything:
            raise CommandError(
                _(
                    "Say which deliveries are meant: --id, --mailer, --domain, --recipient, "
                    "--category or --status. To see what would be done, add --dry-run."
                )
            )
        at = ledger.now()
        if options["dry_run"]:
            steered = ledger.preview(step, selection, at)
        else:
            steered = _DO[step](selection, at, by=f"smtpx_{_NAMES[step]}")
        if step == Step.RETRY and not options["dry_run"]:
            wake(steered.mailers)
        if options["format"] == "json":
            self.stdout.write(_as_json(step, steered, at, dry_run=options["dry_run"]))
        elif options["verbosity"] > 0:
            self._report(step, steered, dry_run=options["dry_run"])

    def _report(self, step: Step, steered: Steered, *, dry_run: bool) -> None:
        if not steered.selected:
            self.stdout.write(_("No delivery matches."))
            return
        if dry_run and steered.count:
            self._table(steered)
        self.stdout.write(_summary(step, steered, dry_run=dry_run))
        for line in changes(steered.before, steered.after):
            self.stdout.write(line)
        for reason, count in steered.refused.items():
            values = {"count": number_format(count), "reason": reason.label}
            self.stdout.write(self.style.WARNING(_("Left alone: %(count)s %(reason)s.") % values))
        for line in (*_advice(step, steered), *_obstacles(step, steered)):
            self.stdout.write(self.style.NOTICE(line))

    def _table(self, steered: Steered) -> None:
        cells = [(_("Mailer"), _("Domain"), _("Category"), _("Deliveries"))]
        counted: Counter[tuple[str, str, str]] = Counter()
        for group, count in steered.groups.items():
            category = group.category or _("none yet")
            counted[group.mailer, group.domain or "–", category] += count
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        cells += [(*names, number_format(count)) for names, count in ordered[:MOST_ROWS]]
        for line in table(cells, right=(3,)):
            self.stdout.write(line)
        if len(ordered) > MOST_ROWS:
            rest = number_format(len(ordered) - MOST_ROWS)
            self.stdout.write(_("… and %(count)s more.") % {"count": rest})


_DO = {
    Step.RETRY: delivery.send_again,
    Step.ARRIVED: ledger.arrived,
    Step.CANCEL: ledger.cancel,
}
_NAMES = {
    Step.RETRY: "retry",
    Step.ARRIVED: "retry --arrived",
    Step.CANCEL: "cancel",
}


def selection_of(options: dict[str, Any]) -> Selection:
    """Return what the options ask for; whatever cannot match is a CommandError that says why."""
    ids = options.get("id")
    if isinstance(ids, int):
        ids = [ids]
    if options["domain"]:
        try:
            options["domain"] = a_labels(options["domain"])
        except ValueError as error:
            raise CommandError(in_language(error)) from error
    selection = Selection(
        ids=None if ids is None else tuple(ids),
        mailer=options["mailer"],
        domain=options["domain"],
        recipient=options.get("recipient"),
        category=options["category"],
        status=options["status"],
    )
    _known(_("status"), selection.status, Delivery.Status.values)
    _known(_("category"), selection.category, Category.values)
    known_mailer(selection.mailer)
    return selection


def _known(what: str, given: str | None, values: Sequence[str]) -> None:
    if given is None or given in values:
        return
    close = get_close_matches(given, values, n=1)
    values_of = {"what": what, "given": repr(given), "values": ", ".join(values)}
    error = _("There is no %(what)s %(given)s.") % values_of
    if close:
        error += " " + _("Did you mean %(close)s?") % {"close": repr(close[0])}
    else:
        error += " " + _("Choose from: %(values)s.") % values_of
    raise CommandError(error)


def known_mailer(given: str | None) -> None:
    """Refuse a mailer that is not configured, and has no mail left from when it was."""
    configured = [*mailers(), *mailer_errors()]
    if given is None or given in configured:
        return
    if not Message.objects.using(ledger.database()).filter(mailer=given).exists():
        _known(_("mailer"), given, configured)


def _as_json(step: Step, steered: Steered, at: datetime, *, dry_run: bool) -> str:
    return as_json(
        f"smtpx_{_NAMES[step].partition(' ')[0]}",
        at,
        dry_run=dry_run,
        count=steered.count,
        before=steered.before,
        after=steered.after,
        hints=(*_advice(step, steered), *_obstacles(step, steered)),
        step=step.value,
        selected=steered.selected,
        scheduled=steered.scheduled,
        left_alone={reason.value: count for reason, count in steered.refused.items()},
        groups=[{**group._asdict(), "count": count} for group, count in steered.groups.items()],
    )


def _summary(step: Step, steered: Steered, *, dry_run: bool) -> str:
    now = steered.count - steered.scheduled
    values = {"count": number_format(now if step == Step.RETRY else steered.count)}
    if dry_run:
        texts = {
            Step.RETRY: _("Would be due now: %(count)s."),
            Step.ARRIVED: _("Would be settled as sent: %(count)s."),
            Step.CANCEL: _("Would be cancelled: %(count)s."),
        }
    else:
        texts = {
            Step.RETRY: _("Due now: %(count)s."),
            Step.ARRIVED: _("Settled as sent: %(count)s."),
            Step.CANCEL: _("Cancelled: %(count)s."),
        }
    text = texts[step] % values
    if steered.scheduled:
        scheduled = {"count": number_format(steered.scheduled)}
        text += " " + _("Queued again for their send_at: %(count)s.") % scheduled
    return text


def _advice(step: Step, steered: Steered) -> Iterable[str]:
    """Say what can be done about those that were left alone."""
    if Refusal.DOUBTFUL not in steered.refused:
        return
    if step == Step.RETRY:
        yield _(
            "Those of unknown outcome are for you to decide: smtpx_retry --status unknown sends "
            "them again, with --arrived it settles them as sent."
        )
    else:
        yield _(
            "Nothing more is sent of those of unknown outcome; smtpx_retry --arrived settles them."
        )


def _obstacles(step: Step, steered: Steered) -> Iterable[str]:
    """Say which mailers will not send what is due now, and what would make them."""
    if step != Step.RETRY or not steered.count:
        return
    for name in steered.mailers:
        if name not in mailers():
            yield _("Mailer %(mailer)s is not configured, or wrongly: its mail waits.") % {
                "mailer": repr(name)
            }
    for route in _resting(steered.mailers).filter(domain="", sender=""):
        yield _obstacle(route)


def obstacles(names: Collection[str]) -> Iterable[str]:
    """Say what keeps mail of these mailers from going, and what would let it go."""
    return map(_obstacle, _resting(names))


def _obstacle(route: Route) -> str:
    scope, arguments = route.mailer, route.mailer
    if route.domain:
        scope, arguments = f"{scope} ({route.domain})", f"{arguments} --domain {route.domain}"
    elif route.sender:
        address = route.sender.removeprefix("MAIL FROM ").removeprefix("From ")
        scope = f"{scope} ({route.sender})"
        arguments = f"{arguments} --sender '{address.strip('<>')}'"
    until = (
        _(" until %(time)s UTC") % {"time": f"{route.paused_until:%Y-%m-%d %H:%M:%S}"}
        if route.paused_until
        else ""
    )
    values = {
        "scope": scope,
        "until": until,
        "reason": route.pause_reason or _("no reason given"),
        "arguments": arguments,
    }
    text = _("Mailer %(scope)s rests%(until)s (%(reason)s): smtpx_resume %(arguments)s lets it go.")
    return text % values


def _resting(names: Collection[str]) -> QuerySet[Route]:
    routes = Route.objects.using(ledger.database()).filter(mailer__in=names, host="")
    return routes.exclude(state=Route.State.OPEN).order_by("mailer", "domain", "sender")


def wake(names: Iterable[str]) -> None:
    """Hint the drains, once the caller's transaction (if any) is committed."""
    for name in names:
        if name in mailers():
            hint = partial(tasks.wake, name)
            transaction.on_commit(hint, using=ledger.database(), robust=True)
