"""The documentation's own examples."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from django_smtpx.smtp import Client

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["testing.md", "client.md"])
def test_examples_of_the_documentation_run(page: str) -> None:
    """What a page shows is what happens."""
    text = (DOCS / page).read_text().replace("\n```\n", "\n\n")
    test = doctest.DocTestParser().get_doctest(text, {}, page, str(DOCS / page), 0)
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert test.examples
    assert not report, "".join(report)


def test_every_argument_of_the_client_is_documented() -> None:
    """The page has a row for each of them, and for nothing else, with its default."""
    text = (DOCS / "client.md").read_text(encoding="utf-8")
    table = text.partition("## Arguments of `Client`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    shown: dict[str, str] = {}
    for names, defaults in rows:
        words = re.findall(r"`(\w+)`", names)
        given = defaults.split(", ")
        shown |= dict(zip(words, given * len(words) if len(given) == 1 else given, strict=False))
    arguments = inspect.signature(Client).parameters
    assert set(shown) == set(arguments)
    for name in ("security", "auth", "transcript"):
        assert shown[name] == f'`"{arguments[name].default}"`'
    for name in ("verify", "allow_plaintext_auth", "pipelining", "chunking"):
        assert shown[name] == f"`{arguments[name].default}`"
    for name in ("timeout", "eod_timeout", "chunking_window"):
        assert float(shown[name]) == arguments[name].default


def test_the_table_of_states_is_the_one_that_runs() -> None:
    """The page shows the transitions as they are; ``python docs/make_states.py`` writes it."""
    spec = importlib.util.spec_from_file_location("make_states", DOCS / "make_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (DOCS / "states.md").read_text(encoding="utf-8")
    assert module.page(text) == text
    assert "| BDAT LAST | RCPT | 2yz | READY |" in text
