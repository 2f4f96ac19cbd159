"""Sentences of this package in the reader's language.

What the package says below Django is English with its parts beside it
(:mod:`django_smtpx.smtp.wording`), and is put together anew here, in the language that is active.
What it has written into rows is the English alone: it is told by its form, of which
``locale/sentences.json`` has them all.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from django.utils import translation

from django_smtpx.smtp.wording import Said, also, because

FORMS = Path(__file__).parent / "locale" / "sentences.json"
"""What ``tests/i18n/catalogues.py`` has found that the package says below Django."""

_LONGEST = 2000
"""Characters: no sentence of ours is longer, whatever is in it."""
_LEAST = 5
"""Letters without which a form is that of anything."""
_VALUE = re.compile(r"%\((\w+)\)s")
_PHASE = re.compile(r"(?:resolve|connect|greeting|ehlo|starttls|auth|mail|rcpt|data|eod) ")


def in_language(text: object) -> str:
    """Return a sentence in the language that is active, with all in it that this package says.

    An exception is what it says. What servers, systems and people have said stays as it is.
    """
    sentence = str(text)
    if not isinstance(sentence, Said) or not sentence.template:
        return sentence
    values = {
        name: in_language(value) if isinstance(value, Said) else value
        for name, value in sentence.values.items()
    }
    return translation.gettext(sentence.template) % values


def recorded(text: str) -> str:
    """Return what a row has as text in the language that is active, if it is a sentence of ours.

    Anything else stays as it is: it is what a server or a person has said.
    """
    if len(text) > _LONGEST or (translation.get_language() or "en").startswith("en"):
        return text
    known = _known(text)
    return text if known is None else in_language(known)


def recorded_reason(text: str) -> str:
    """Return what closed a route, as its row has it: the phase comes first, and then the words."""
    phase = _PHASE.match(text)
    return recorded(text) if phase is None else phase[0] + recorded(text[phase.end() :])


# -- told by its form ----------------------------------------------------------------------------


class _Form(NamedTuple):
    """What a sentence is made from: ``pieces`` are what is between its values."""

    template: str
    pieces: tuple[str, ...]


@lru_cache(maxsize=1024)
def _known(text: str) -> Said | None:
    """Return a text as a sentence of ours, None where it is not one."""
    for form in _forms():
        if all(piece in text for piece in form.pieces):
            found = _pattern(form.template).fullmatch(text)
            if found is not None:
                return Said(
                    form.template, {name: _told(one) for name, one in found.groupdict().items()}
                )
    return _in_two(text, *text.rpartition("; ")) or _in_two(text, *text.partition(": "))


def _in_two(text: str, first: str, between: str, second: str) -> Said | None:
    """Return what is put together from two sentences, of which the second is ours."""
    known = _known(second) if between and len(second) < len(text) else None
    if known is None:
        return None
    return because(_told(first), known) if between == ": " else also((_told(first), known))


def _told(text: str) -> str:
    return _known(text) or text


@cache
def _forms() -> tuple[_Form, ...]:
    """Return the forms that say enough, the longest first."""
    templates: list[str] = json.loads(FORMS.read_text(encoding="utf-8"))
    forms = [_Form(one, _pieces(one)) for one in templates]
    letters = {form: sum(map(str.isalpha, "".join(form.pieces))) for form in forms}
    return tuple(
        sorted((form for form in forms if letters[form] >= _LEAST), key=lambda one: -letters[one])
    )


def _pieces(template: str) -> tuple[str, ...]:
    return tuple(piece.replace("%%", "%") for piece in _VALUE.split(template)[::2] if piece)


@lru_cache(maxsize=512)
def _pattern(template: str) -> re.Pattern[str]:
    """Return what a sentence looks like; a value that is in it twice is the same in both places."""
    parts, named = [], set()
    for place, part in enumerate(_VALUE.split(template)):
        if place % 2 == 0:
            parts.append(re.escape(part.replace("%%", "%")))
        else:
            parts.append(f"(?P={part})" if part in named else f"(?P<{part}>.+?)")
            named.add(part)
    return re.compile("".join(parts), re.DOTALL)
