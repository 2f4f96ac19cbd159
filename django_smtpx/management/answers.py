"""What the commands that change something answer: for a program as JSON, and counts for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.core.management.base import CommandParser


def add_answer_arguments(parser: CommandParser, dry_run: str) -> None:
    """Take ``--dry-run``, which does what its help says, and ``--format``."""
    parser.add_argument("--dry-run", action="store_true", help=dry_run)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def as_json(
    command: str,
    at: datetime,
    *,
    dry_run: bool,
    count: int,
    before: Mapping[str, int],
    after: Mapping[str, int],
    hints: Iterable[str],
    **more: Any,
) -> str:
    """Return the answer for a program: the names here are in that of each command.

    ``count`` is of deliveries, as are ``before`` and ``after``, by status or by what they wait for.
    """
    answer = {
        "command": command,
        "at": at.isoformat(),
        "dry_run": dry_run,
        "count": count,
        "before": {str(key): value for key, value in before.items()},
        "after": {str(key): value for key, value in after.items()},
        **more,
        "hints": list(hints),
    }
    return json.dumps(answer, indent=2)


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> Iterable[str]:
    """Say of each kind that changed how many there were and how many there are."""
    parts = [
        f"{kind} {number_format(before.get(kind, 0))} → {number_format(after.get(kind, 0))}"
        for kind in dict.fromkeys((*before, *after))
        if before.get(kind, 0) != after.get(kind, 0)
    ]
    if parts:
        yield _("Before and after: %(changes)s.") % {"changes": ", ".join(parts)}
