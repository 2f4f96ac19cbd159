"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from io import StringIO

from django.core.management.base import OutputWrapper

from django_smtpx.management.progress import Progress


class Terminal(StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self):
        """Say so."""
        return True


def test_lines():
    """Without a terminal there is a line for each drain that brought something."""
    out = StringIO()
    progress = Progress(OutputWrapper(out), 4)
    progress.round_done(0)
    progress.advance()
    progress.advance()
    progress.round_done(2)
    progress.round_done(0)
    progress.advance()
    progress.round_done(1)
    progress.end()
    assert out.getvalue() == "2 of 4\n3 of 4\n"


def test_bar_is_not_drawn_too_often(monkeypatch):
    """A bar that is redrawn for every mail would be slower than the mail."""
    monkeypatch.setenv("COLUMNS", "30")
    times = iter([0.0, 0.01, 0.2, 0.2, 0.25, 9.0])
    out = Terminal()
    progress = Progress(OutputWrapper(out), 4, clock=lambda: next(times))
    for _ in range(3):
        progress.advance()
    progress.end()
    bars = ["[....................] 0 of 4", "[##########..........] 2 of 4"]
    bars.append("[###############.....] 3 of 4")
    assert out.getvalue() == "".join(f"\r{bar}" for bar in bars) + "\n"


def test_narrow_terminal(monkeypatch):
    """Where there is no room for a bar the numbers alone are shown."""
    monkeypatch.setenv("COLUMNS", "8")
    out = Terminal()
    Progress(OutputWrapper(out), 4).end()
    assert out.getvalue() == "\r0 of 4\r0 of 4\n"


def test_more_than_expected():
    """What comes due on the way makes the whole larger, not the part larger than it."""
    out = StringIO()
    progress = Progress(OutputWrapper(out), 1)
    for _ in range(3):
        progress.advance()
    progress.round_done(3)
    assert out.getvalue() == "3 of 3\n"


def test_silent():
    """Without a stream there is nothing to see, and nothing to do."""
    progress = Progress(None, 1)
    progress.advance()
    progress.round_done(1)
    progress.end()
