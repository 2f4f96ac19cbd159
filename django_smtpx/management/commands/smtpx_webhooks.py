"""``manage.py smtpx_webhooks``: how webhooks do; enable, disable, and tell them once more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import ledger, tasks
from django_smtpx.config import webhook_errors, webhooks
from django_smtpx.management.table import table
from django_smtpx.pacing import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Lists them, or does something with one."""

    help = _("Show how webhooks do, enable or disable one, or tell one once more.")
    # What is wrong with one webhook does not keep another from being enabled.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do, and with which."""
        steps = parser.add_subparsers(dest="step", metavar="STEP")
        show = steps.add_parser("list", help=_("Show each, and what waits for it (the default)."))
        show.add_argument("--format", choices=("table", "json"), default="table")
        enable = steps.add_parser("enable", help=_("Post events to it again, those that wait too."))
        disable = steps.add_parser("disable", help=_("Post it nothing: events wait."))
        disable.add_argument("--reason", default="", help=_("For whoever wonders."))
        replay = steps.add_parser("replay", help=_("Tell it once more what it was told."))
        replay.add_argument(
            "--last", metavar="TIME", help=_("What happened in the last 90s, 15m, 2h, 3d.")
        )
        replay.add_argument(
            "--given-up", action="store_true", help=_("Only what was given up, whenever it was.")
        )
        for step in (enable, disable, replay):
            step.add_argument("name", help=_("The webhook's name."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what came of it."""
        at, step = ledger.now(), options["step"] or "list"
        if step == "list":
            self._list(options.get("format") or "table")
            return
        name = _known(options["name"])
        values: dict[str, object] = {"name": repr(name)}
        if step == "enable":
            values["count"] = number_format(ledger.enable_webhook(name, at))
            said = _("Webhook %(name)s is enabled. Events that wait: %(count)s.")
        elif step == "disable":
            ledger.disable_webhook(name, at, options["reason"] or "smtpx_webhooks disable")
            said = _("Webhook %(name)s is disabled: what happens is stored, and waits.")
        else:
            values["count"] = number_format(_replay(name, at, options))
            said = _("Webhook %(name)s: %(count)s events are told once more.")
        if step != "disable":
            tasks.wake_webhook(name)
        self.stdout.write(said % values)

    def _list(self, form: str) -> None:
        rows = list(_rows())
        if form == "json":
            self.stdout.write(json.dumps(rows, indent=2))
        elif not rows:
            self.stdout.write(_("No webhook is configured."))
        else:
            head = (_("Webhook"), _("Address"), _("State"), _("Waiting"), _("Latest error"))
            cells = [
                (row["name"], row["where"], row["state"], str(row["waiting"]), row["error"])
                for row in rows
            ]
            for line in table([head, *cells], right={3}):
                self.stdout.write(line)
        for error in webhook_errors().values():
            self.stderr.write(error)


def _rows() -> Iterator[dict[str, Any]]:
    for name, endpoint in sorted(webhooks().items()):
        standing = ledger.standing(name)
        state = "disabled" if standing.disabled_at else "failing" if standing.failures else "ok"
        since = standing.disabled_at or standing.failing_since
        yield {
            "name": name,
            "where": endpoint.where,
            "state": state,
            "since": since.isoformat() if since else None,
            "waiting": ledger.waiting_events(name),
            "error": standing.error,
        }


def _known(name: str) -> str:
    if name not in webhooks():
        known = ", ".join(map(repr, sorted(webhooks()))) or _("none")
        text = _("There is no webhook %(name)s. Configured: %(known)s.")
        raise CommandError(text % {"name": repr(name), "known": known})
    return name


def _replay(name: str, at: datetime, options: dict[str, Any]) -> int:
    if options["last"] is None and not options["given_up"]:
        raise CommandError(_("Say which: --last TIME, --given-up, or both."))
    try:
        since = None if options["last"] is None else at - duration(options["last"])
    except ValueError as error:
        raise CommandError(f"--last: {error}") from error
    return ledger.replay_events(name, at, since=since, given_up=options["given_up"])
