"""``manage.py smtpx_check``: what stands between a mailer and a mail that arrives, step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_smtpx.config import mailer_errors, mailers
from django_smtpx.diagnosis import Diagnosis, diagnose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.core.management.base import CommandParser

    from django_smtpx.diagnosis import Step

_TITLES = {"dns": "DNS", "tcp": "TCP", "tls": "TLS mode", "ehlo": "EHLO", "auth": "AUTH"}
_WIDTH = 13
_INDENT = " " * (_WIDTH + 11)


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
                for diagnosis in diagnose(name, to, send=send):
                    found.append(diagnosis)
                    if options["format"] == "text":
                        self._print(diagnosis)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(_as_json(found), indent=2))
        failed = [(one, step) for one in found for step in one.failed]
        if failed:
            raise CommandError(_("Failed: %(steps)s") % {"steps": "; ".join(_named(failed))})

    def _print(self, diagnosis: Diagnosis) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(_place(diagnosis)))
        for step in diagnosis.steps:
            for line in self._lines(step):
                self.stdout.write(line)

    def _lines(self, step: Step) -> Iterator[str]:
        words = {True: (_("ok"), "SUCCESS"), False: (_("FAILS"), "ERROR"), None: ("–", "NOTICE")}
        word, style = words[step.ok]
        said = "; ".join(f"{key} {_value(value)}" for key, value in step.evidence.items())
        head = f"  {word:<5}  {_title(step):<{_WIDTH}}  {said}".rstrip()
        yield getattr(self.style, style)(head) if step.ok is False else head
        if step.cause:
            label = _("note") if step.ok else _("cause")
            yield f"{_INDENT}{label}: {_one_line(step.cause)}"
        if step.mend:
            yield f"{_INDENT}{_('mend')}: {_one_line(step.mend)}"


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
        yield f"{diagnosis.mailer}{host}, {_title(step)}"


def _title(step: Step) -> str:
    return _TITLES.get(step.name, step.name)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return _one_line(", ".join(map(str, value))) or "–"
    return _one_line("–" if value in ("", None) else str(value))


def _one_line(text: str) -> str:
    return " ".join(text.split())
