"""What the README shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```console\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_of_the_readme_is_python(block: str) -> None:
    """Every block of Python in the README compiles."""
    compile(block, README.name, "exec")


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


@pytest.mark.django_db
def test_the_test_in_the_readme_passes() -> None:
    """The README's example of a site's own test is a test that passes."""
    (block,) = [block for block in BLOCKS if "def test_" in block]
    names: dict[str, object] = {}
    exec(compile(block, README.name, "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    assert callable(test)
    test(None)
