"""The catalogues of translations: what is to be translated, as the code has it now.

``python -m tests.i18n.catalogues`` brings them up to date: new texts are added, untranslated, what
the code has no more is left out, and the files that are read at run time are written.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polib
from django.utils.translation.template import templatize

import django_smtpx
from django_smtpx.language import FORMS

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(django_smtpx.__file__).parent
LANGUAGES = ("de", "es", "fr")
PLURALS = {
    "de": "nplurals=2; plural=(n != 1);",
    "es": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=(n > 1);",
}

# What each of Django's functions takes, by position.
_TAKES = {
    "gettext": ("text",),
    "ngettext": ("text", "plural"),
    "pgettext": ("context", "text"),
    "npgettext": ("context", "text", "plural"),
    # As templates have it for an argument of a tag.
    "_": ("text",),
    # What this package says below Django.
    "said": ("text",),
}
_MODULES = ("django.utils.translation", "django_smtpx.smtp.wording")
_IN_TEMPLATES = re.compile(r"\b(n?p?gettext|_)\(")


@dataclass(frozen=True, order=True, slots=True)
class Text:
    """A text to be translated, with its plural and its context where it has them."""

    text: str
    plural: str = ""
    context: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What a catalogue finds it by."""
        return (self.text, self.context)


@dataclass(frozen=True, slots=True)
class Found:
    """A text and where it stands; ``said`` is what the package says below Django."""

    text: Text
    place: str
    said: bool = False


def found() -> list[Found]:
    """Return the texts of the package's modules and templates, in order.

    Raises ValueError where what is to be translated is not said word for word.
    """
    texts: list[Found] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" not in path.parts:
            texts += _of_module(path)
    for path in sorted(PACKAGE.rglob("*.html")):
        texts += _of_template(path)
    return texts


def catalogue(language: str) -> Path:
    """Return where a language's translations stand."""
    return PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"


def sentences() -> str:
    """Return what the package says below Django, as the file has it that is read at run time."""
    said = sorted({one.text.text for one in found() if one.said})
    return json.dumps(said, ensure_ascii=False, indent=1) + "\n"


def merged(language: str) -> polib.POFile:
    """Return a language's catalogue with the texts that there are, and those alone."""
    path = catalogue(language)
    known = polib.pofile(str(path)) if path.exists() else polib.POFile()
    translated = {(entry.msgid, entry.msgctxt or ""): entry for entry in known}
    fresh = polib.POFile(wrapwidth=98)
    fresh.metadata = {
        "Project-Id-Version": "django_smtpx",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": PLURALS[language],
    }
    for text, places in _by_text().items():
        fresh.append(_entry(text, places, translated.get(text.key)))
    return fresh


def main() -> int:
    """Write the catalogues, and say what is not translated."""
    left = 0
    for language in LANGUAGES:
        path = catalogue(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = merged(language)
        fresh.save(str(path))
        fresh.save_as_mofile(str(path.with_suffix(".mo")))
        untranslated = len(fresh.untranslated_entries()) + len(fresh.fuzzy_entries())
        left += untranslated
        print(f"{language}: {len(fresh)} texts, {untranslated} not translated")
    FORMS.write_text(sentences(), encoding="utf-8")
    return 1 if left else 0


def _by_text() -> dict[Text, list[str]]:
    places: dict[Text, list[str]] = {}
    for one in sorted(found(), key=lambda one: (one.text.key, one.text.plural)):
        places.setdefault(one.text, []).append(one.place)
    # One text that is here with a plural and there without is one entry: the catalogue's key has
    # no plural.
    plurals = {text.key: text for text in places if text.plural}
    joined: dict[Text, list[str]] = {}
    for text, where in places.items():
        joined.setdefault(plurals.get(text.key, text), []).extend(where)
    return joined


def _entry(text: Text, places: list[str], known: polib.POEntry | None) -> polib.POEntry:
    entry = polib.POEntry(
        msgid=text.text,
        msgctxt=text.context or None,
        msgid_plural=text.plural or "",
        occurrences=[(place, "") for place in dict.fromkeys(places)],
    )
    if "%(" in text.text:
        entry.flags.append("python-format")
    if text.plural:
        kept = known.msgstr_plural if known is not None and known.msgid_plural else {}
        entry.msgstr_plural = {number: kept.get(number, "") for number in (0, 1)}
    else:
        entry.msgstr = known.msgstr if known is not None else ""
    return entry


def _of_module(path: Path) -> Iterator[Found]:
    source = path.read_text(encoding="utf-8")
    if not any(module in source for module in (*_MODULES, "def said(")):
        return
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name.removesuffix("_lazy")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES
        for alias in node.names
    }
    # The module that has it uses it, too.
    names |= {
        node.name: node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in _TAKES
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        takes = _TAKES.get(names.get(node.func.id, ""))
        if takes is not None:
            said = names[node.func.id] == "said"
            yield Found(_text(takes, node, path), _place(path), said)


def _of_template(path: Path) -> Iterator[Found]:
    source = templatize(path.read_text(encoding="utf-8"), origin=str(path))
    for match in _IN_TEMPLATES.finditer(source):
        # All around the calls is blanked out, so a call ends where it can be parsed.
        for end in (i for i, char in enumerate(source) if char == ")" and i > match.end()):
            try:
                node = ast.parse(source[match.start() : end + 1], mode="eval").body
            except SyntaxError:
                continue
            assert isinstance(node, ast.Call)
            yield Found(_text(_TAKES[match[1]], node, path), _place(path))
            break


def _text(takes: tuple[str, ...], node: ast.Call, path: Path) -> Text:
    said = {}
    for name, argument in zip(takes, node.args, strict=False):
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise ValueError(f"{path}, line {node.lineno}: what is translated is said as it is.")
        said[name] = argument.value
    return Text(**said)


def _place(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


if __name__ == "__main__":
    sys.exit(main())
