"""The table of misconfigurations, as the documentation has it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.misconfigurations import CASES, table

PAGE = Path(__file__).parents[2] / "docs" / "check.md"


def test_the_page_has_the_table_of_what_is_tried():
    """What it promises is what real servers are tried with, word for word."""
    assert table() in PAGE.read_text(encoding="utf-8")
    assert len({case.name for case in CASES}) == len(CASES) >= 25
