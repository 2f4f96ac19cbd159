"""What the demonstration prints: lines, tables and a progress bar."""

from __future__ import annotations

import shutil
import sys
import time


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print a table; numbers to the right."""
    cells = [head, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    cells.insert(1, tuple("-" * width for width in widths))
    for row in cells:
        line = (
            cell.rjust(width) if cell.isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        say("  " + "  ".join(line).rstrip())


class Bar:
    """A progress bar; where there is no terminal, a line every two seconds."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self._tty = sys.stdout.isatty()
        self._began = time.monotonic()
        self._said_at = float("-inf")
        self._said = ""

    def show(self, done: int, note: str = "") -> None:
        """Show that ``done`` of the total is done."""
        now = time.monotonic()
        if not self._tty:
            line = f"{self.title} {done}/{self.total}  {note}".rstrip()
            if line != self._said and (now - self._said_at >= 2 or done == self.total):
                self._said_at, self._said = now, line
                say(line)
            return
        filled = 30 * done // self.total if self.total else 30
        line = f"{self.title} [{'#' * filled:.<30}] {done}/{self.total}  {note}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width]:<{width}}", end="", flush=True)

    def end(self) -> None:
        """Go on below the bar."""
        if self._tty:
            say()
