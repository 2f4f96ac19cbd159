"""The coloured words: readable in light and dark, and never said by colour alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib import admin

import django_smtpx
from django_smtpx.admin import words
from django_smtpx.models import Attempt, Category, Delivery, Route

OURS = Path(django_smtpx.__file__).parent / "static/django_smtpx/admin.css"
DJANGOS = Path(admin.__file__).parent / "static/admin/css"
PAIR = re.compile(r"(--smtpx-[a-z-]+):\s*light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
GROUNDS = ("body-bg", "darkened-bg", "selected-bg", "selected-row")
AA = 4.5


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour as WCAG 2.2 defines it."""
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def grounds(name: str) -> list[str]:
    """Return what the admin of the installed Django paints behind a list's text."""
    css = (DJANGOS / name).read_text()
    found = [re.search(rf"--{ground}:\s*(#[0-9a-f]+)", css) for ground in GROUNDS]
    return [match[1] for match in found if match]


def pairs() -> dict[str, tuple[str, str]]:
    """Return our variables, each with its colour in the light mode and in the dark one."""
    return {name: (light, dark) for name, light, dark in PAIR.findall(OURS.read_text())}


def test_contrast_is_known():
    """The measure is WCAG's: black on white has 21, a colour on itself 1."""
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#abc", "#aabbcc") == 1


@pytest.mark.parametrize(("mode", "css"), [(0, "base.css"), (1, "dark_mode.css")])
def test_every_colour_can_be_read(mode, css):
    """Each has the contrast of WCAG's AA on each ground of the admin's, light and dark."""
    behind = grounds(css)
    assert len(behind) == len(GROUNDS)
    poor = {
        (name, ground): round(contrast(colours[mode], ground), 2)
        for name, colours in pairs().items()
        for ground in behind
        if contrast(colours[mode], ground) < AA
    }
    assert not poor


def test_every_word_has_a_colour():
    """No status, outcome, state or kind of category is without a colour, and each is defined."""
    css = OURS.read_text()
    statuses = {*Delivery.Status.values, *Attempt.Outcome.values, *Route.State.values}
    about = {category.about for category in Category} - {""}
    wanted = {f".smtpx-status-{status}": f"--smtpx-{status}" for status in statuses}
    wanted |= {f".smtpx-about-{name}": f"--smtpx-{name}" for name in about}
    for rule, variable in wanted.items():
        assert f"{rule} {{ color: var({variable}); }}" in css
        assert f"  {variable}: " in css


@pytest.mark.parametrize("status", Delivery.Status)
def test_status_badge(status):
    """A status is a word; its colour is only beside that."""
    assert words.status_badge(status.value) == (
        f'<span class="smtpx-status smtpx-status-{status.value}">{status.label}</span>'
    )


def test_category_badge():
    """A category is coloured by what it is about, if that is known."""
    assert words.category_badge("auth_failed") == (
        '<span class="smtpx-category smtpx-about-account">authentication failed</span>'
    )
    assert words.category_badge("ok") == '<span class="smtpx-category">ok</span>'
    assert words.category_badge("") == ""


def test_state_badge():
    """A route's state is a coloured word, too."""
    said = '<span class="smtpx-status smtpx-status-held">held</span>'
    assert words.state_badge("held") == said


def test_what_a_category_is_about():
    """Each category is about something, but for the four that say nothing of it."""
    silent = {category.value for category in Category if not category.about}
    assert silent == {"ok", "unknown_outcome", "other_temporary", "other_permanent"}
