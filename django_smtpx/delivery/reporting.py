"""Reports on TLS (RFC 8460): made of what was counted, and sent where each domain wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from django_smtpx import ledger
from django_smtpx.addresses import addr_spec
from django_smtpx.delivery.report_mail import ReportMail
from django_smtpx.mx.https import HTTPSError, Request, ask
from django_smtpx.mx.tlsrpt import (
    MEDIA_TYPE,
    BadRecord,
    Report,
    Target,
    parse_record,
    parse_target,
)
from django_smtpx.smtp import SMTPError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from django.core.mail import EmailMessage

    from django_smtpx.models import TLSReport
    from django_smtpx.mx.answers import Answer
    from django_smtpx.mx.tlsrpt import Sender

_TAKEN = range(200, 300)
_MOST_ANSWERED = 64 * 1024


class Names(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``."""

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a report to one place.

    ``unwanted``: the domain has no record, and there is no place. ``before``: it has gone already,
    or is on its way. ``failed``: ``text`` says why.
    """

    target: str
    outcome: Literal["sent", "before", "failed", "unwanted"]
    text: str = ""


def reports(day: date, sender: Sender, domain: str | None = None) -> Iterator[Report]:
    """Yield the reports on ``day``, of all domains or of one, as far as anything was counted."""
    for name in ledger.tls_domains(day):
        if domain in (None, name):
            counted = ledger.tls_counted(day, name)
            yield Report(domain=name, day=day, sender=sender, counted=counted)


class Reporter:
    """Sends reports: by mail through ``mail``, or to a web server whose certificate holds.

    ``mail`` stores or sends a message, and returns how many it took. ``ca_file`` and ``timeout``
    (seconds) are for the web servers.
    """

    def __init__(
        self,
        names: Names,
        mail: Callable[[EmailMessage], int],
        *,
        ca_file: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._names = names
        self._mail = mail
        self._ca_file = ca_file
        self._timeout = timeout

    def send(self, report: Report) -> list[Sent]:
        """Send ``report`` to each place that its domain names, and say what came of it.

        Once to each: what has gone before is not sent again, and what failed may be.
        """
        try:
            uris = parse_record(self._names.txt(f"_smtp._tls.{report.domain}").records)
        except (SMTPError, BadRecord) as error:
            return [Sent("", "failed", str(error))]
        if not uris:
            return [Sent("", "unwanted")]
        return [self._to(uri, report) for uri in uris]

    def _to(self, uri: str, report: Report) -> Sent:
        try:
            target = parse_target(uri)
            address = addr_spec(target.address) if target.address else ""
        except (BadRecord, ValueError) as error:
            return Sent(uri, "failed", str(error))
        row = ledger.begin_tls_report(report.day, report.domain, uri, report.id, ledger.now())
        if row is None:
            return Sent(uri, "before")
        try:
            if address:
                self._write(ReportMail(report, [address]))
            else:
                self._post(target, report)
        except (SMTPError, HTTPSError, _Refused) as error:
            return self._failed(row, uri, str(error))
        except BaseException:
            self._failed(row, uri, "It ended before it was sent.")
            raise
        ledger.end_tls_report(row, ledger.now())
        return Sent(uri, "sent")

    def _failed(self, row: TLSReport, uri: str, text: str) -> Sent:
        ledger.end_tls_report(row, ledger.now(), text)
        return Sent(uri, "failed", text)

    def _write(self, message: ReportMail) -> None:
        if not self._mail(message):
            raise _Refused("The mailer did not take it, and fails silently: see the log")

    def _post(self, target: Target, report: Report) -> None:
        """Hand it to a web server (RFC 8460 section 5.4)."""
        request = Request(
            host=target.host,
            port=target.port,
            path=target.path,
            method="POST",
            headers={"Content-Type": MEDIA_TYPE},
            body=report.compressed(),
        )
        addresses = self._names.addresses(target.host).records
        response = ask(
            request, addresses, ca_file=self._ca_file, timeout=self._timeout, most=_MOST_ANSWERED
        )
        if response.status not in _TAKEN:
            raise _Refused(f"{target.host} answered with the status {response.status}")


class _Refused(Exception):
    """A web server, or the mailer, did not take a report."""
