"""The page about categories has a section for each, and says of it what the code does."""

from __future__ import annotations

import re

from django_smtpx.models import Category
from django_smtpx.smtp.rules.rule import ACTIONS
from django_smtpx.smtp.rules.table import RULES
from tests.docs.blocks import DOCS, script

TEXT = (DOCS / "categories.md").read_text(encoding="utf-8")
GENERATED = re.compile(r"<!-- begin: (\w+) -->\n(.*?)<!-- end: \1 -->\n", re.DOTALL)


def sections():
    """Return what stands under the heading of each category."""
    named = re.split(
        r"^### (\w+)$", re.sub(r"^## .*$", "", TEXT, flags=re.MULTILINE), flags=re.MULTILINE
    )
    return dict(zip(named[1::2], named[2::2], strict=True))


def test_each_category_has_a_section():
    """Whatever a delivery can say, the page has it, with what to do and what is done by itself."""
    assert sorted(sections()) == sorted(Category.values)
    for name, text in sections().items():
        assert "**You:**" in text, name
        (found,) = GENERATED.findall(text)
        assert found[0] == name
        assert found[1].strip()


def test_what_it_says_of_each_is_what_the_code_does():
    """Examples are judged, and actions are those of the rules; ``make_categories.py`` writes it."""
    assert script("make_categories").page(TEXT) == TEXT
    assert "| a 5yz to RCPT, DATA, the content | `suppress` | It has failed." in TEXT


def test_no_category_is_without_an_action_that_it_can_have():
    """What a rule says of a category is in the category's table."""
    known = script("make_categories").actions()
    for rule in RULES:
        assert rule.action in known[rule.category]
    shown = dict(GENERATED.findall(TEXT))
    for category, actions in known.items():
        named = set(re.findall(r"`(\w+)`", " ".join(_columns(shown[category]))))
        assert named & {*ACTIONS, "none"} == actions, category


def test_no_sentence_names_an_action_that_the_code_has_not():
    """What is written by hand speaks of no action but those of its category."""
    known = script("make_categories").actions()
    for name, text in sections().items():
        by_hand = GENERATED.sub("", text)
        assert set(re.findall(r"`(\w+)`", by_hand)) & set(ACTIONS) <= known[name], name


def _columns(table):
    """Return the second column of a table."""
    return [row.split(" | ")[1] for row in table.splitlines() if row.startswith("| ")]
