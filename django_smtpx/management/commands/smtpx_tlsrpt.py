"""``manage.py smtpx_tlsrpt``: tell domains how sessions with their servers went (RFC 8460)."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger
from django_smtpx.addresses import a_labels, addr_spec
from django_smtpx.backend import EmailBackend
from django_smtpx.config import DEFAULT, Mailer, mailers, tls_reporter
from django_smtpx.delivery.reporting import Reporter, Sent, reports
from django_smtpx.management.steering import known_mailer
from django_smtpx.mx.dns import Resolver, ResolverOptions
from django_smtpx.mx.tlsrpt import Report, Sender

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.mail import EmailMessage
    from django.core.management.base import CommandParser

STDOUT = "-"
_NOBODY = ("localhost", "")


class Command(BaseCommand):
    """Makes the reports on one day, and sends them, or only writes them down."""

    help = _(
        "Report to each domain that wants it how sessions with its mail servers went on a day: to "
        "how many TLS was as its policy asks, and how the others failed (RFC 8460). Each report is "
        "sent once, however often this is run."
    )
    # What is wrong with one mailer does not keep the reports of another from being sent.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the day, the domain, who reports, and where to."""
        parser.add_argument(
            "--date",
            metavar="YYYY-MM-DD",
            help=_("The day to report on, in UTC: by default, yesterday."),
        )
        parser.add_argument("--domain", help=_("Report to this domain alone."))
        parser.add_argument(
            "--mailer",
            help=_(
                "The mailer that reports by mail go through: by default, the first one with "
                "transport='mx'."
            ),
        )
        parser.add_argument(
            "--organization", help=_("Who reports: by default, SMTPX_TLSRPT_ORGANIZATION.")
        )
        parser.add_argument(
            "--contact",
            metavar="ADDRESS",
            help=_("Where reports come from, and questions go: by default, SMTPX_TLSRPT_CONTACT."),
        )
        parser.add_argument(
            "--export",
            metavar="DIRECTORY",
            help=_("Send nothing: write the reports there as JSON, or, with -, to the output."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the reports, and send or write them."""
        day = _day(options["date"])
        sender = _sender(options)
        found = reports(day, sender, _domain(options["domain"]))
        if options["export"] is not None:
            self._export(found, options["export"], quiet=options["verbosity"] == 0)
            return
        if sender.domain in _NOBODY:
            raise CommandError(
                _(
                    "Reports come from %(contact)s, which nobody can answer: set "
                    "SMTPX_TLSRPT_CONTACT, or give --contact."
                )
                % {"contact": sender.contact}
            )
        known_mailer(options["mailer"])
        self._send(found, _mailer(options["mailer"]), quiet=options["verbosity"] == 0)

    def _send(self, found: Iterable[Report], mailer: Mailer, *, quiet: bool) -> None:
        reporter = self._reporter(mailer)
        failed = count = 0
        for count, report in enumerate(found, start=1):  # noqa: B007 (counted)
            outcomes = reporter.send(report)
            failed += sum(one.outcome == "failed" for one in outcomes)
            if not quiet:
                self.stdout.write(_summary(report))
                for one in outcomes:
                    self.stdout.write(f"  {_said(one)}")
        if not count and not quiet:
            self.stdout.write(_("Nothing was counted on that day."))
        if failed:
            raise CommandError(
                _("%(count)s not sent. Run it again to try once more.")
                % {"count": number_format(failed)}
            )

    def _reporter(self, mailer: Mailer) -> Reporter:
        backend = EmailBackend(mailer=mailer.name)

        def mail(message: EmailMessage) -> int:
            return backend.send_messages([message])

        return Reporter(Resolver(_resolver_options(mailer)), mail)

    def _export(self, found: Iterable[Report], place: str, *, quiet: bool) -> None:
        if place == STDOUT:
            every = [report.as_dict() for report in found]
            self.stdout.write(json.dumps(every, ensure_ascii=False, indent=2))
            return
        directory = Path(place)
        directory.mkdir(parents=True, exist_ok=True)
        for report in found:
            path = directory / report.file_name
            text = json.dumps(report.as_dict(), ensure_ascii=False, indent=2)
            path.write_text(f"{text}\n", encoding="utf-8")
            if not quiet:
                self.stdout.write(str(path))


def _day(text: str | None) -> date:
    """Return the day that is meant; one that is not over yet cannot be reported on."""
    today = ledger.now().date()
    if text is None:
        return today - timedelta(days=1)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(_("--date: %(error)s") % {"error": error}) from error
    if day >= today:
        raise CommandError(_("--date: %(day)s is not over yet, in UTC.") % {"day": day})
    return day


def _domain(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return a_labels(text).lower()
    except ValueError as error:
        raise CommandError(str(error)) from error


def _sender(options: dict[str, Any]) -> Sender:
    try:
        organization, contact = tls_reporter()
        if options["contact"]:
            contact = addr_spec(options["contact"])
    except (ImproperlyConfigured, ValueError) as error:
        raise CommandError(str(error)) from error
    domain = contact.rpartition("@")[2].lower()
    return Sender(
        organization=options["organization"] or organization, contact=contact, domain=domain
    )


def _mailer(name: str | None) -> Mailer:
    """Return the mailer to send through: one that goes straight to domains knows their servers."""
    known = mailers()
    if name is not None:
        return known[name]
    straight = [mailer for mailer in known.values() if mailer.transport == "mx"]
    chosen = straight[0] if straight else known.get(DEFAULT)
    if chosen is None:
        raise CommandError(_("Say which mailer reports go through: --mailer."))
    return chosen


def _resolver_options(mailer: Mailer) -> ResolverOptions:
    return ResolverOptions() if mailer.mx is None else mailer.mx.resolver


def _summary(report: Report) -> str:
    values = {
        "domain": report.domain,
        "good": number_format(report.sessions(failed=False)),
        "bad": number_format(report.sessions(failed=True)),
    }
    return _("%(domain)s: %(good)s sessions as wanted, %(bad)s failed.") % values


def _said(one: Sent) -> str:
    words = {
        "sent": _("sent to %(target)s"),
        "before": _("sent to %(target)s before"),
        "failed": _("not sent to %(target)s: %(text)s") if one.target else _("not sent: %(text)s"),
        "unwanted": _("it wants no reports"),
    }
    return words[one.outcome] % {"target": one.target, "text": one.text}
