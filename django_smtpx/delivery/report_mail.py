"""A report on TLS as a mail (RFC 8460 section 5.3)."""

from __future__ import annotations

import email.message
import email.policy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.mx.tlsrpt import Report

_TEXT = """\
This is an aggregate report on TLS (RFC 8460) about sessions with the mail
servers of {domain} on {day}, in UTC, from {organization}.

Sessions as each policy asks for them: {good}
Sessions that failed:                  {bad}

The attachment is JSON, compressed with gzip. Questions: {contact}
"""


class ReportMail(EmailMessage):
    """The mail of ``report`` to ``addresses``, which says that it may go without TLS.

    It is stored once a day, domain and set of addresses, and comes from the sender's contact.
    """

    def __init__(self, report: Report, addresses: Sequence[str]) -> None:
        sender = report.sender
        headers = {
            "TLS-Report-Domain": report.domain,
            "TLS-Report-Submitter": sender.domain,
            # It may tell of just what would keep it from arriving (section 3), and a session for
            # it is not counted, so that no report is the reason of another one.
            "TLS-Required": "No",
            "Auto-Submitted": "auto-generated",
        }
        super().__init__(
            subject=(
                f"Report Domain: {report.domain} Submitter: {sender.domain} "
                f"Report-ID: <{report.id}>"
            ),
            from_email=sender.contact,
            to=list(addresses),
            headers=headers,
        )
        self.report = report
        self.envelope_sender = sender.contact
        told_by = "\n".join([report.id, *sorted(addresses)])
        self.idempotency_key = f"tlsrpt-{sha256(told_by.encode()).hexdigest()}"
        self.tags = ["tlsrpt"]

    def message(self, *, policy: Any = None) -> Any:
        """Return the mail: a ``multipart/report``, which Django has no words for."""
        report = self.report
        made = email.message.EmailMessage(policy=policy or email.policy.SMTP)
        made["Subject"] = self.subject
        made["From"] = self.from_email
        made["To"] = ", ".join(self.to)
        for name, value in self.extra_headers.items():
            made[name] = value
        made.set_content(
            _TEXT.format(
                domain=report.domain,
                day=report.day,
                organization=report.sender.organization,
                good=report.sessions(failed=False),
                bad=report.sessions(failed=True),
                contact=report.sender.contact,
            )
        )
        made.add_attachment(
            report.compressed(),
            maintype="application",
            subtype="tlsrpt+gzip",
            filename=f"{report.file_name}.gz",
        )
        made.set_type("multipart/report")
        made.set_param("report-type", "tlsrpt")
        return made
