"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.management.base import OutputWrapper

_EVERY = 0.1
_WIDEST = 40


class Progress:
    """Tells ``out`` how many of ``total`` are done; without ``out`` it is silent.

    The total grows where more comes due than there was at the beginning.
    """

    def __init__(
        self,
        out: OutputWrapper | None,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._is_terminal = out is not None and out.isatty()
        self._total = total
        self._clock = clock
        self._done = 0
        self._said = 0
        self._drawn_at = float("-inf")
        if self._is_terminal and total:
            self._draw()

    def advance(self) -> None:
        """Count one outcome."""
        self._done += 1
        self._total = max(self._total, self._done)
        if self._is_terminal and self._clock() - self._drawn_at >= _EVERY:
            self._draw()

    def round_done(self, count: int) -> None:
        """Say a plain line where there is no bar, after a drain that brought something."""
        if not self._is_terminal and self._done > self._said:
            self._said = self._done
            self._write(_("%(done)d of %(total)d") % self._values(), "\n")

    def end(self) -> None:
        """Leave the bar as it ends, and go to a new line."""
        if self._is_terminal and self._total:
            self._draw()
            self._write("", "\n")

    def _draw(self) -> None:
        self._drawn_at = self._clock()
        text = _("%(done)d of %(total)d") % self._values()
        width = min(_WIDEST, shutil.get_terminal_size().columns - len(text) - 4)
        bar = ""
        if width > 0:
            filled = width * self._done // self._total
            bar = f"[{'#' * filled}{'.' * (width - filled)}] "
        self._write(f"\r{bar}{text}", "")

    def _values(self) -> dict[str, int]:
        return {"done": self._done, "total": self._total}

    def _write(self, text: str, ending: str) -> None:
        if self._out is not None:
            self._out.write(text, style_func=str, ending=ending)
            self._out.flush()
