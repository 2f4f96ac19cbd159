"""What a page on moving says: the settings it shows, and the commands, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[3] / "docs" / "moving"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SETTINGS = re.compile(r"# settings\.py, (before|after|at last)\n")


@dataclass(frozen=True)
class Settings:
    """A settings file as the page shows it."""

    which: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and what the page has it print; "" where it shows nothing."""

    line: str
    shown: str


Step = Settings | Command


def steps(page: str, section: str) -> list[Step]:
    """Return what a section of a page has its reader do."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert found, f"{page} has no section {section!r}"
    return list(_steps(found))


def _steps(text: str) -> Iterator[Step]:
    for kind, block in _BLOCK.findall(text):
        if kind == "python":
            begins = _SETTINGS.match(block)
            assert begins, f"No settings file: {block}"
            yield Settings(begins[1], block)
        else:
            for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, shown = one.partition("\n")
                yield Command(line, shown.strip())
