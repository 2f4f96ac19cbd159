"""What came of a run, by outcome and category, as the signals tell it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from django.db import connections
from django.db.models import Max

from django_smtpx import ledger, signals
from django_smtpx.models import Attempt, Category, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_SIGNALS = (
    signals.delivery_sent,
    signals.delivery_deferred,
    signals.delivery_failed,
    signals.delivery_unknown,
)


class Tally:
    """Counts the outcomes of this thread while it is entered, each once it is committed.

    ``count`` is called for each, and ``line`` with the delivery and its attempt (None where it
    had expired before one). Inside a caller's transaction nobody is told of anything before its
    end: there the attempts of ``mailers`` that have been written since are counted on leaving.
    """

    def __init__(
        self,
        mailers: Sequence[str],
        count: Callable[[], None],
        line: Callable[[Delivery, Attempt | None], None] | None = None,
    ) -> None:
        self._mailers = mailers
        self._count = count
        self._line = line
        # For a line a row has to be read; to count takes none.
        self._lines = _SIGNALS if line is not None else ()
        self._thread = threading.get_ident()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._untold_after: int | None = None

    def __enter__(self) -> Self:
        using = ledger.database()
        if connections[using].in_atomic_block:
            self._untold_after = Attempt.objects.using(using).aggregate(last=Max("pk"))["last"] or 0
        signals.outcomes_counted.connect(self._receive, sender=Delivery)
        for signal in self._lines:
            signal.connect(self._tell, sender=Delivery)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signals.outcomes_counted.disconnect(self._receive, sender=Delivery)
        for signal in self._lines:
            signal.disconnect(self._tell, sender=Delivery)
        if self._untold_after is not None:
            new = Attempt.objects.using(ledger.database()).filter(
                pk__gt=self._untold_after, delivery__mailer__in=self._mailers
            )
            for outcome, category in new.values_list("outcome", "delivery__category"):
                self._add(outcome, category)

    def rows(self) -> list[tuple[str, str, int]]:
        """Return outcome, category in words, and count; in the order of the outcomes."""
        order, known = Attempt.Outcome.values, dict(Category.choices)
        found = [
            (outcome, str(known.get(category, category)), number)
            for (outcome, category), number in self._counts.items()
        ]
        return sorted(found, key=lambda row: (order.index(row[0]), -row[2], row[1]))

    def _receive(self, *, outcomes: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        if threading.get_ident() == self._thread:
            for outcome, category in outcomes:
                self._add(outcome, category)

    def _tell(self, *, delivery: Delivery, attempt: Attempt | None = None, **kwargs: Any) -> None:
        if self._line is not None and threading.get_ident() == self._thread:
            self._line(delivery, attempt)

    def _add(self, outcome: str, category: str) -> None:
        self._counts[outcome, category] += 1
        self._count()
