"""How many replies of a labelled table are judged as their labels have it.

Run it as ``python -m benchmarks.verdicts [FILE.tsv ...]``; without a file it
takes the table of the tests. A file has the columns id, reply, phase, category,
action and source. ``@relay`` and ``@mx`` behind a phase say whose reply it is
(without them, a relay's); ``~`` in front of it, that the phase was inferred.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.verdict import Verdict, judge_reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LABELLED = Path(__file__).parent.parent / "tests" / "smtp" / "replies" / "labelled.tsv"

# A reply to the connection itself is the greeting; one on a session in use meets the next MAIL.
PHASES = {"connect": "greeting", "idle/reuse": "mail"}


@dataclass(frozen=True)
class Labelled:
    """One reply, with the verdict expected of it."""

    id: str
    reply: Reply
    phase: str
    relay: bool
    category: str
    action: str

    def judge(self) -> Verdict:
        """Return the verdict on it."""
        return judge_reply(self.phase, self.reply, relay=self.relay)


def read(path: Path) -> Iterator[Labelled]:
    """Yield the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield labelled(row)


def labelled(row: dict[str, str]) -> Labelled:
    """Return one row as a value."""
    phase, _, server = row["phase"].lstrip("~").partition("@")
    return Labelled(
        id=row["id"],
        reply=parse(row["reply"]),
        phase=PHASES.get(phase, phase),
        relay=server != "mx",
        category=row["category"],
        action=row["action"],
    )


def parse(text: str) -> Reply:
    r"""Return the reply that a line of a log shows; a line break in it is written as ``\n``."""
    code, separated = text[:3], text[3:4]
    if not (code.isascii() and code.isdigit() and separated in ("", " ", "-")):
        raise ValueError(f"This is no reply: {text!r}")
    lines = text.replace("\\n", "\n").split("\n")
    return Reply(int(code), tuple(re.sub(rf"^{code}(?:[ -]|$)", "", line) for line in lines))


def report(rows: Iterable[Labelled]) -> Iterator[str]:
    """Yield the lines that tell how well ``rows`` are judged."""
    judged = [(row, row.judge()) for row in rows]
    total = len(judged)
    categories = sum(row.category == verdict.category for row, verdict in judged)
    actions = sum(row.action == verdict.action for row, verdict in judged)
    right = Counter(row.category for row, verdict in judged if _agree(row, verdict))
    yield f"{total} replies"
    for name, count in (("category", categories), ("action", actions), ("both", right.total())):
        yield f"{name:<10}{count:>5}{100 * count / max(total, 1):>8.1f} %"
    yield ""
    for category, count in sorted(Counter(row.category for row, _ in judged).items()):
        yield f"{category:<22}{right[category]:>4} of {count}"
    for row, verdict in judged:
        if not _agree(row, verdict):
            yield (
                f"\n{row.id} {row.phase}: {row.category}/{row.action} expected, "
                f"{verdict.category}/{verdict.action} by {verdict.rule}\n  {row.reply}"
            )


def _agree(row: Labelled, verdict: Verdict) -> bool:
    return (row.category, row.action) == (verdict.category, verdict.action)


def main() -> None:
    """Print the report on the tables that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, default=[LABELLED], metavar="FILE.tsv")
    for line in report(row for path in parser.parse_args().files for row in read(path)):
        print(line)


if __name__ == "__main__":
    main()
