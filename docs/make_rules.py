"""Write the tables of verdicts.md out of the rules that replies are judged by.

Run it as ``python docs/make_rules.py`` when they change; a test compares the two.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from django_smtpx.smtp.rules.rule import PHASES
from django_smtpx.smtp.rules.table import RULES

if TYPE_CHECKING:
    from django_smtpx.smtp import Rule

PAGE = Path(__file__).parent / "verdicts.md"
BEGIN, END = "<!-- begin: generated -->\n", "<!-- end: generated -->\n"
SHOWN = 90
WHOSE = {None: "", True: "a relay", False: "an MX"}


def sections() -> str:
    """Return a table for each provider, and for the texts and codes of all others."""
    lines: list[str] = []
    for title, rules in groupby(RULES, key=lambda rule: rule.provider or "codes"):
        lines += [
            f"### {title}",
            "",
            "| id | phases | whose | code | text | category | action |",
            "|---|---|---|---|---|---|---|",
            *map(_row, rules),
            "",
        ]
    return "\n".join(lines)


def _row(rule: Rule) -> str:
    url = rule.source.startswith("http")
    cells = (
        f"[`{rule.id}`]({rule.source})" if url else f"`{rule.id}` ({rule.source})",
        " ".join(phase for phase in PHASES if phase in rule.phases.split()) or "any",
        WHOSE[rule.relay],
        f"{rule.code} {rule.enhanced}".strip(),
        _pattern(rule.text),
        rule.category,
        rule.action,
    )
    return f"| {' | '.join(cells)} |"


def _pattern(text: str) -> str:
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN].rstrip()} …"
    return "`" + shown.replace("|", "\\|") + "`" if text else ""


def page(text: str) -> str:
    """Return ``text`` with the tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{sections()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
