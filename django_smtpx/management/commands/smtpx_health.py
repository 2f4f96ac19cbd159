"""``manage.py smtpx_health``: is mail flowing? The exit code says it, and needs no worker."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from django_smtpx import ledger
from django_smtpx.health import LATE, Finding, findings, flows
from django_smtpx.language import in_language, recorded_reason
from django_smtpx.pacing import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser


_MOST_REASON = 200
"""Characters of it that are shown."""


class Command(BaseCommand):
    """Looks, prints, and writes nothing."""

    help = _("Say whether mail flows, and what keeps it from that. Exit code 0: it flows; 1: not.")
    # What is wrong with a mailer is one of the things that it says.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what counts as late, and how it is to be shown."""
        parser.add_argument(
            "--late",
            metavar="TIME",
            help=_("For so long what is due may wait: 90s, 15m, 2h (default: 5m)."),
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and fail where something keeps mail from being sent."""
        late = LATE
        if options["late"] is not None:
            try:
                late = duration(options["late"])
            except ValueError as error:
                raise CommandError(f"--late: {error}", returncode=2) from error
        at = ledger.now()
        found = findings(at, late=late)
        if options["format"] == "json":
            self.stdout.write(json.dumps(_as_json(found), indent=2))
        else:
            for line in _lines(found, at):
                self.stdout.write(line)
        if not flows(found):
            raise CommandError(_("Mail does not flow."), returncode=1)
        if options["format"] == "text":
            self.stdout.write(self.style.SUCCESS(_("Mail flows.")))


def _as_json(found: list[Finding]) -> dict[str, Any]:
    return {
        "status": "ok" if flows(found) else "failing",
        "findings": [
            {
                name: value.isoformat() if name in ("since", "until") and value else value
                for name, value in asdict(replace(one, reason=one.reason[:_MOST_REASON])).items()
            }
            for one in found
        ],
    }


def _lines(found: list[Finding], at: datetime) -> Iterator[str]:
    for one in found:
        label = _("FAILS") if one.failing else _("warning")
        yield f"{label}: {one.trouble.label}{_details(one, at)}"


def _details(one: Finding, at: datetime) -> str:
    parts = [repr(name) for name in (one.mailer, one.webhook) if name]
    if one.count:
        number = number_format(one.count)
        parts.append(_("more than %(count)s") % {"count": number} if one.more else number)
    if one.since is not None:
        parts.append(_("for %(time)s") % {"time": timesince(one.since, at, depth=1)})
    if one.until is not None:
        parts.append(_("until %(time)s") % {"time": one.until.isoformat(timespec="seconds")})
    if one.reason:
        reason = recorded_reason(in_language(one.reason))
        parts.append(" ".join(reason[:_MOST_REASON].split()))
    return f" ({', '.join(parts)})" if parts else ""
