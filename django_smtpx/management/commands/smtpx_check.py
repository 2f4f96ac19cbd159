"""``manage.py smtpx_check``: what stands between a mailer and a mail that arrives, step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_smtpx.config import mailer_errors, mailers
from django_smtpx.diagnosis import Diagnosis, diagnose
from django_smtpx.language import in_language
from django_smtpx.smtp.diagnosis import text
from django_smtpx.smtp.diagnosis.text import Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.core.management.base import CommandParser

    from django_smtpx.diagnosis import Step


class Command(BaseCommand):
    """Connects as a delivery would, and writes nothing to the database but policies of domains."""

    help = _(
        "Diagnose a mailer, or all of them: one line a step with what was seen, and where it fails "
        "why, and what to do. Nothing is sent, unless --send."
    )
    # It says itself what is wrong with a mailer.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the mailer, the recipient, and how it is to be shown."""
        parser.add_argument("mailer", nargs="?", help=_("The mailer's name (default: all)."))
        parser.add_argument(
            "--to",
            default="",
            metavar="ADDR",
            help=_("Ask the server whether it takes mail from DEFAULT_FROM_EMAIL to this address."),
        )
        parser.add_argument(
            "--address",
            default="",
            metavar="IP",
            help=_(
                "The address that others see mail come from, where this machine is behind a "
                "translation (NAT); for mailers that go straight to the recipients' servers."
            ),
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.add_argument("--send", action="store_true", help=_("Send a small test mail there."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and fail where a step does."""
        to, send = options["to"], options["send"]
        if send and not to:
            raise CommandError(_("--send needs --to: the address that the test mail goes to."))
        try:
            given = options["mailer"]
            names = [given] if given is not None else sorted({*mailers(), *mailer_errors()})
            if not names:
                raise CommandError(_("No mailer of django_smtpx is configured."))
            found = []
            for name in names:
                for diagnosis in diagnose(name, to, send=send, address=options["address"]):
                    found.append(diagnosis)
                    if options["format"] == "text":
                        self._print(diagnosis)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(in_language(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(_as_json(found), indent=2))
        failed = [(one, step) for one in found for step in one.failed]
        if failed:
            raise CommandError(_("Failed: %(steps)s") % {"steps": "; ".join(_named(failed))})

    def _print(self, diagnosis: Diagnosis) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(_place(diagnosis)))
        words = Words(_("ok"), _("FAILS"), _("note"), _("cause"), _("mend"), in_language)
        for step in diagnosis.steps:
            head, *more = text.lines(step, words)
            self.stdout.write(self.style.ERROR(head) if step.ok is False else head)
            for line in more:
                self.stdout.write(line)


def _as_json(found: Iterable[Diagnosis]) -> dict[str, Any]:
    diagnoses = [one.as_dict() for one in found]
    return {"ok": all(one["ok"] for one in diagnoses), "diagnoses": diagnoses}


def _place(diagnosis: Diagnosis) -> str:
    if not diagnosis.host:
        return _("Mailer %(name)s") % {"name": repr(diagnosis.mailer)}
    return _("Mailer %(name)s: %(host)s port %(port)s") % {
        "name": repr(diagnosis.mailer),
        "host": diagnosis.host,
        "port": diagnosis.port,
    }


def _named(failed: Iterable[tuple[Diagnosis, Step]]) -> Iterator[str]:
    for diagnosis, step in failed:
        host = f" ({diagnosis.host})" if diagnosis.host else ""
        yield f"{diagnosis.mailer}{host}, {text.title(step)}"
