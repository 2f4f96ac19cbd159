"""What the pages show: their fenced blocks, each with where it stands."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
)

_FENCE = re.compile(r"^(`{3,}|~{3,})(.*)$")
_DIRECTIVE = re.compile(r"^\{.*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins at, its language and what is in it."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{name_of(self.page)}:{self.line}"


def name_of(page):
    """Return a page's name as people call it: "README.md", "docs/options.md"."""
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Return the fenced blocks of a page, but for Sphinx's directives, in their order."""
    found, opened, lines = [], None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line.strip())
        if opened is None and fence:
            opened, lines = (fence[1], number, fence[2].strip()), []
        elif opened is not None and line.strip() == opened[0]:
            if not _DIRECTIVE.match(opened[2]):
                found.append(Block(page, opened[1], opened[2], "\n".join(lines) + "\n"))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{name_of(page)}: the block that begins at line {opened} has no end"
    return found


ALL = [block for page in PAGES for block in blocks(page)]


def of(*languages):
    """Return all blocks in one of these languages."""
    return [block for block in ALL if block.language in languages]


def script(name):
    """Return a module of the documentation's own, such as ``make_rules``."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
