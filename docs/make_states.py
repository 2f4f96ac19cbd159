"""Write the table of states.md out of the transitions that the client runs by.

Run it as ``python docs/make_states.py`` when they change; a test compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from django_smtpx.smtp.states import CONTENT, GREETING, TRANSITIONS, State

PAGE = Path(__file__).parent / "states.md"
BEGIN, END = "<!-- begin: generated -->\n", "<!-- end: generated -->\n"
NAMES = {GREETING: "*(greeting)*", CONTENT: "*(content and final dot)*"}


def rows() -> str:
    """Return a row of the table for each command and state."""
    lines = ["| command | in state | reply | state behind it |", "|---|---|---|---|"]
    for command, states in TRANSITIONS.items():
        for state, replies in states.items():
            by_target: dict[State, list[str]] = defaultdict(list)
            for severity, target in replies.items():
                by_target[target].append(f"{severity}yz")
            for target, classes in by_target.items():
                name = NAMES.get(command, command)
                lines.append(f"| {name} | {state.name} | {', '.join(classes)} | {target.name} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return ``text`` with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rows()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
