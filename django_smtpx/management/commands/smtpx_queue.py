"""``manage.py smtpx_queue``: what is in the queue, why it is still there, and until when."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from django_smtpx import ledger, pacing
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import in_language
from django_smtpx.ledger.census import AGES
from django_smtpx.management.steering import MOST_ROWS, obstacles, selection_of
from django_smtpx.management.table import table
from django_smtpx.models import Category, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django.core.management.base import CommandParser

    from django_smtpx.ledger import Ages, Waiting
    from django_smtpx.pacing import UsedUp

_MINUTE = 60


class Command(BaseCommand):
    """Counts deliveries, and writes nothing."""

    help = _(
        "Show what is in the queue by mailer, domain and category: why it is still there, and "
        "until when. With --status: all deliveries in that status."
    )
    # What is wrong with one mailer does not keep the mail of another from being seen.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the filters, and how it is to be shown."""
        parser.add_argument("--mailer", help=_("Deliveries of this mailer."))
        parser.add_argument("--domain", help=_("Deliveries to this domain."))
        parser.add_argument(
            "--category", help=_("Deliveries whose last failure is about this (mailbox_full, …).")
        )
        parser.add_argument(
            "--status", help=_("Deliveries in this status: %s.") % ", ".join(Delivery.Status.values)
        )
        parser.add_argument("--format", choices=("table", "json"), default="table")
        parser.add_argument(
            "--ages",
            action="store_true",
            help=_("How old the mail to each domain is: up to 5 minutes, 10, 20, …"),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, and print."""
        selection = selection_of(options)
        at = ledger.now()
        if options["ages"]:
            ages = ledger.ages(selection, at)
            self._print(options, _ages_as_json(ages, at), _ages_as_text(ages))
            return
        waiting = ledger.census(selection, at)
        waiting, used_up = pacing.kept(waiting, mailers(), at)
        names = {one.mailer for one in waiting if one.wait in _KEPT}
        hints = list(islice(chain(_hints(names), map(_turn, used_up)), MOST_ROWS))
        self._print(options, _as_json(waiting, hints, at), _as_text(waiting, at))
        if options["format"] == "table":
            for line in hints:
                self.stdout.write(self.style.NOTICE(line))

    def _print(self, options: dict[str, Any], data: Any, lines: Iterable[str]) -> None:
        if options["format"] == "json":
            self.stdout.write(json.dumps(data, indent=2))
            return
        for line in lines:
            self.stdout.write(line)


_KEPT = frozenset(
    {
        ledger.Wait.READY,
        ledger.Wait.RETRY,
        ledger.Wait.REST,
        ledger.Wait.RATE,
        ledger.Wait.SCHEDULED,
    }
)


def _hints(names: set[str]) -> Iterable[str]:
    """Say what keeps the mail of these mailers, and what would let it go."""
    for name in sorted(names - mailers().keys()):
        if name in mailer_errors():
            yield in_language(mailer_errors()[name])
        elif name:
            text = _("Mailer %(mailer)s is not configured (any more): its mail waits for that.")
            yield text % {"mailer": repr(name)}
    yield from obstacles(names)


def _turn(used_up: UsedUp) -> str:
    """Say when the next mail may go by a rate, and whose rate that is."""
    limit = used_up.limit
    values = {
        "scope": f"{limit.mailer} ({limit.domain})" if limit.domain else limit.mailer,
        "rate": limit.rate,
        "time": f"{used_up.until:%Y-%m-%d %H:%M:%S}",
    }
    if limit.rate == mailers()[limit.mailer].rate and not limit.domain:
        text = _("Mailer %(scope)s has used up its rate (%(rate)s): more goes at %(time)s UTC.")
    else:
        text = _(
            "Mailer %(scope)s is slowed down to %(rate)s, as its server asked: more goes at "
            "%(time)s UTC."
        )
    return text % values


def _as_json(waiting: Sequence[Waiting], hints: Sequence[str], at: datetime) -> dict[str, Any]:
    groups = [asdict(one) for one in waiting]
    for group in groups:
        for name in ("oldest", "until"):
            group[name] = group[name].isoformat() if group[name] is not None else None
    count = sum(one.count for one in waiting)
    return {"at": at.isoformat(), "count": count, "groups": groups, "hints": list(hints)}


def _as_text(waiting: Sequence[Waiting], at: datetime) -> Iterable[str]:
    if not waiting:
        yield _("No delivery.")
        return
    head = (
        _("Mailer"),
        _("Domain"),
        _("Status"),
        _("Category"),
        _("Waits"),
        _("Until (UTC)"),
        _("Oldest"),
        _("Deliveries"),
    )
    rows = [head, *(_row(one, at) for one in waiting[:MOST_ROWS])]
    yield from table(rows, right=(7,))
    yield from _rest(waiting)
    total = number_format(sum(one.count for one in waiting))
    yield _("In all: %(count)s.") % {"count": total}


def _row(one: Waiting, at: datetime) -> tuple[str, ...]:
    known = one.category in Category.values
    age = timesince(one.oldest, at, depth=1) if one.oldest <= at else _("not due yet")
    return (
        one.mailer or _("(without a name)"),
        one.domain or "–",
        str(Delivery.Status(one.status).label),
        one.category if known else _("none yet"),
        str(one.wait.label),
        f"{one.until:%Y-%m-%d %H:%M:%S}" if one.until is not None else "–",
        age,
        number_format(one.count),
    )


def _rest(shown: Sequence[Any]) -> Iterable[str]:
    if len(shown) > MOST_ROWS:
        yield _("… and %(count)s more.") % {"count": number_format(len(shown) - MOST_ROWS)}


def _limits() -> list[int]:
    """Return the ages, in minutes."""
    return [int(age.total_seconds()) // _MINUTE for age in AGES]


def _ages_as_json(ages: Sequence[Ages], at: datetime) -> dict[str, Any]:
    names = [*map(str, _limits()), f"{_limits()[-1]}+"]
    domains = [
        {
            "domain": one.domain,
            "count": one.count,
            "minutes": dict(zip(names, one.counts, strict=True)),
            "later": one.later,
        }
        for one in ages
    ]
    return {"at": at.isoformat(), "domains": domains}


def _ages_as_text(ages: Sequence[Ages]) -> Iterable[str]:
    if not ages:
        yield _("No delivery.")
        return
    limits = _limits()
    minutes = [*map(str, limits), f"{limits[-1]}+"]
    rows = [(_("Minutes"), _("All"), *minutes, _("Not due yet"))]
    total = [sum(column) for column in zip(*map(_numbers, ages), strict=True)]
    rows.append((_("All"), *map(number_format, total)))
    rows += [(one.domain or "–", *map(number_format, _numbers(one))) for one in ages[:MOST_ROWS]]
    yield from table(rows, right=range(1, len(rows[0])))
    yield from _rest(ages)


def _numbers(one: Ages) -> tuple[int, ...]:
    return (one.count, *one.counts, one.later)
