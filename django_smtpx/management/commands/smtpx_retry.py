"""``manage.py smtpx_retry``: send deliveries again now, or settle those in doubt as arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_smtpx.ledger import Step
from django_smtpx.management.steering import SteeringCommand

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SteeringCommand):
    """Makes deliveries due now, and says how many, and which it left alone and why."""

    help = _(
        "Send deliveries again now: deferred, parked, failed and cancelled ones; those of unknown "
        "outcome with --status unknown. Their age and schedule start anew. All filters given must "
        "hold, and one at least is needed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the filters, ``--dry-run`` and ``--arrived``."""
        super().add_arguments(parser)
        parser.add_argument(
            "--arrived",
            action="store_true",
            help=_(
                "Instead of sending: settle deliveries of unknown outcome as sent, since you know "
                "that they arrived."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and print what came of it."""
        self.run(Step.ARRIVED if options["arrived"] else Step.RETRY, options)
