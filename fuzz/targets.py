"""The targets by name, and the inputs that are kept for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import login, play, reports, values

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
"""Dialogues to begin with."""
REGRESSIONS = HERE / "regressions"
"""What was found, and must not come back."""

TARGETS: dict[str, Callable[[bytes], None]] = {
    "parser": values.replies,
    "capabilities": values.capabilities,
    "sasl": login.login,
    "redaction": values.secrets,
    "protocol": play.protocol,
    "content": values.contents,
    "bounces": reports.reports,
}


def kept(target: str) -> list[Path]:
    """Return the files of a target's seeds and regressions."""
    folders = (CORPUS / target, REGRESSIONS / target)
    return sorted(path for folder in folders for path in folder.glob("*"))
