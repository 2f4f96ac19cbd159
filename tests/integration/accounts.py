"""What the ledger says, laid beside what the server received: recipient by recipient."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

_ENDED = ("sent", "failed", "unknown")


@dataclass(frozen=True)
class Account:
    """How it came out, once all has ended.

    ``twice`` counts what arrived beyond the first time, ``doubtful`` the recipients with an attempt
    whose outcome is unknown.
    """

    statuses: Mapping[str, int]
    twice: int
    doubtful: int

    def __str__(self) -> str:
        said = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        return f"{said}; {self.twice} duplicates; {self.doubtful} once of unknown outcome"


def settled(site: Site, sink: Sink, *, stored: int) -> Account:
    """Compare all of a site's deliveries with what arrived, where nothing waits any more.

    What the ledger says is so of each recipient, and all that was stored is there still.
    """
    rows = site.call("deliveries")
    arrived = Counter(sink.arrived())
    found = untruths(rows, arrived)
    assert found == [], found[:10]
    statuses = Counter(row["status"] for row in rows)
    assert set(statuses) <= set(_ENDED), statuses
    assert sum(statuses.values()) == stored, statuses
    return Account(
        statuses=statuses,
        twice=sum(count - 1 for count in arrived.values()),
        doubtful=sum("unknown" in row["outcomes"] for row in rows),
    )


def untruths(
    rows: Sequence[Mapping[str, Any]], arrived: Mapping[tuple[str, str], int]
) -> list[object]:
    """Return each row that does not say what became of its mail, and what arrived without a row.

    What arrived more than once, or arrived and is not ``sent``, has as many attempts that say that
    nobody knew.
    """
    keys = [(row["message__message_id"], row["recipient"]) for row in rows]
    assert len(set(keys)) == len(keys)
    found: list[object] = [
        (row, arrived.get(key, 0))
        for key, row in zip(keys, rows, strict=True)
        if not _is_true(row, arrived.get(key, 0))
    ]
    return found + sorted(_strangers(keys, arrived))


def _strangers(
    keys: Iterable[tuple[str, str]], arrived: Mapping[tuple[str, str], int]
) -> set[tuple[str, str]]:
    return set(arrived) - set(keys)


def _is_true(row: Mapping[str, Any], count: int) -> bool:
    unknown = row["outcomes"].count("unknown")
    if len(row["outcomes"]) != row["attempt_count"] or row["outcomes"].count("sent") > 1:
        return False
    if row["status"] == "sent":
        return row["outcomes"][-1] == "sent" and 1 <= count <= 1 + unknown
    if row["status"] == "failed":
        return bool(row["reply"] or row["category"]) and count <= unknown
    return count <= unknown
