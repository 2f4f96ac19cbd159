"""``manage.py smtpx_purge``: apply the retention now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_smtpx import delivery


class Command(BaseCommand):
    """Deletes old contents, and later the rows, of settled messages, and says how many."""

    help = _(
        "Delete the content of messages that have been settled for SMTPX_CONTENT_RETENTION, and "
        "all that is known of those that have been settled for SMTPX_LOG_RETENTION."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Apply the retention, and print what went."""
        contents, messages = delivery.purge()
        if options["verbosity"] > 0:
            self.stdout.write(_contents(contents))
            self.stdout.write(_messages(messages))


def _contents(count: int) -> str:
    text = ngettext("%(count)s content deleted.", "%(count)s contents deleted.", count)
    return text % {"count": number_format(count)}


def _messages(count: int) -> str:
    text = ngettext(
        "%(count)s message deleted from the log.", "%(count)s messages deleted from the log.", count
    )
    return text % {"count": number_format(count)}
