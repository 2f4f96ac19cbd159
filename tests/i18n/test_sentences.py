"""What the package raises, and a page may show, can be said in the reader's language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import django_smtpx
from tests.i18n import catalogues

PACKAGE = Path(django_smtpx.__file__).parent
ROOMS = ("addresses.py", "config", "delivery", "diagnosis", "mx", "pacing", "smtp")
# What only a program's author, an administrator at a console or a log is told.
ELSEWHERE = {
    "config/site.py",
    "config/webhooks.py",
    "delivery/report_mail.py",
    "delivery/reporting.py",
    "mx/tlsrpt.py",
    "smtp/__main__.py",
    "smtp/client.py",
    "smtp/envelope.py",
    "smtp/options.py",
    "smtp/rules/rule.py",
}
# What is raised and always caught, with another text in its place.
CAUGHT = {"smtp/dane.py": {"A certificate ends amid a field", "A certificate has a field without a length",
                           "A certificate is not made as it has to be"}}  # fmt: skip
_ERROR = re.compile(
    r".*(?:Error|Option|Refused|Key|Record|Policy|Malformed|Unavailable|Silent|Failed|Unwilling"
    r"|Unusable|Unavailable|Disconnected|Timeout|Mismatch|Feature|Away|Step)|improper|failure|lost"
    r"|no_tls|_failure|_?refuse\w*|failed|_permanent|_garbage|unsupported"
)


def modules():
    """Yield the modules of the rooms whose errors pages may show."""
    for room in ROOMS:
        path = PACKAGE / room
        for one in [path] if path.suffix else sorted(path.rglob("*.py")):
            if one.relative_to(PACKAGE).as_posix() not in ELSEWHERE:
                yield one


def unsaid(tree):
    """Yield the texts of errors that are no sentences of the catalogues."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if not _ERROR.fullmatch(name):
            continue
        for argument in node.args:
            text = argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
            plain = isinstance(argument, ast.Constant) and isinstance(text, str) and " " in text
            added = isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Add)
            if plain or added or isinstance(argument, ast.JoinedStr):
                yield node.lineno, text


@pytest.mark.parametrize(
    "path", list(modules()), ids=lambda one: one.relative_to(PACKAGE).as_posix()
)
def test_errors_are_sentences_of_the_catalogues(path):
    """A plain text in English would stand on a page in any language."""
    known = CAUGHT.get(path.relative_to(PACKAGE).as_posix(), ())
    found = unsaid(ast.parse(path.read_text(encoding="utf-8")))
    assert [(line, text) for line, text in found if text not in known] == []


def test_a_plain_text_is_found():
    """Whatever it is made of."""
    source = "raise ResolveError('no way', phase='x')\nno_tls(f'{a} b', o)\nBadOption(said('no'))\n"
    assert [line for line, _ in unsaid(ast.parse(source))] == [1, 2]


@pytest.mark.parametrize("argument", ["f'a {name}'", "'a' + name", "text"])
def test_a_sentence_that_is_made_up_cannot_be_translated(tmp_path, monkeypatch, argument):
    """It is an error to find one, with the place where it stands."""
    source = f"from django_smtpx.smtp.wording import joined, said\nsaid({argument}, name=name)\n"
    (tmp_path / "odd.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(catalogues, "PACKAGE", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.py, line 2"):
        catalogues.found()


def test_sentences_are_found_below_django(tmp_path, monkeypatch):
    """Beside the texts of pages, and told from them."""
    (tmp_path / "some.py").write_text(
        "from django.utils.translation import gettext as _\n"
        "from django_smtpx.smtp.wording import said\n_('one')\nsaid('%(n)s two', n=2)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(catalogues, "PACKAGE", tmp_path)
    assert [(one.text.text, one.said) for one in catalogues.found()] == [
        ("one", False),
        ("%(n)s two", True),
    ]
    assert catalogues.sentences() == '[\n "%(n)s two"\n]\n'
