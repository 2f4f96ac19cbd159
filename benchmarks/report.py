"""What all commands share: their arguments, and figures as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn

from benchmarks.processes import ClientFailed, NotThere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FEW_RUNS = 5
"""With fewer runs than this a median says little."""
DIGITS = 3
"""Significant digits of a figure in a table."""


class Report:
    """Figures of several runs, by row and column, and the ratios that are the goals.

    A run of the same row and column adds one figure to those of the runs
    before it.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self.options = {key: value for key, value in vars(options).items() if key != "json"}
        self._figures: dict[str, dict[str, list[float]]] = {}
        self._ratios: dict[str, list[float]] = {}
        self._goals: dict[str, tuple[str, float]] = {}

    def add(self, row: str, column: str, value: float) -> None:
        """Note a figure of one run."""
        self._figures.setdefault(row, {}).setdefault(column, []).append(value)

    def add_all(self, row: str, figures: Mapping[str, float]) -> None:
        """Note the figures of one run, by column."""
        for column, value in figures.items():
            self.add(row, column, value)

    def latest(self, row: str, column: str) -> float:
        """Return the figure of the run that is going on."""
        return self._figures[row][column][-1]

    def goal(self, name: str, value: float, comparison: str, limit: float) -> None:
        """Note what one run makes of a goal; ``comparison`` is ">=" or "<="."""
        self._ratios.setdefault(name, []).append(value)
        self._goals[name] = comparison, limit

    def as_json(self) -> dict[str, object]:
        """Return all of it as what JSON can hold."""
        return {
            "benchmark": self.name,
            "options": self.options,
            "machine": machine(),
            "figures": {
                row: {column: _spread(values) for column, values in columns.items()}
                for row, columns in self._figures.items()
            },
            "goals": {
                name: _spread(values)
                | {"goal": "{} {:g}".format(*self._goals[name]), "met": self._met(name)}
                for name, values in self._ratios.items()
            },
        }

    def as_text(self) -> str:
        """Return tables of the medians."""
        columns = list(dict.fromkeys(name for row in self._figures.values() for name in row))
        figures = [["", *columns]]
        for row, values in self._figures.items():
            cells = (_number(statistics.median(values[c])) if c in values else "" for c in columns)
            figures.append([row, *cells])
        goals = [["goal", "median", "least", "most", "wanted", ""]]
        for name, ratios in self._ratios.items():
            shown = (statistics.median(ratios), min(ratios), max(ratios))
            wanted = "{} {:g}".format(*self._goals[name])
            met = "met" if self._met(name) else "missed"
            goals.append([name, *map(_number, shown), wanted, met])
        runs = max(len(values) for row in self._figures.values() for values in row.values())
        lines = [f"{self.name}, medians of {runs} runs; {machine_line()}"]
        if runs < FEW_RUNS:
            lines.append(f"Fewer than {FEW_RUNS} runs: these figures say little.")
        # Where only some is measured there is nothing to compare it with.
        compared = ["", *_table(goals)] if self._ratios else []
        return "\n".join([*lines, "", *_table(figures), *compared])

    def _met(self, name: str) -> bool:
        comparison, limit = self._goals[name]
        median = statistics.median(self._ratios[name])
        return median >= limit if comparison == ">=" else median <= limit


def arguments(description: str | None, *, messages: int) -> argparse.ArgumentParser:
    """Return a parser with what all commands know; ``messages`` is the default."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--runs", type=positive, default=FEW_RUNS, help="default: %(default)s")
    parser.add_argument(
        "--messages",
        type=positive,
        default=messages,
        help="that each client sends in a run; default: %(default)s",
    )
    parser.add_argument(
        "--one-cpu",
        action="store_true",
        help="put all processes on one CPU: steadier where waking another one is dear (a VM)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    return parser


def positive(text: str) -> int:
    """Return a number of which there must be one at least."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main(measure: Callable[[argparse.Namespace], Report], parser: argparse.ArgumentParser) -> None:
    """Measure as the command line says, and print the report.

    It exits with 2 when a part is missing, and with 1 when a client failed.
    """
    options = parser.parse_args()
    # What was started is stopped when this is.
    signal.signal(signal.SIGTERM, _stop)
    if options.one_cpu:
        # What is started inherits it.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        report = measure(options)
    except NotThere as reason:
        parser.exit(2, f"{reason}\n")
    except ClientFailed as failure:
        parser.exit(1, f"{failure}\n")
    text = json.dumps(report.as_json(), indent=2) if options.json else report.as_text()
    sys.stdout.write(text + "\n")


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "django-smtpx": _version("django-smtpx"),
        "aiosmtplib": _version("aiosmtplib"),
    }


def machine_line() -> str:
    """Return the same as one line."""
    facts = machine()
    return f"Python {facts.pop('python')}, {facts.pop('system')}, " + ", ".join(
        f"{name} {version}" for name, version in facts.items() if version
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _spread(values: Sequence[float]) -> dict[str, object]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "runs": list(values),
    }


def _number(value: float) -> str:
    if abs(value) >= 10 ** (DIGITS - 1):
        return f"{value:,.0f}"
    return f"{value:.{DIGITS}g}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _stop(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)
