"""What the README shows."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```console\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_the_two_commands_come_first() -> None:
    """The demonstration and the tests are what a visitor is shown first, in one line each."""
    demo, tests = COMMANDS[:2]
    assert demo.split(" && ") == [
        "python3 -m venv .venv",
        ".venv/bin/pip install -q -e '.[demo]'",
        ".venv/bin/python example_project/demo.py\n",
    ]
    assert tests.split(" && ") == [
        ".venv/bin/pip install -q -e '.[test]'",
        ".venv/bin/python -m pytest\n",
    ]


def test_its_links_lead_somewhere() -> None:
    """Each page that it names is there."""
    named = re.findall(r"\]\((docs/[^)#]+)(?:#[^)]*)?\)", TEXT)
    assert len(named) > 10
    assert [name for name in named if not (README.parent / name).exists()] == []
