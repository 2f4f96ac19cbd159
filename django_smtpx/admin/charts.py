"""Counts over time as bars, in whole numbers for an SVG, and as a table of the same; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx.models import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Outcome = Attempt.Outcome

STEP, WIDTH, HEIGHT = 10, 8, 40
"""From bar to bar, of a bar, and of the highest one, in units of the drawing."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """An hour or a day: its name, and how many attempts had which outcome.

    ``urls`` lead to the deliveries, by outcome.
    """

    name: str
    counts: Mapping[str, int]
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, by its place from the upper left corner, and what it says."""

    x: str
    y: str
    height: str
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """The bars of one outcome, to a scale of their own: a few failures are not to be overlooked."""

    outcome: str
    label: str
    total: str
    most: str
    bars: tuple[Bar, ...]
    url: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of the table, and where it leads."""

    number: str
    url: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars and table; ``marks`` stand along the time axis, from its beginning to its end."""

    name: str
    title: str
    column: str
    size: str
    series: tuple[Series, ...]
    marks: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    empty: bool


def chart(
    name: str,
    title: str,
    column: str,
    stretches: Sequence[Stretch],
    url_of: Callable[[str], str],
) -> Chart:
    """Draw ``stretches``, the oldest first; ``url_of`` an outcome leads to the list of those."""
    series = tuple(_series(outcome, stretches, url_of(outcome.value)) for outcome in Outcome)
    # What happened last is read first.
    rows = tuple((each.name, tuple(_cells(each))) for each in reversed(stretches))
    marks = (stretches[0].name, stretches[len(stretches) // 2].name, stretches[-1].name)
    return Chart(
        name=name,
        title=title,
        column=column,
        size=f"0 0 {len(stretches) * STEP} {HEIGHT}",
        series=series,
        marks=marks,
        rows=rows,
        empty=not any(each.bars for each in series),
    )


def _series(outcome: Outcome, stretches: Sequence[Stretch], url: str) -> Series:
    counts = [each.counts.get(outcome.value, 0) for each in stretches]
    most = max(counts)
    bars = tuple(
        _bar(place, count, most, _("%(time)s: %(count)s") % _words(each.name, count))
        for place, (each, count) in enumerate(zip(stretches, counts, strict=True))
        if count
    )
    return Series(
        outcome=outcome.value,
        label=str(outcome.label),
        total=number_format(sum(counts)),
        most=number_format(most) if most else "",
        bars=bars,
        url=url,
    )


def _bar(place: int, count: int, most: int, words: str) -> Bar:
    # Upwards, so that the smallest count is seen. As text: a template would set thousands apart.
    height = -(-count * HEIGHT // most)
    return Bar(x=str(place * STEP + 1), y=str(HEIGHT - height), height=str(height), words=words)


def _words(name: str, count: int) -> dict[str, str]:
    return {"time": name, "count": number_format(count)}


def _cells(stretch: Stretch) -> list[Cell]:
    counts = [(outcome.value, stretch.counts.get(outcome.value, 0)) for outcome in Outcome]
    return [Cell(number_format(n), stretch.urls[outcome] if n else "") for outcome, n in counts]
