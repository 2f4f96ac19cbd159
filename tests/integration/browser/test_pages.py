"""Each page as it is seen: light and dark, wide and narrow, from right to left, and without scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest
from django.contrib import admin
from django.urls import URLPattern, URLResolver

from tests.integration.browser import deeds  # noqa: F401 (they lead to pages, too)
from tests.integration.browser.lab import NARROW, VIEWS, WIDE, View, axe
from tests.integration.browser.pages import NAMES, NONE, PAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from playwright.sync_api import Page

    from tests.integration.browser.lab import Lab
    from tests.integration.browser.serving import Served

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

FRAME = ("#header", "#nav-sidebar", "#toggle-nav-sidebar")
"""What Django has around every page; it is looked at on the overview, and not on each of them."""
DJANGOS = {
    ("label-title-only", "#searchbar"),
    ("link-in-text-block", ".breadcrumbs"),
    ("label", ".datetime"),
}
"""Rule and place of what axe-core may find that is Django's own.

A search that has a help text, but no visible label; and, until Django 6.0, the way home, which has
no lines under its links, and the fields of a date and a time, which share one label. Each is passed
over only where Django's own pages have it as well.
"""
SETTLE = """() => {
  // One that ends may begin another: a colour that is inherited.
  for (let round = 0; round < 9 && document.getAnimations().length; round++)
    document.getAnimations().forEach((animation) => animation.finish());
}"""


def url_names(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[str]:
    """Give the names of ours among the admin's addresses."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from url_names(pattern.url_patterns)
        elif pattern.name and (pattern.name == "app_list" or "django_smtpx" in pattern.name):
            yield pattern.name


@dataclass(frozen=True)
class Violation:
    """What axe-core calls serious or critical: the rule, one of ``DJANGOS``'s places, and the rest."""

    rule: str
    place: str
    target: str
    summary: str


def violations(page: Page, *, leave_out: Iterable[str] = ()) -> set[Violation]:
    """Return what axe-core finds."""
    # What it preloads are style sheets that others import, and it styles inline to read them. A
    # frame of ours is a mail's, and runs nothing that could answer.
    options = {"resultTypes": ["violations"], "preload": False, "iframes": False}
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(axe())
    exclude = [[name] for name in leave_out]
    places = [place for _, place in DJANGOS]
    return {Violation(*one) for one in page.evaluate(_VIOLATIONS, [exclude, options, places])}


def test_no_page_is_left_out() -> None:
    """Each address that the application has in the admin is looked at here, or refused to all."""
    assert set(url_names(admin.site.urls[0])) == NAMES | NONE


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read(lab: Lab, site: Served, name: str) -> None:
    """In each theme and width nothing sticks out, and axe-core finds nothing serious.

    It is as dark by the admin's own switch as by the system's wish, and as light.
    """
    leave_out = FRAME if name != "overview" else ()
    found: set[tuple[View, Violation]] = set()
    wished: dict[View, list[str]] = {}
    switched: dict[View, list[str]] = {}
    with lab.visit(site) as visit:
        PAGES[name](visit)
        page = visit.page
        for view in VIEWS:
            visit.look(view)
            wished[view] = _colours(page, switch="auto")
            assert page.evaluate(_OVERFLOW) == [], view
            found.update((view, one) for one in violations(page, leave_out=leave_out))
            other = View("light" if view.theme == "dark" else "dark", view.size)
            switched[other] = _colours(page, switch=other.theme)
    assert {one for one in found if (one[1].rule, one[1].place) not in _djangos(lab, site)} == set()
    assert switched == wished
    assert all(wished[View("light", size)] != wished[View("dark", size)] for size in (WIDE, NARROW))


@cache
def _djangos(lab: Lab, site: Served) -> set[tuple[str, str]]:
    """Return which of ``DJANGOS`` pages have that are none of ours."""
    found: set[Violation] = set()
    with lab.visit(site) as visit:
        for path in ("auth/", "auth/user/", "auth/user/1/change/"):
            visit.goto(path)
            found |= violations(visit.page)
    return DJANGOS & {(one.rule, one.place) for one in found}


def _colours(page: Page, *, switch: str) -> list[str]:
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", switch)
    page.evaluate(SETTLE)
    return page.evaluate(_COLOURS)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_no_scripts_and_no_side(lab: Lab, site: Served, name: str) -> None:
    """Without JavaScript and in Hebrew the way to it is the same, and nothing sticks out."""
    with lab.visit(site, java_script_enabled=False, locale="he") as visit:
        PAGES[name](visit)
        assert visit.page.locator("html").get_attribute("dir") == "rtl"
        for size in (WIDE, NARROW):
            visit.look(View("light", size))
            assert visit.page.evaluate(_OVERFLOW) == [], size


def test_no_rule_of_the_style_sheet_has_swallowed_others(lab: Lab, site: Served) -> None:
    """A brace that is missing makes all that follows it a part of one rule, without a complaint."""
    with lab.visit(site) as visit:
        visit.goto("django_smtpx/delivery/")
        assert visit.page.evaluate(_RULES_WITHIN_RULES) == []


_RULES_WITHIN_RULES = """() => [...document.styleSheets]
  .filter((sheet) => sheet.href.endsWith("django_smtpx/admin.css"))
  .flatMap((sheet) => [...sheet.cssRules])
  .filter((rule) => rule instanceof CSSStyleRule && rule.cssRules.length)
  .map((rule) => rule.selectorText)"""
_OVERFLOW = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const sides = (e) => e.getBoundingClientRect();
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => sides(e).right > root.clientWidth + 1 || sides(e).left < -1);
  return [`${root.scrollWidth} > ${root.clientWidth}`].concat(wide.slice(0, 9).map((e) =>
    `${e.tagName.toLowerCase()}.${e.className} ${sides(e).left} to ${sides(e).right}`));
}"""
_VIOLATIONS = """async ([exclude, options, places]) => {
  const found = await axe.run({exclude}, options);
  const place = (target) => places.find((one) => document.querySelector(target)?.closest(one));
  return found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).flatMap(
    (one) => one.nodes.map((node) => [
      one.id, place(node.target[0]) ?? "", node.target.join(" "), node.failureSummary]));
}"""
_COLOURS = """() => [...document.querySelectorAll("#content *, .messagelist *")].filter(
  (e) => e.checkVisibility()).map((e) => {
  const style = getComputedStyle(e);
  return [e.tagName, e.className, style.color, style.backgroundColor, style.borderTopColor,
    style.fill, style.stroke].join(" ");
})"""
